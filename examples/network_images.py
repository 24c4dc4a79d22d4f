"""Image URLs to batches.

    python examples/network_images.py urls.txt --threads 64 --procs 4
    python examples/network_images.py --demo

The file has a URL and an integer label in each line. The demo draws some photos and serves them
from this machine, so it needs no network.
"""

from __future__ import annotations

import argparse
import contextlib

import dataflow as df
from dataflow import imgaug
from dataflow.demo.photos import ensure_photos, photo_path
from dataflow.demo.server import serve


class Images(df.dataset.NetworkImages):
    """Whatever the list says."""

    def __init__(self, datapoints: list, shuffle: bool = False) -> None:
        super().__init__(shuffle)
        self.datapoints = datapoints


def main() -> None:
    parser = argparse.ArgumentParser(description="Image URLs to batches.")
    parser.add_argument("urls", nargs="?", help="a file with a URL and a label in each line")
    parser.add_argument("--demo", action="store_true", help="photos drawn on this machine")
    parser.add_argument("--threads", type=int, default=64, help="downloads at once, a process")
    parser.add_argument("--procs", type=int, default=2, help="processes")
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    if bool(args.urls) == args.demo:
        parser.error("give a file of URLs, or --demo")

    with contextlib.ExitStack() as stack:
        if args.demo:
            base = stack.enter_context(serve(ensure_photos(100), latency=0.02))
            points = [[f"{base}/{photo_path(i)}", i % 10] for i in range(100)]
        else:
            with open(args.urls) as file:
                lines = [line.split() for line in file if line.strip()]
            points = [[url, int(label)] for url, label in lines]
        ds = Images(points, shuffle=True).parallel(args.threads)
        crop = imgaug.GoogleNetRandomCropAndResize(target_shape=224)
        ds = df.AugmentImageComponent(ds, [crop, imgaug.Flip(horiz=True)])
        ds = df.PrefetchDataZMQ(ds, num_proc=args.procs)
        ds = stack.enter_context(df.BatchData(ds, args.batch, remainder=True))
        for images, labels in ds:
            print(images.shape, images.dtype, labels[:8], "...")  # train here
        print("failed:", ds.stats()["errors"] or "none")
        print(ds.explain())


main()
