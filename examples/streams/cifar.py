"""Random images of CIFAR-10, the first of them as a picture, cifar.png.

python examples/streams/cifar.py [--dir FOLDER]
"""

import argparse

import dataflow as df
from dataflow import stream as st
from dataflow.image.sheet import contact_sheet


@st.stream
def cifar(dataset):
    sample = st.source(dataset, ("image", "label")).random()
    image = st.convert(sample["image"], "rgb")  # red and blue change places
    return image, sample["label"]


parser = argparse.ArgumentParser(description="Show random images of CIFAR-10.")
parser.add_argument("--dir", help="where the files are, or should be")
dataset = df.dataset.Cifar10("train", dir=parser.parse_args().dir)
names = dataset.get_label_names()
images, labels = zip(*cifar(dataset).seed(1).take(40), strict=True)
contact_sheet(images, [names[label] for label in labels], columns=10, size=64, path="cifar.png")
