"""Trains on what any number of workers on other machines make, each datapoint exactly once.

    python examples/distributed/pooled.py tcp://0.0.0.0:5555 --keys keys

and on each of the other machines, in this folder:

    dataflow worker pooled:flow tcp://trainer:5555 --keys keys

Workers may come and go at any time. `dataflow keys keys` makes the keys once, for all; on one
machine (tcp://127.0.0.1:5555) none are needed.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

import dataflow as df


def draw(datapoint: list) -> list:
    """[number] → [image, label]: a disc, or a square."""
    (number,) = datapoint
    image = np.zeros((64, 64, 3), np.uint8)
    if number % 2:
        cv2.circle(image, (32, 32), 5 + number % 20, (255, 255, 255), -1)
    else:
        cv2.rectangle(image, (10, 10), (30 + number % 30, 40), (255, 255, 255), -1)
    return [image, number % 2]


def flow() -> df.DataFlow:
    """What trainer and workers build alike."""
    ds = df.DataFromList([[number] for number in range(1000)], shuffle=True)
    return df.BatchData(ds.map(draw), 32, remainder=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="where to listen, such as tcp://0.0.0.0:5555")
    parser.add_argument("--keys", metavar="FOLDER", help="made by `dataflow keys FOLDER`")
    parser.add_argument("--epochs", type=int, default=2, help="how many")
    args = parser.parse_args()

    with df.PrefetchDataRemote(flow(), args.address, keys=args.keys).seed(1) as ds:
        for epoch in range(args.epochs):
            images = discs = 0
            for batch, labels in ds:
                images += len(batch)  # train here
                discs += int(labels.sum())
            print(f"epoch {epoch}: {images} images, {discs} of them discs", flush=True)


if __name__ == "__main__":
    main()
