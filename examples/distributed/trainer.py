"""Trains on what preprocessors on other machines send.

    python examples/distributed/trainer.py tcp://0.0.0.0:5555 --keys keys --senders 2

An epoch is over when each of them has sent its own.
"""

from __future__ import annotations

import argparse

import dataflow as df


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="where to listen, such as tcp://0.0.0.0:5555")
    parser.add_argument("--keys", metavar="FOLDER", help="made by `dataflow keys FOLDER`")
    parser.add_argument("--senders", type=int, default=1, help="how many are waited for")
    parser.add_argument("--epochs", type=int, default=2, help="how many")
    args = parser.parse_args()

    with df.receive(args.address, senders=args.senders, keys=args.keys) as ds:
        for epoch in range(args.epochs):
            images = discs = 0
            for batch, labels in ds:
                images += len(batch)  # train here
                discs += int(labels.sum())
            print(f"epoch {epoch}: {images} images, {discs} of them discs", flush=True)


main()
