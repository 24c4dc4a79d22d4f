"""Train a small network on your own photos with PyTorch, on a GPU where there is one.

python examples/pytorch_photos.py FOLDER [--epochs 5]
(FOLDER has ``train`` and ``val``, each with a folder of images for each class.)
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

import dataflow as df
from dataflow.adapters.torch import to_device
from dataflow.imgaug import Brightness, CenterCrop, Flip, RandomCrop, ResizeShortestEdge


def batches(folder: Path, training: bool) -> df.DataFlow:
    """[images N×3×48×48 in -1 to 1, labels N] as NumPy arrays."""
    ds = df.dataset.ImageFolder(folder, shuffle=training).seed(1)
    varied = [RandomCrop(48), Flip(horiz=True), Brightness(30)]
    ds = ds.augment([ResizeShortestEdge(56), *(varied if training else [CenterCrop(48)])])
    ds = ds.map_component(lambda image: image.transpose(2, 0, 1) / np.float32(127.5) - 1)
    return ds.batch(32, remainder=not training).prefetch(2)


def accuracy(model: nn.Module, ds: df.DataFlow, device: str) -> float:
    with torch.no_grad():
        right = [(model(images).argmax(1) == labels) for images, labels in to_device(ds, device)]
    return torch.cat(right).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()

    torch.manual_seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layers = [nn.Conv2d(3, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    layers += [nn.Linear(32 * 4, len(list((args.folder / "train").iterdir())))]
    model = nn.Sequential(*layers).to(device)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    with batches(args.folder / "train", training=True) as train:
        for epoch in range(args.epochs):
            for images, labels in to_device(train, device):  # each pass is another order
                optimiser.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels.long())
                loss.backward()
                optimiser.step()
            print(f"epoch {epoch}: loss {loss.item():.3f}")
        print(train.explain())
    with batches(args.folder / "val", training=False) as val:
        print(f"accuracy {accuracy(model, val, device):.3f}")


main()
