"""Random patches of the images in a folder, the first of them as a picture, patches.png.

python examples/streams/patches.py FOLDER
"""

import argparse

from dataflow import stream as st


@st.stream
def patches(folder, size=200):
    image = st.images(folder).random()["image"]
    return st.view_image(image, st.patch_view(image, size, size), size, size)


parser = argparse.ArgumentParser(description="Show random patches of images.")
parser.add_argument("folder")
patches(parser.parse_args().folder).seed(1).collage("patches.png", rows=3, columns=8)
