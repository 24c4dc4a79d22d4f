"""What a transform of batches is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dataflow.randomness import datapoint_rng, fresh_seed

__all__ = ["Images", "Transform"]

Images: TypeAlias = NDArray[Any]
"""N×H×W×C, uint8 or floating point in [0, 255]; `Transform.apply` takes N×H×W, too."""


class Transform:
    """A change of a batch's images; everything else in the batch stays.

    A subclass defines `change`. Images that come as a list, because their sizes differ, are changed
    one by one, and are an array again as soon as their sizes are equal.
    """

    def apply(self, values: Mapping[str, Any], deterministic: bool = False) -> dict[str, Any]:
        """The batch with other images; `values` and the arrays in it stay as they are.

        Args:
            values: a batch; ``"images"`` is N×H×W×C, or N×H×W of grey ones, or a list of H×W×C
                or H×W. What comes without channels is without them after.
            deterministic: draw nothing; what that means, each class says.

        Raises:
            ValueError: the images have another shape, or do not suit the transform.
        """
        images = values["images"]
        rng = None if deterministic else self.rng
        changed: Any
        if isinstance(images, list | tuple):
            changed = _stacked([self._changed(_images(one, 2)[None], rng)[0] for one in images])
        else:
            changed = self._changed(_images(images, 3), rng)
        return {**values, "images": changed}

    def _changed(self, images: Images, rng: np.random.RandomState | None) -> Images:
        if images.ndim == 4:
            return self.change(images, rng)
        grey: Images = self.change(images[..., np.newaxis], rng)[..., 0]
        return grey

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        """The changed images; the others are not written into.

        Args:
            images: the batch's.
            rng: what to draw from; None in the deterministic mode.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define change")

    @property
    def rng(self) -> np.random.RandomState:
        """The current batch's random numbers, which its seed decides; outside of a flow any."""
        return datapoint_rng() or np.random.RandomState(fresh_seed())

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


def _images(images: Any, grey: int) -> NDArray[Any]:
    """The images, if they are any: so many dimensions have grey ones, others one more."""
    if not isinstance(images, np.ndarray) or images.ndim not in (grey, grey + 1):
        has = getattr(images, "shape", type(images).__name__)
        many = "N×" * (grey == 3)
        raise ValueError(f"images are {many}H×W×C or {many}H×W, not {has}")
    return images


def _stacked(images: list[Any]) -> Any:
    kinds = {(image.shape, image.dtype) for image in images}
    return np.stack(images) if len(kinds) == 1 else images
