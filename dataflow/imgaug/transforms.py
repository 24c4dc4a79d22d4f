"""Transforms: changes whose parameters are settled, so that they can be applied again.

Coordinates are N×2 arrays of (x, y) on a continuous plane: pixel (column i, row j) covers
[i, i+1) × [j, j+1), its centre is (i + 0.5, j + 0.5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.imgaug.pixels import Image
from dataflow.imgaug.planes import interpolated, is_known
from dataflow.imgaug.scale import unit
from dataflow.randomness import nested
from dataflow.utils.spelling import renamed

__all__ = [
    "Coords",
    "CropTransform",
    "FlipTransform",
    "Image",
    "LegacyTransform",
    "NoOpTransform",
    "PartTransform",
    "PhotometricTransform",
    "ResizeTransform",
    "Transform",
    "TransformFactory",
    "TransformList",
    "TransposeTransform",
    "WarpAffineTransform",
    "moved_exactly",
]

Coords: TypeAlias = NDArray[Any]
"""N×2, floating point, rows of (x, y) in pixels."""


class Transform:
    """A deterministic change of an image and of what belongs to it.

    Subclasses define `apply_image`, and `apply_coords` where it makes sense. They may define more
    methods named ``apply_…``; on transforms without such a method it raises NotImplementedError.
    None of them writes into its argument.
    """

    def apply_image(self, img: Image) -> Image:
        """The changed image."""
        raise NotImplementedError(f"{type(self).__name__} does not implement apply_image")

    def apply_coords(self, coords: Coords) -> Coords:
        """Where the points `coords` of the image are after the change."""
        raise NotImplementedError(f"{type(self).__name__} does not implement apply_coords")

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        """The changed mask, H×W or H×W×C: every value is one that it had, or `fill`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement apply_mask")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("apply_"):

            def missing(*args: Any) -> Any:
                raise NotImplementedError(f"{type(self).__name__} does not implement {name}")

            return missing
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _init(self, params: dict[str, Any] | None = None) -> None:
        """Keep constructor arguments as attributes: ``self._init(locals())``."""
        for name, value in (params or {}).items():
            if name != "self" and not name.startswith("_"):
                setattr(self, name, value)

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"imgaug.{type(self).__name__}({values})"


class NoOpTransform(Transform):
    """Leaves everything as it is; every ``apply_…`` returns its argument."""

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        return mask

    def apply_image(self, img: Image) -> Image:
        return img

    def apply_coords(self, coords: Coords) -> Coords:
        return coords

    def __getattr__(self, name: str) -> Any:
        if name.startswith("apply_"):
            return _same
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class ResizeTransform(Transform):
    """Scale an h×w image to new_h×new_w.

    Args:
        h, w: height and width of the image it will be applied to, in pixels.
        new_h, new_w: height and width of the result.
        interp: an OpenCV interpolation, such as ``cv2.INTER_LINEAR``.
    """

    @renamed(newh="new_h", neww="new_w")
    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: int) -> None:
        self.h = h
        self.w = w
        self.new_h = new_h
        self.new_w = new_w
        self.interp = interp

    def apply_image(self, img: Image) -> Image:
        if img.shape[:2] != (self.h, self.w):
            raise ValueError(f"this transform is for {self.h}×{self.w} images, not {img.shape}")
        size = (self.new_w, self.new_h)
        return interpolated(
            lambda part, _: cv2.resize(part, size, interpolation=self.interp),
            img,
            type(self).__name__,
            self.interp,
        )

    def apply_coords(self, coords: Coords) -> Coords:
        return _times(coords, self.new_w / self.w, self.new_h / self.h)

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        # Of OpenCV's two, the one that takes the pixel at the centre, as the others do for images.
        nearest = cv2.INTER_NEAREST_EXACT
        other = ResizeTransform(self.h, self.w, self.new_h, self.new_w, nearest)
        return moved_exactly(other.apply_image, mask)


class CropTransform(Transform):
    """Cut out a rectangle; the result is a view.

    Args:
        y0, x0: its top left pixel.
        h, w: its height and width.
    """

    @renamed(h0="y0", w0="x0")
    def __init__(self, y0: int, x0: int, h: int, w: int) -> None:
        self.y0 = y0
        self.x0 = x0
        self.h = h
        self.w = w

    def apply_image(self, img: Image) -> Image:
        bottom, right = self.y0 + self.h, self.x0 + self.w
        if bottom > img.shape[0] or right > img.shape[1]:
            raise ValueError(f"{self!r} reaches beyond the image of shape {img.shape}")
        part: Image = img[self.y0 : bottom, self.x0 : right]
        return part

    def apply_coords(self, coords: Coords) -> Coords:
        moved: Coords = coords - np.array([self.x0, self.y0], coords.dtype)
        return moved

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        return self.apply_image(mask)


class WarpAffineTransform(Transform):
    """Move every point by an affine map.

    Args:
        mat: 2×3, takes (column, row, 1) of a pixel to where it will be, as
            ``cv2.getRotationMatrix2D`` makes it: the first pixel's centre is (0, 0) here.
        dsize: (width, height) of the result.
        interp: an OpenCV interpolation.
        borderMode: an OpenCV border, for what lies outside of the image.
        borderValue: the value there for ``cv2.BORDER_CONSTANT``: one number for all channels, or
            one for each.
    """

    def __init__(
        self,
        mat: Any,
        dsize: Any,
        interp: int = cv2.INTER_LINEAR,
        borderMode: int = cv2.BORDER_CONSTANT,  # noqa: N803 - OpenCV's name
        borderValue: Any = 0,  # noqa: N803
    ) -> None:
        self.mat = np.asarray(mat)
        self.dsize = tuple(dsize)
        self.interp = interp
        self.borderMode = borderMode
        self.borderValue = borderValue

    def apply_image(self, img: Image) -> Image:
        value = self.borderValue
        if (step := unit(img.dtype)) != 1:
            value = np.multiply(value, step).tolist()
        if np.ndim(value) == 0:  # OpenCV would take it for the first channel alone
            value = [value] * (4 if img.ndim == 2 else max(4, img.shape[2]))
        shift = self._whole_shift(img)

        def moved(part: Image, first: int) -> Image:
            border = value[first : first + 4]
            if shift is not None:
                return _shifted(part, *shift, self.borderMode, border)
            # Cubic, OpenCV 5.0 cuts float64 to integers along the border.
            cut = part.dtype == np.float64 and self.interp & cv2.INTER_MAX == cv2.INTER_CUBIC
            warped = cv2.warpAffine(
                part.astype(np.float32) if cut else part,
                self.mat,
                self.dsize,
                flags=self.interp,
                borderMode=self.borderMode,
                borderValue=border,
            )
            return warped.astype(part.dtype, copy=False)

        return interpolated(moved, img, type(self).__name__, self.interp)

    def apply_coords(self, coords: Coords) -> Coords:
        # The matrix counts from the first pixel's centre, coordinates from its corner.
        moved: Coords = (coords - 0.5) @ self.mat[:, :2].T + (self.mat[:, 2] + 0.5)
        return moved.astype(coords.dtype)

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        kept = self.interp & ~cv2.INTER_MAX | cv2.INTER_NEAREST
        other = WarpAffineTransform(self.mat, self.dsize, kept, self.borderMode, fill)
        return moved_exactly(other.apply_image, mask)

    def _whole_shift(self, img: Image) -> tuple[int, int] | None:
        """(x, y) where the map is a shift by whole pixels that `_shifted` can do."""
        height, width = img.shape[:2]
        if (
            self.dsize != (width, height)
            or self.borderMode not in (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE)
            or not np.array_equal(self.mat[:, :2], ((1, 0), (0, 1)))
        ):
            return None
        x, y = self.mat[:, 2].tolist()
        if not (x.is_integer() and y.is_integer() and abs(x) < width and abs(y) < height):
            return None
        return int(x), int(y)


def _shifted(img: Image, x: int, y: int, border: int, value: Any) -> Image:
    """The image moved right and down: copied, in a twentieth of the time of a warp."""
    height, width = img.shape[:2]
    kept = img[max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)]
    sides = max(y, 0), max(-y, 0), max(x, 0), max(-x, 0)  # above, below, left, right
    return cv2.copyMakeBorder(kept, *sides, border, value=value)


class FlipTransform(Transform):
    """Mirror the image.

    Args:
        h, w: height and width of the image it will be applied to.
        horiz: left becomes right; otherwise top becomes bottom.
    """

    def __init__(self, h: int, w: int, horiz: bool = True) -> None:
        self.h = h
        self.w = w
        self.horiz = horiz

    def apply_image(self, img: Image) -> Image:
        # Not a view with a negative stride: whoever copies that later pays thirty times as much.
        if not is_known(img):
            return self.apply_mask(img)
        return restore_channel(cv2.flip(img, 1 if self.horiz else 0), img)

    def apply_coords(self, coords: Coords) -> Coords:
        flipped: Coords = np.array(coords)
        if self.horiz:
            flipped[:, 0] = self.w - coords[:, 0]
        else:
            flipped[:, 1] = self.h - coords[:, 1]
        return flipped

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        return np.ascontiguousarray(np.flip(mask, 1 if self.horiz else 0))


class TransposeTransform(Transform):
    """Exchange rows and columns."""

    def apply_image(self, img: Image) -> Image:
        return restore_channel(cv2.transpose(img), img) if is_known(img) else self.apply_mask(img)

    def apply_coords(self, coords: Coords) -> Coords:
        swapped: Coords = coords[:, ::-1].copy()
        return swapped

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        return np.ascontiguousarray(np.swapaxes(mask, 0, 1))


class PhotometricTransform(Transform):
    """Changes pixel values and leaves every pixel in its place.

    Args:
        func: image → image of the same shape.
        name: for people.
    """

    def __init__(self, func: Callable[[Image], Image], name: str | None = None) -> None:
        self._func = func
        self._name = name

    def apply_image(self, img: Image) -> Image:
        return self._func(img)

    def apply_coords(self, coords: Coords) -> Coords:
        return coords

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        return mask

    def __repr__(self) -> str:
        return f"imgaug.PhotometricTransform({self._name or ''})"


class TransformFactory(Transform):
    """A transform made of functions.

    Args:
        name: for people.
        kwargs: the methods, such as ``apply_image=function``.
    """

    def __init__(self, name: str | None = None, **kwargs: Callable[..., Any]) -> None:
        for key, function in kwargs.items():
            if not key.startswith("apply_"):
                raise ValueError(f"{key}={function!r}: only apply_… methods can be given")
            setattr(self, key, function)
        self._name = name

    def __repr__(self) -> str:
        return f"imgaug.TransformFactory({self._name or ''})"


class LegacyTransform(Transform):
    """The change of an augmentor in the older form, with `_augment` and `_augment_coords`.

    Args:
        augmentor: the augmentor.
        params: what it drew.
        coords_method: the name of its method for coordinates.
    """

    def __init__(self, augmentor: Any, params: Any, coords_method: str = "_augment_coords") -> None:
        self._augmentor = augmentor
        self._params = params
        self._coords_method = coords_method

    def apply_image(self, img: Image) -> Image:
        changed: Image = self._augmentor._augment(img, self._params)
        return changed

    def apply_coords(self, coords: Coords) -> Coords:
        method = getattr(self._augmentor, self._coords_method, None)
        return coords if method is None else method(coords, self._params)

    def __repr__(self) -> str:
        return f"imgaug.LegacyTransform({self._augmentor!r}, {self._params!r})"


class PartTransform(Transform):
    """Part `part` of a composite augmentor, made when it is first applied to an image.

    An augmentor in a list must see the image that those before it leave. Its random numbers are
    those of its place in the list, whenever they are drawn.

    Args:
        get_transform: image → Transform.
        part: the place in the composite.
        transform: the transform itself, where it could be made at once.
    """

    def __init__(
        self, get_transform: Callable[[Image], Any], part: int, transform: Any = None
    ) -> None:
        self._get_transform = get_transform
        self._part = part
        self._transform = transform

    def apply_image(self, img: Image) -> Image:
        with nested(self._part):
            if self._transform is None:
                self._transform = self._get_transform(img)
            changed: Image = self._transform.apply_image(img)
            return changed

    def apply_coords(self, coords: Coords) -> Coords:
        changed: Coords = self._apply("apply_coords", coords)
        return changed

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        changed: Image = self._apply("apply_mask", mask, fill)
        return changed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("apply_"):
            return lambda value: self._apply(name, value)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _apply(self, method: str, *values: Any) -> Any:
        if self._transform is None:
            raise ValueError(f"{method}() before apply_image(): the parameters are not drawn yet")
        return getattr(self._transform, method)(*values)

    def __repr__(self) -> str:
        return (
            "imgaug.PartTransform(not drawn yet)"
            if self._transform is None
            else repr(self._transform)
        )


class TransformList(Transform):
    """Transforms one after the other.

    Args:
        tfms: the transforms.
    """

    def __init__(self, tfms: list[Any]) -> None:
        self.tfms = list(tfms)

    def apply_image(self, img: Image) -> Image:
        for transform in self.tfms:
            img = transform.apply_image(img)
        return img

    def apply_coords(self, coords: Coords) -> Coords:
        for transform in self.tfms:
            coords = transform.apply_coords(coords)
        return coords

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        for transform in self.tfms:
            mask = transform.apply_mask(mask, fill)
        return mask

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("apply_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def apply(value: Any) -> Any:
            for transform in self.tfms:
                value = getattr(transform, name)(value)
            return value

        return apply

    def __add__(self, other: Transform) -> TransformList:
        return TransformList(self.tfms + _flat(other))

    def __radd__(self, other: Transform) -> TransformList:
        return TransformList(_flat(other) + self.tfms)

    def __repr__(self) -> str:
        return f"imgaug.TransformList({self.tfms!r})"


def restore_channel(result: Any, img: Image) -> Image:
    """`result` with the last axis of an H×W×1 image, which OpenCV leaves out."""
    array: Image = result
    return array[:, :, np.newaxis] if array.ndim < img.ndim else array


def moved_exactly(change: Callable[[Image], Image], mask: Image) -> Image:
    """A change of pixels' places only, of a mask of any dtype, of which OpenCV has but a few."""
    if mask.dtype in (np.uint8, np.uint16, np.float32, np.float64):
        return change(mask)
    if mask.dtype == np.bool_:
        return change(mask.view(np.uint8)).view(np.bool_)
    if mask.dtype.kind not in "iuf":
        raise TypeError(f"a mask of dtype {mask.dtype}: it must be of real numbers")
    if mask.dtype == np.float16:
        return change(mask.astype(np.float32)).astype(mask.dtype)
    small = mask.size == 0 or (mask.min() >= 0 and mask.max() < 1 << 16)
    return change(mask.astype(np.uint16 if small else np.float64)).astype(mask.dtype)


def _times(coords: Coords, x: float, y: float) -> Coords:
    scaled: Coords = coords * np.array([x, y], coords.dtype)
    return scaled


def _same(value: Any) -> Any:
    return value


def _flat(transform: Transform) -> list[Any]:
    return transform.tfms if isinstance(transform, TransformList) else [transform]
