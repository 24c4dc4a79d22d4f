"""Images of a folder with random changes, the first 160 of them as a picture, birds.png.

python examples/streams/birds.py FOLDER
"""

import argparse

from dataflow import stream as st


@st.stream
def birds(folder):
    images = st.images(folder)  # records, loaded where they are used
    image = st.resize(images.random()["image"], 160, 120)

    image = st.switch(
        [
            st.brightness(image, st.uniform(-90, 90)),
            st.noise(image, st.uniform(0, 0.1)),
            st.piecewise_affine(image, 5.0),
            st.flip(image, st.boolean(), st.boolean()),
            image,
        ],
        weights=[0.3, 0.3, 0.3, 0.2, 0.2],
    )
    return st.toggle(image, st.invert(image), p=0.9)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Show images with random changes.")
    parser.add_argument("folder")
    s = birds(parser.parse_args().folder).seed(1)
    s.collage("birds.png", rows=8, columns=20)
    s.draw("birds.svg")
