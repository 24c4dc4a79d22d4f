"""MNIST in augmented batches, the first of them as a picture.

    python examples/mnist.py [--dir FOLDER] [--procs 2]

The files are downloaded once, into FOLDER or the user's cache.
"""

from __future__ import annotations

import argparse

import dataflow as df
from dataflow import imgaug
from dataflow.image.sheet import contact_sheet

AUGMENTORS = [
    imgaug.RandomApplyAug(imgaug.Rotation(15.0, border_value=0), 0.8),
    imgaug.GaussianNoise(sigma=0.05, clip=False),
    imgaug.Clip(0, 1),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="MNIST in augmented batches.")
    parser.add_argument("--dir", help="where the files are, or should be")
    parser.add_argument("--procs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()

    ds = df.dataset.Mnist("train", dir=args.dir).seed(1)
    ds = df.AugmentImageComponent(ds, AUGMENTORS)
    ds = df.PrefetchDataZMQ(ds, num_proc=args.procs)
    with df.BatchData(ds, args.batch, remainder=True) as ds:
        for number, (images, labels) in enumerate(ds):
            if number == 0:
                contact_sheet(images, labels, path="mnist.png")
                print(f"images {images.shape} {images.dtype}, labels {labels.dtype}: mnist.png")
        print(ds.explain())


main()
