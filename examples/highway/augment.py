"""The first program of Highway's README: a folder of images, augmented, as batches.

    python examples/highway/augment.py photos

The folder has one sub-folder a class. Of the program itself only the imports are other ones.
"""

from __future__ import annotations

import argparse

from dataflow.highway.engine import Pipeline
from dataflow.highway.modules import Augmentations, ImageFileReader
from dataflow.highway.transforms import FlipX

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("data_dir", help="one sub-folder a class")
data_dir = parser.parse_args().data_dir

img_reader = ImageFileReader(data_dir, 16, (240, 320))

p = Pipeline([img_reader, Augmentations([FlipX()])])

images, labels = p.dequeue()  # and train

print(f"images {images.shape} {images.dtype}, labels {labels.shape} {labels.dtype}")
