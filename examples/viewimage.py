"""Look at the images of a folder while they pass, or at one picture of many.

    python examples/viewimage.py FOLDER [--label 3]

FOLDER has one sub-folder a class. Without a display the images go to PNG files.
"""

from __future__ import annotations

import argparse
from itertools import islice

import dataflow as df
from dataflow import imgaug
from dataflow.image.sheet import contact_sheet
from dataflow.image.view import has_display
from dataflow.utils.image import Viewer


def main() -> None:
    parser = argparse.ArgumentParser(description="Look at the images of a folder.")
    parser.add_argument("folder")
    parser.add_argument("--label", type=int, help="only those of one class")
    parser.add_argument("--count", type=int, default=48)
    args = parser.parse_args()

    source = df.dataset.ImageFolder(args.folder, shuffle=True)
    ds = source if args.label is None else source.filter(lambda dp: dp[1] == args.label)
    ds = ds.augment([imgaug.ResizeShortestEdge(256), imgaug.CenterCrop(224)])
    if has_display():
        ds = Viewer(ds, lambda dp: True, name="images", prob=1.0)
    with ds:
        found = list(islice(ds, args.count))
    if has_display():
        return
    images, labels = zip(*found, strict=True)
    contact_sheet(images, [source.classes[k] for k in labels], path="images.png")
    print(f"no display: {len(found)} images of {len(source)} in images.png")


main()
