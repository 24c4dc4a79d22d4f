"""Train a small network on MNIST with PyTorch; batches come straight from the dataflow.

python examples/pytorch_mnist.py [--dir FOLDER] [--epochs 3]
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import dataflow as df
from dataflow.adapters.torch import tensors


def batches(part: str, folder: str | None, size: int, procs: int) -> df.DataFlow:
    """[images N×1×28×28 in 0 to 1, labels] for training, or for testing, as NumPy arrays."""
    ds = df.dataset.Mnist(part, shuffle=part == "train", dir=folder).seed(1)
    ds = df.MapData(ds, lambda dp: [dp[0][None], dp[1]])
    return df.PrefetchDataZMQ(df.BatchData(ds, size, remainder=part == "test"), num_proc=procs)


def accuracy(model: nn.Module, ds: df.DataFlow) -> float:
    right = total = 0
    with torch.no_grad():
        for images, labels in map(tensors, ds):
            right += (model(images).argmax(1) == labels).sum().item()
            total += len(labels)
    return right / total


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on MNIST.")
    parser.add_argument("--dir", help="where the files are, or should be")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--procs", type=int, default=1)
    args = parser.parse_args()

    torch.manual_seed(1)
    hidden = [nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*hidden, nn.Linear(32 * 16, 10))
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    with batches("train", args.dir, 64, args.procs) as train:
        for epoch in range(args.epochs):
            for images, labels in map(tensors, train):  # each pass is another order
                loss = nn.functional.cross_entropy(model(images), labels.long())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            print(f"epoch {epoch}: loss {loss:.3f}")
        print(train.explain())
    with batches("test", args.dir, 256, args.procs) as test:
        print(f"accuracy {accuracy(model, test):.3f}")


main()
