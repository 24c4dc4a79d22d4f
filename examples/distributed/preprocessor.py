"""Makes datapoints on this machine and sends them to the one that trains.

    python examples/distributed/preprocessor.py tcp://trainer:5555 --keys keys

Start as many as there are machines, before the trainer or after it. `dataflow keys keys` makes the
keys once, for all; on one machine (tcp://127.0.0.1:5555) none are needed.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="of the trainer, such as tcp://trainer:5555")
    parser.add_argument("--keys", metavar="FOLDER", help="made by `dataflow keys FOLDER`")
    parser.add_argument("--size", type=int, default=1000, help="datapoints in an epoch")
    parser.add_argument("--epochs", type=int, default=2, help="how many")
    args = parser.parse_args()

    ds = df.DataFromList([[number] for number in range(args.size)], shuffle=True)
    ds = df.PrefetchDataZMQ(ds.map(draw), num_proc=1)
    with df.BatchData(ds, 32, remainder=True) as ds:
        told = df.send(ds, args.address, epochs=args.epochs, keys=args.keys)
    print(f"sent {told['datapoints']} batches, {told['bytes'] / 1e6:.1f} MB")


main()
