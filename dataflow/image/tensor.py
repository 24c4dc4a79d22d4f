"""From images as they are decoded to what networks take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dataflow.errors import ConfigError

__all__ = ["IMAGENET", "ToTensor", "to_tensor"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's training images, red, green and blue, of values from 0
to 1; those that torchvision's models were trained with."""

_Order = Literal["rgb", "bgr"]


class ToTensor:
    """The function of `to_tensor`."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        order: _Order,
        given: _Order,
        dtype: Any,
    ) -> None:
        self._mean = tuple(map(float, mean))
        self._std = tuple(map(float, std))
        self._turn = order != given
        self._dtype = np.dtype(dtype)

    def __call__(self, images: Any) -> Any:
        if isinstance(images, (list, tuple)):
            raise TypeError(
                "images in a list, as BatchData(use_list=True) makes it: they must be one array, "
                "or come one by one, upstream of the batch"
            )
        if images.ndim not in (3, 4) or images.shape[-1] != len(self._mean):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: they must be N×H×W×{len(self._mean)} or "
                f"H×W×{len(self._mean)}"
            )
        channels = range(len(self._mean))
        sources = list(reversed(channels)) if self._turn else list(channels)
        if isinstance(images, np.ndarray):
            return self._of_array(images, sources)
        return self._of_tensor(images, sources)

    def _of_array(self, images: Any, sources: list[int]) -> Any:
        if images.dtype != np.uint8:
            raise TypeError(f"images of dtype {images.dtype}: they must be uint8, from 0 to 255")
        *outer, height, width, channels = images.shape
        out = np.empty((*outer, channels, height, width), np.float32)
        for channel, source in enumerate(sources):
            part = out[..., channel, :, :]
            np.multiply(images[..., source], np.float32(1 / (255 * self._std[channel])), out=part)
            part -= np.float32(self._mean[channel] / self._std[channel])
        return out.astype(self._dtype, copy=False)

    def _of_tensor(self, images: Any, sources: list[int]) -> Any:
        import torch

        if images.dtype != torch.uint8:
            raise TypeError(f"images of dtype {images.dtype}: they must be uint8, from 0 to 255")
        kind = getattr(torch, self._dtype.name)
        moved = images[..., sources].movedim(-1, -3).float()
        shape = (len(sources), 1, 1)
        mean = torch.tensor(self._mean, device=images.device).reshape(shape)
        std = torch.tensor(self._std, device=images.device).reshape(shape)
        return moved.div_(255).sub_(mean).div_(std).to(kind).contiguous()


def to_tensor(
    mean: Literal["imagenet"] | Sequence[float] = "imagenet",
    std: Sequence[float] | None = None,
    *,
    order: _Order = "rgb",
    given: _Order = "bgr",
    dtype: Any = np.float32,
) -> ToTensor:
    """A function from images as they are decoded to what networks take, for a worker or a device.

    N×H×W×3 becomes N×3×H×W (and H×W×3 becomes 3×H×W), uint8 in the order of `given` becomes
    floating point in the order of `order`, and of each channel ``(value / 255 - mean) / std``. For
    example::

        ds = df.BatchData(ds, 64)
        ds = df.MapDataComponent(ds, df.to_tensor())  # in the workers, where a runner follows

        normalized = df.to_tensor()
        for images, labels in to_device(ds, "cuda"):  # bytes cross the bus, four times fewer
            images = normalized(images)

    Args:
        mean: of each channel, in the order of `order`, of values from 0 to 1; ``"imagenet"`` for
            the figures of ImageNet, then `std` is left out.
        std: the standard deviation of each.
        order: of the result's channels.
        given: of the images' channels; everything here delivers ``"bgr"`` unless it is told
            otherwise.
        dtype: of the result: float32, float16 or float64.

    Returns:
        A function of an array, or of a tensor of torch's on any device, which gives the same kind.

    Raises:
        ConfigError: an argument cannot be.
    """
    for name, value in (("order", order), ("given", given)):
        if value not in ("rgb", "bgr"):
            raise ConfigError(f'{name}={value!r} must be "rgb" or "bgr"')
    if isinstance(mean, str):
        if mean != "imagenet" or std is not None:
            raise ConfigError(
                f'mean={mean!r}, std={std!r}: give the figures of both, or "imagenet" alone'
            )
        found = IMAGENET
        if order == "bgr":
            found = (found[0][::-1], found[1][::-1])
        mean, std = found
    if std is None or len(mean) != len(std) or min(std) <= 0:
        raise ConfigError(
            f"mean={mean!r}, std={std!r}: there must be as many of both, and std positive"
        )
    if np.dtype(dtype) not in (np.float16, np.float32, np.float64):
        raise ConfigError(f"dtype={dtype!r} must be float16, float32 or float64")
    return ToTensor(mean, std, order, given, dtype)
