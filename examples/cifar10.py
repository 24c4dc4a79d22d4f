"""CIFAR-10 in batches, augmented as for ResNet, the first of them as a picture.

    python examples/cifar10.py [--dir FOLDER] [--procs 2]

The files are downloaded once, into FOLDER or the user's cache.
"""

from __future__ import annotations

import argparse

import dataflow as df
from dataflow import imgaug
from dataflow.image.sheet import contact_sheet


def main() -> None:
    parser = argparse.ArgumentParser(description="CIFAR-10 in augmented batches.")
    parser.add_argument("--dir", help="where the files are, or should be")
    parser.add_argument("--procs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()

    source = df.dataset.Cifar10("train", dir=args.dir)
    names, mean = source.get_label_names(), source.get_per_pixel_mean()
    ds = df.AugmentImageComponent(
        source,
        [
            imgaug.CenterPaste((40, 40)),
            imgaug.RandomCrop((32, 32)),
            imgaug.Flip(horiz=True),
            imgaug.MapImage(lambda image: image.astype("float32") - mean),
        ],
    )
    ds = df.PrefetchDataZMQ(ds, num_proc=args.procs)
    with df.BatchData(ds, args.batch, remainder=True) as ds:
        for number, (images, labels) in enumerate(ds):
            if number == 0:
                # RGB, while pictures are written as BGR.
                pictures = [(image + mean).clip(0, 255)[..., ::-1] for image in images]
                contact_sheet(pictures, [names[k] for k in labels], path="cifar10.png")
                print(f"images {images.shape} {images.dtype}, labels {labels.dtype}: cifar10.png")
        print(ds.explain())


main()
