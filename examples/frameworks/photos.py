"""The data that the programs of this folder train on: photos, in a folder for each class.

They take it from here: python examples/frameworks/photos.py FOLDER - 1 shows an epoch's labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import dataflow as df

parser = argparse.ArgumentParser()
parser.add_argument("folder", help="with a folder of photos for each class")
parser.add_argument("kept", type=Path, help="where checkpoints are; there it goes on")
parser.add_argument("epochs", type=int)
args = parser.parse_args()
FOLDER, KEPT, EPOCHS = args.folder, args.kept, args.epochs
SIDE, CLASSES = 32, len(df.dataset.ImageFolder(FOLDER).classes)


def photos(rank: int = 0, ranks: int = 1) -> Any:
    """[image, label], in a new order and cut otherwise in each epoch; one rank's share of them."""
    ds = df.ShardData(df.dataset.ImageFolder(FOLDER, shuffle=True).seed(1), rank, ranks)
    ds = df.AugmentImageComponent(ds, [df.imgaug.GoogleNetRandomCropAndResize(target_shape=SIDE)])
    ds = df.MapDataComponent(ds, df.to_tensor())  # 3×H×W, RGB, normalized
    return df.FillUpData(ds.prefetch(2))  # equally many on all ranks, whatever cannot be read


def told(epoch: int, labels: list[Any]) -> None:
    """Show what an epoch had, so that the order can be compared."""
    numbers = " ".join(str(one) for part in labels for one in np.ravel(part))
    print(f"epoch {epoch}: {numbers}\n", end="", flush=True)  # at once, beside those of other ranks


if __name__ == "__main__":
    told(0, [label for _, label in photos()])
