"""How fast ILSVRC12 can be downloaded, decoded and augmented.

    python examples/ilsvrc12.py LOCATION --threads 16 --process 8 --augment
    python examples/ilsvrc12.py --demo --view

LOCATION is a folder with the data set, the base URL of one, or a service code. The demo uses a
small folder of drawn photos instead.
"""

from __future__ import annotations

import argparse
import os
import tempfile

import dataflow as df
from dataflow import imgaug
from dataflow.dataset import ILSVRC12
from dataflow.demo.photos import ensure_photos
from dataflow.utils.image import Viewer


def resnet_augmentors() -> list:
    """What ResNet is trained with."""
    colour = [imgaug.BrightnessScale((0.6, 1.4)), imgaug.Contrast((0.6, 1.4))]
    colour = imgaug.RandomOrderAug([*colour, imgaug.Saturation(0.4)])
    return [imgaug.GoogleNetRandomCropAndResize(), colour, imgaug.Flip(horiz=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("location", nargs="?", help="a folder, a base URL or a service code")
    parser.add_argument("--demo", action="store_true", help="photos drawn on this machine")
    parser.add_argument("--split", default="train", help="train or valid")
    parser.add_argument("--threads", type=int, default=16, help="downloads at once, a process")
    parser.add_argument("--process", type=int, default=2, help="processes")
    parser.add_argument("--augment", action="store_true", help="as for ResNet")
    parser.add_argument("--view", action="store_true", help="show some images, or write them")
    parser.add_argument("--size", type=int, default=5000, help="images to time")
    args = parser.parse_args()
    if bool(args.location) == args.demo:
        parser.error("give a location, or --demo")

    with tempfile.TemporaryDirectory() as folder:
        if args.demo:  # one sub-folder a class below "train" is all it needs
            os.symlink(ensure_photos(100), os.path.join(folder, "train"))
        ds = ILSVRC12(args.location or folder, args.split).parallel(num_threads=args.threads)
        if args.augment:
            ds = df.AugmentImageComponent(ds, resnet_augmentors())
        ds = df.PrefetchDataZMQ(ds, num_proc=args.process)
        if args.view:
            ds = Viewer(ds, lambda dp: dp[1] == 0, name="label-0", prob=1.0)
        with df.TestDataSpeed(ds, size=args.size) as test:
            test.start()
            print(ds.explain())


main()
