"""Random digits of MNIST, the first of them as a picture, digits.png.

python examples/streams/mnist.py [--dir FOLDER]
"""

import argparse

import dataflow as df
from dataflow import stream as st
from dataflow.image.sheet import contact_sheet


@st.stream
def digits(images, labels):
    seed = st.seed()  # image and label are picked alike
    return st.constant(images).random(seed), st.constant(labels).random(seed)


parser = argparse.ArgumentParser(description="Show random digits.")
parser.add_argument("--dir", help="where the files are, or should be")
mnist = df.dataset.Mnist("train", dir=parser.parse_args().dir)
images, labels = zip(*digits(mnist.images, mnist.labels).seed(1).take(40), strict=True)
contact_sheet(images, labels, columns=10, size=56, path="digits.png")
print("labels", *labels)
