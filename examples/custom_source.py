"""A source of your own, in processes, with errors taken care of.

    python examples/custom_source.py --size 1000 --procs 4

The source thinks of circles; the stage downstream draws them, and fails on every 50th.
"""

from __future__ import annotations

import argparse
import os

import cv2
import numpy as np

import dataflow as df


class Circles(df.RNGDataFlow):
    """[number, radius] of circles; for the same seed the same ones."""

    def __init__(self, size: int) -> None:
        self.number = size

    def __iter__(self):
        for number in range(self.number):
            yield [number, int(self.rng.randint(5, 60))]

    def __len__(self) -> int:
        return self.number


def draw(datapoint: list) -> list:
    """[number, radius] → [image, radius, process]. Runs in the worker processes."""
    number, radius = datapoint
    if number % 50 == 49:
        raise ValueError(f"circle {number} cannot be drawn")
    image = np.zeros((128, 128, 3), np.uint8)
    cv2.circle(image, (64, 64), radius, (255, 255, 255), -1)
    return [image, radius, os.getpid()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1000, help="datapoints")
    parser.add_argument("--procs", type=int, default=2, help="processes")
    args = parser.parse_args()

    ds = df.MapData(Circles(args.size), draw)
    ds = df.PrefetchDataZMQ(ds, num_proc=args.procs, on_error="skip")
    with df.BatchData(ds, 32, remainder=True).seed(1) as ds:
        batches = list(ds)  # or train here
        workers = {process for _, _, processes in batches for process in processes.tolist()}
        print(f"drawn by {len(workers)} processes")
        for failed in ds.errors()[:3]:
            print(f"skipped {failed.datapoint}: {failed.message.splitlines()[0]}")
        print("failed:", ds.stats()["errors"])


main()
