"""Decoding no more of a JPEG than what the augmentors behind it take.

The first augmentors of a list mostly cut and scale. They look at an image's size and not at its
pixels, so they can say beforehand which part of it they take, and at which size: that part is
decoded, at the smallest of the scales 1, 1/2, 1/4 and 1/8 that is at least as fine. (libjpeg has
others, but those are slower than decoding more.) What they draw is what they would draw of the
image.

At scale 1 the pixels are those of the whole image, cut afterwards. At smaller scales the decoder
has averaged over what bilinear scaling would have skipped, so they are nearer to `cv2.INTER_AREA`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.image.augment import AugmentImageComponent, Failures
from dataflow.image.decode import checked, native_part, opencv_part, plain_pixels
from dataflow.image.decoding import Decoding
from dataflow.image.jpeg import Part
from dataflow.image.orientation import orientation, stored, turned, turned_size, upright
from dataflow.imgaug.chain import AugmentorList
from dataflow.imgaug.crop import (
    CenterCrop,
    GoogleNetRandomCropAndResize,
    RandomCrop,
    RandomCropRandomShape,
)
from dataflow.imgaug.flip import Flip
from dataflow.imgaug.resize import RandomResize, Resize, ResizeShortestEdge
from dataflow.imgaug.transforms import (
    CropTransform,
    FlipTransform,
    NoOpTransform,
    ResizeTransform,
    Transform,
    TransformList,
)
from dataflow.randomness import at_stage, nested
from dataflow.stages.item import ItemStage, OfNext

__all__ = ["Head", "head_of"]

_CUTS = (CenterCrop, RandomCrop, RandomCropRandomShape, Flip)
_SCALES = (GoogleNetRandomCropAndResize, Resize, ResizeShortestEdge, RandomResize)

_REACH = {cv2.INTER_LINEAR: 1, cv2.INTER_AREA: 1, cv2.INTER_CUBIC: 2, cv2.INTER_LANCZOS4: 4}
"""How many pixels beyond a part the interpolations look at."""

_FINER = {cv2.INTER_AREA: 2.0}
"""Averages of averages differ from averages, unless the first are small."""


class Head:
    """The first augmentors of a stage, done while decoding.

    Args:
        augmentors: all of the stage's.
        count: how many of them.
        number: the stage's, part of the key of its random numbers.
        failures: counts the images that an augmentor failed on, which are dropped; None: it raises.
    """

    def __init__(
        self, augmentors: AugmentorList, count: int, number: int, failures: Failures | None = None
    ) -> None:
        self._augmentors = augmentors.augmentors[:count]
        self._number = number
        self._failures = failures

    def pixels(self, data: bytes, how: Decoding, url: str | None = None) -> NDArray[Any] | None:
        """What these augmentors make of an image; None where one failed, and may.

        Raises:
            DecodeError: it cannot be decoded.
            OfNext: an augmentor failed on it.
        """
        header = checked(data, max_pixels=how.max_pixels, url=url, lenient=how.lenient)
        image: Any = None
        if header.format != "JPEG":
            image = plain_pixels(data, header, how, url)
            shape = image.shape
        else:
            assert header.size is not None, "it was checked"
            turn = orientation(data, header) if how.exif else 1
            shape = (*turned_size(header.size, turn), *(() if how.mode == "grey" else (3,)))
        view = _View(shape)
        steps: list[Transform] = []
        try:
            with at_stage(self._number):
                for part, augmentor in enumerate(self._augmentors):
                    with nested(part):
                        for step in _flat(augmentor.get_transform(view)):
                            view.take(step)
                            steps.append(step)
        except Exception as error:
            if self._failures is None:
                raise OfNext(error) from None
            self._failures.add(error)
            return None
        if image is None and view.is_part:
            assert header.size is not None
            decoded: NDArray[Any] = _part(data, header.size, turn, view, how, url)
            return decoded
        if image is None:
            image = plain_pixels(data, header, how, url)
        whole = image
        for step in steps:
            image = step.apply_image(image)
        pixels: NDArray[Any] = image if image is whole or image.base is None else image.copy()
        return pixels


def head_of(
    stage: Any, index: int | str, number: int, how: Decoding
) -> tuple[Head, ItemStage] | None:
    """What of an augmenting stage can be done while decoding, and a stage that does the rest.

    Args:
        stage: what follows the decoder.
        how: it decodes: what has alpha is decoded as a whole.
        index: the component that the decoder makes.
        number: the stage's.

    Returns:
        None where it can do nothing of it.
    """
    if type(stage) is not AugmentImageComponent or stage.index != index:
        return None
    if how.mode == "unchanged" or how.alpha == "keep":
        return None
    func: Any = stage.func
    chain = func.augmentors
    augmentors = chain.augmentors if type(chain) is AugmentorList else []
    count, scaled = 0, False
    for augmentor in augmentors:
        if type(augmentor) in _SCALES and not scaled and augmentor.interp in _REACH:
            scaled = True
        elif type(augmentor) not in _CUTS:
            break
        count += 1
    if not count:
        return None
    rest = copy.copy(stage)
    rest.func = func.without(count)
    failures = func.failures if func.catch_exceptions else None
    return Head(chain, count, number, failures), rest


class _View:
    """Where in an image a part of it lies that is cut out, mirrored and scaled.

    Attributes:
        shape: of the part as it is now; for augmentors, which look at nothing else.
        box: (top, left, height, width) of it in the image.
        mirrored: top and bottom, left and right.
        before: what of that comes before it is scaled.
        interp: how it is scaled; None: not at all.
    """

    ndim: int
    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self._whole = shape
        self.box = (0.0, 0.0, float(shape[0]), float(shape[1]))
        self.mirrored = self.before = (False, False)
        self.interp: int | None = None

    @property
    def is_part(self) -> bool:
        """Whether decoding less gives less to do."""
        if self.shape[:2] == self._whole[:2]:
            return False
        # Scaled and then cut at size 1: that would need edges between pixels, for little.
        return self.denominator > 1 or all(edge.is_integer() for edge in self.box)

    @property
    def denominator(self) -> int:
        """The part of its size at which the image is decoded: 1, 2, 4 or 8."""
        if self.interp is None:
            return 1
        fineness = max(self.shape[0] / self.box[2], self.shape[1] / self.box[3])
        fineness *= _FINER.get(self.interp, 1.0)
        return next(d for d in (8, 4, 2, 1) if d == 1 or d * fineness <= 1)

    def take(self, step: Transform) -> None:
        """Cut, mirror or scale."""
        height, width = self.shape[:2]
        if isinstance(step, CropTransform):
            if step.y0 + step.h > height or step.x0 + step.w > width:
                raise ValueError(f"{step!r} reaches beyond the image of shape {self.shape}")
            top, left, rows, columns = self.box
            y, x = rows / height, columns / width
            y0 = height - step.y0 - step.h if self.mirrored[0] else step.y0
            x0 = width - step.x0 - step.w if self.mirrored[1] else step.x0
            self.box = (top + y0 * y, left + x0 * x, step.h * y, step.w * x)
            self.shape = (step.h, step.w, *self.shape[2:])
        elif isinstance(step, ResizeTransform):
            self.interp = step.interp
            self.before = self.mirrored
            self.shape = (step.new_h, step.new_w, *self.shape[2:])
        elif isinstance(step, FlipTransform):
            vertical, horizontal = self.mirrored
            self.mirrored = (vertical ^ (not step.horiz), horizontal ^ step.horiz)


def _flat(step: Transform) -> Iterator[Transform]:
    if isinstance(step, TransformList):
        for one in step.tfms:
            yield from _flat(one)
    elif not isinstance(step, NoOpTransform):
        yield step


def _part(
    data: bytes, size: tuple[int, int], turn: int, view: _View, how: Decoding, url: str | None
) -> Any:
    """Decode what a view shows of a JPEG.

    Args:
        data: the file.
        size: (height, width) as stored.
        turn: what is to be done with what is stored; the view is of what it becomes.
        view: of the image.
        how: to decode it.
        url: for errors.
    """
    top, left, height, width = view.box
    denominator = view.denominator
    # All lengths from here on are of pixels at that scale.
    edges = top, left, top + height, left + width
    box: Any = tuple(length / denominator for length in edges)
    whole = (size[0] / denominator, size[1] / denominator)
    bounds = tuple(-(-side // denominator) for side in size)
    exact = all(edge.is_integer() for edge in box)
    reach = 0 if exact else _REACH[view.interp]  # type: ignore[index]
    within = stored(box, whole, turn)
    first = [max(math.floor(edge) - reach, 0) for edge in within[:2]]
    last = [
        min(math.ceil(edge) + reach, bound) for edge, bound in zip(within[2:], bounds, strict=True)
    ]
    part = Part(first[0], first[1], last[0] - first[0], last[1] - first[1])
    image: Any = native_part(data, size, how.mode, how.lenient, url, part, denominator)
    if image is None:
        image = opencv_part(data, how.mode, url, part, denominator)
    image = turned(image, turn)
    rows, columns = view.shape[:2]
    if view.interp is None:
        return _mirrored(image, *view.mirrored)
    if exact:
        image = _mirrored(image, *view.before)
        image = cv2.resize(image, (columns, rows), interpolation=view.interp)
        pairs = zip(view.before, view.mirrored, strict=True)
        return _mirrored(image, *(one != other for one, other in pairs))
    origin = upright((*first, *last), whole, turn)[:2]
    image = _scaled(image, [box[0] - origin[0], box[1] - origin[1]], box, view)
    return _mirrored(image, *view.mirrored)


def _mirrored(image: Any, vertical: bool, horizontal: bool) -> Any:
    if not vertical and not horizontal:
        return image
    return cv2.flip(image, -1 if vertical and horizontal else 0 if vertical else 1)


def _scaled(image: Any, offset: list[float], box: Any, view: _View) -> Any:
    """A box of an image, whose edges are not those of pixels, at the size of a view."""
    rows, columns = view.shape[:2]
    assert view.interp is not None
    interp = view.interp
    y, x = (box[2] - box[0]) / rows, (box[3] - box[1]) / columns
    area = interp == cv2.INTER_AREA
    if area:  # which `warpAffine` has not: of its pixels, none of which skips one, it is the mean
        interp = cv2.INTER_LINEAR
        down, across = max(math.ceil(y), 2), max(math.ceil(x), 2)
        rows, columns, y, x = rows * down, columns * across, y / down, x / across
    # Pixel centres are at halves of our lengths, and at whole numbers of OpenCV's.
    matrix = np.array(
        [[x, 0, offset[1] + 0.5 * x - 0.5], [0, y, offset[0] + 0.5 * y - 0.5]], np.float64
    )
    image = cv2.warpAffine(
        image,
        matrix,
        (columns, rows),
        flags=interp | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if area:
        size = view.shape[1], view.shape[0]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image
