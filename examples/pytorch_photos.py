"""Train a small network on your own photos with PyTorch, on a GPU where there is one.

python examples/pytorch_photos.py FOLDER [--epochs 5] [--procs 2]

FOLDER has a folder ``train`` and a folder ``val``, each with a folder of images for each class.
With several processes of torchrun each trains on its own share of every epoch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

import dataflow as df
from dataflow.adapters.torch import to_device
from dataflow.imgaug import Brightness, CenterCrop, Flip, RandomCrop, ResizeShortestEdge


def batches(folder: Path, procs: int, training: bool) -> df.DataFlow:
    """[images N×3×48×48 in -1 to 1, labels N] as NumPy arrays."""
    ds = df.dataset.ImageFolder(folder, shuffle=training).seed(1)
    if training and torch.distributed.is_initialized():
        ds = df.ShardData(ds)
    varied = [RandomCrop(48), Flip(horiz=True), Brightness(30)]
    ds = ds.augment([ResizeShortestEdge(56), *(varied if training else [CenterCrop(48)])])
    ds = ds.map_component(lambda image: image.transpose(2, 0, 1) / np.float32(127.5) - 1)
    return ds.batch(32, remainder=not training).prefetch(procs)


def accuracy(model: nn.Module, ds: df.DataFlow, device: str) -> float:
    with torch.no_grad():
        found = [(model(images).argmax(1) == labels) for images, labels in to_device(ds, device)]
    return torch.cat(found).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on folders of photos.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--procs", type=int, default=2)
    args = parser.parse_args()

    torch.manual_seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    classes = len([one for one in (args.folder / "train").iterdir() if one.is_dir()])
    hidden = [nn.Conv2d(3, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU()]
    pooled = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32 * 4, classes)]
    model = nn.Sequential(*hidden, *pooled).to(device)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    with (
        batches(args.folder / "train", args.procs, training=True) as train,
        batches(args.folder / "val", args.procs, training=False) as val,
    ):
        for epoch in range(args.epochs):
            for images, labels in to_device(train, device):  # each pass is another order
                loss = nn.functional.cross_entropy(model(images), labels.long())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            print(f"epoch {epoch}: loss {loss.item():.3f}")
        print(train.explain())
        print(f"accuracy {accuracy(model, val, device):.3f}")


main()
