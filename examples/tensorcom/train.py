"""Trains on batches that others serve: serve.py beside this, or Tensorcom's servers.

    python examples/tensorcom/train.py zsub://127.0.0.1:7880

As many as you like may listen to one server; one may listen to many servers: 788{0..3}.
"""

from __future__ import annotations

import argparse

import numpy as np

import dataflow as df


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="zsub://127.0.0.1:7880")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000, help="batches to train on")
    parser.add_argument("--timeout", type=float, help="seconds to wait for one; for ever")
    args = parser.parse_args()

    weights = np.zeros((3, args.classes), np.float32)  # of a very small model: colours decide
    losses = []
    with df.Connection(args.url, timeout=args.timeout) as training:
        for xs, ys in training.take(args.steps):
            features = xs.mean(axis=(1, 2), dtype=np.float32) / 255
            scores = np.exp(features @ weights)
            chances = scores / scores.sum(axis=1, keepdims=True)
            rows = np.arange(len(ys))
            losses.append(-np.log(chances[rows, ys]).mean())
            chances[rows, ys] -= 1
            weights -= features.T @ chances / len(ys)
            if len(losses) % 10 == 0:
                print(f"step {len(losses)}: loss {losses[-1]:.3f}, {training.stats.summary()}")
    print(f"images {xs.shape} {xs.dtype}, labels {ys.dtype}; loss {losses[0]:.2f} at first")


main()
