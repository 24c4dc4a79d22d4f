"""Batches for training from images in folders or shards, as `dataflow serve` sends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from dataflow import imgaug
from dataflow.dataset import ImageFolder, WebDataset
from dataflow.dataset.folders import class_names
from dataflow.dataset.samples import IMAGES
from dataflow.engine.runners import MultiThreadRunner, PrefetchDataZMQ
from dataflow.stages import BatchData

__all__ = ["augmented", "folder_images", "in_parallel", "shard_images"]


def folder_images(folder: Path, *, shuffle: bool) -> ImageFolder:
    """The images of a folder with one sub-folder a class; broken ones are left out.

    Of a folder that has these in ``train``, as ImageNet's own has, it is that one.

    Raises:
        MissingData: there are none.
    """
    train = folder / "train"
    # One sub-folder a class in it: otherwise `train` is itself a class.
    within = train.is_dir() and bool(class_names(train))
    return ImageFolder(train if within else folder, shuffle)


def shard_images(shards: list[str], *, shuffle: bool, cache: Path | None) -> WebDataset:
    """The images and labels of tar shards; broken ones are left out.

    Raises:
        MissingData: a shard is missing.
        CodecError: one is broken.
    """
    select = (";".join(IMAGES), "cls")
    return WebDataset(shards, select, shuffle, on_error="skip", cache_dir=cache, stream=False)


def augmented(ds: Any, how: str, size: int) -> Any:
    """Images, BGR, as RGB, H×W×3, of the size that training wants.

    Args:
        ds: the input.
        how: ``"train"``: a random part of random shape, flipped at random; ``"center"``: the
            middle, without a margin of 1/8 of the shorter side; ``"none"``: as they are.
        size: height and width, in pixels.
    """
    steps: dict[str, list[Any]] = {
        "train": [imgaug.GoogleNetRandomCropAndResize(target_shape=size), imgaug.Flip(horiz=True)],
        "center": [imgaug.ResizeShortestEdge(round(size * 8 / 7)), imgaug.CenterCrop(size)],
        "none": [],
    }
    return ds.augment([*steps[how], imgaug.ColorSpace(cv2.COLOR_BGR2RGB)])


def in_parallel(ds: Any, *, threads: int, procs: int | None, batch: int | None) -> Any:
    """The chain on workers, with batches that these build; of an epoch's last ones all remain.

    Args:
        ds: the chain.
        threads: of each process.
        procs: processes; None: this one.
        batch: datapoints in a batch; None: no batches.
    """
    if threads > 1:
        chain = ds
        ds = MultiThreadRunner(lambda: chain, 50, threads)
    if batch is not None:
        ds = BatchData(ds, batch, remainder=True)
    if procs is not None:
        ds = PrefetchDataZMQ(ds, procs, hwm=max(50, 4 * (batch or 1)))
    return ds
