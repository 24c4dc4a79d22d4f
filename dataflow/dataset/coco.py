"""COCO: photos, and boxes, outlines and key points of the objects in them."""

from __future__ import annotations

import math
import os
import warnings
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflow.dataset.annotated import AnnotatedFiles, ObjectsStage
from dataflow.dataset.arguments import existing_folder, one_of
from dataflow.dataset.frames import Frame
from dataflow.dataset.masks import drawn, packed
from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError, DatapointError, MissingData
from dataflow.image.orientation import turned
from dataflow.sources.columns import Columns
from dataflow.stages.item import ItemStage
from dataflow.utils.arguments import shortened

__all__ = ["COCO"]

_EXPECTED = (
    "expected is a file such as instances_val2017.json or person_keypoints_val2017.json, of "
    "https://cocodataset.org/#download: an object with the lists images, annotations, categories"
)
_LOOKED_FOR = 100


class COCO(AnnotatedFiles):
    """The photos of COCO, or of another data set with a file in its format, with their objects.

    Datapoints are ``[image, boxes, labels, crowd, image_id]`` and, as far as they are asked for,
    ``masks`` and then ``keypoints``:

    - image: BGR, uint8, H×W×3;
    - boxes: float32, N×4, (x0, y0, x1, y1): left, top, right and bottom edge in pixels, where pixel
      (column i, row j) covers [i, i+1) × [j, j+1). (The file has left, top, width and height.)
    - labels: int64, N, places in `classes`. (The file's category ids have gaps: they are
      ``ds.category_ids[label]``.)
    - crowd: bool, N: the outline is around a group of objects, not around one;
    - image_id: as in the file;
    - masks: uint8, N×H×W, 1 where the object is, 0 elsewhere, see `dataflow.dataset.masks`: N bytes
      a pixel. That of an object smaller than a pixel may be empty;
    - keypoints: float32, N×K×3, rows of (x, y, visibility) in pixels, as the file has them.
      Visibility is 0 (not labelled, at 0, 0), 1 (hidden) or 2. K is the largest of all categories;
      what an object has not is 0.

    N differs, and is 0 for images without annotations; so batches need ``BatchData(ds, 16,
    use_list=True)``. `AugmentSample` with ``boxes=1, along=(2, 3), instances=5, points=6`` keeps
    all of it together.

    Boxes are clipped to the image; objects whose box has no area, or none inside, are left out, and
    counted in a row of ``stats()["stages"]`` as ``dropped_objects``. Where the image is turned as
    EXIF asks for, so are boxes, masks and key points, if the file's width and height say that they
    are of the pixels as stored; where these fit the image neither way up, the datapoint fails
    (reason ``size``). One with an annotation that cannot be used fails, too (reason
    ``annotation``), as does one whose file cannot; `on_error` decides what then happens. Of
    annotations that name no image a warning tells.

    Files are read in the workers; `parallel` as in `NetworkImages`. The annotations are held as
    arrays, of which each worker process gets a copy when it starts: of a million objects 35 MB,
    with outlines of 40 points 0.4 GB. Outlines are kept in single precision.

    Args:
        annotations: the JSON file, with ``images``, ``annotations`` and ``categories``.
        images: the folder that its file names are below. None: the one that fits the file's place,
            such as ``val2017`` or ``images/val2017`` for ``annotations/instances_val2017.json``, or
            the folder of the file itself.
        shuffle: a new random order in each epoch.
        masks: deliver masks.
        keypoints: deliver key points.
        crowd: ``"drop"`` leaves out the annotations with ``iscrowd``.
        **options: see `NetworkImages`; ``decode="enough"`` cannot be.

    Attributes:
        classes: the names of the categories, in the order of their ids; a label is a place in it.
        category_ids: their ids.
        image_ids: of the images, in the order of the file.
        keypoint_names: a dict, from the name of a category that has key points to their names.

    Raises:
        ConfigError: an argument has another value, or the file is none of these.
        MissingData: the file or the folder is missing; says what is expected where.
    """

    _consumer_only = ("datapoints", "image_ids", "_packed")  # type: ignore[assignment]

    def __init__(
        self,
        annotations: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        shuffle: bool = False,
        *,
        masks: bool = False,
        keypoints: bool = False,
        crowd: Literal["keep", "drop"] = "keep",
        **options: Any,
    ) -> None:
        one_of("crowd", crowd, "keep", "drop")
        super().__init__(shuffle, **options)
        self._require_whole_images()
        self.annotations = Path(annotations).expanduser()
        packer = _Packer(masks, keypoints, crowd == "drop")
        root = _read(self.annotations, packer)
        ids, names, sizes = _images(self.annotations, root["images"])
        categories = _categories(self.annotations, root["categories"])
        self.image_ids = ids
        self.category_ids = tuple(categories)
        self.classes = tuple(category.name for category in categories.values())
        self.keypoint_names = {c.name: c.points for c in categories.values() if c.points}
        if keypoints and not self.keypoint_names:
            raise ConfigError(
                f"keypoints=True, but no category of {self.annotations} has key points: those of "
                "COCO are in person_keypoints_….json"
            )
        self._packed = packer.finished(self.annotations, ids, sizes, categories)
        folder = _folder(self.annotations, images, names)
        self.datapoints = Columns((os.path.join(folder, name) for name in names), range(len(names)))

    def _objects(self) -> ItemStage:
        return _Objects(self._packed, str(self.annotations), self.exif, self.max_pixels)


class _Packed(NamedTuple):
    """The annotations of all images, in their order, as arrays.

    Attributes:
        starts: images + 1: where those of each image begin.
        image_ids: of each image.
        sizes: images×2, (height, width); 0 where it is not told.
        ids: of the annotations; or, negative, their numbers in the file from 1 on.
        boxes, labels, crowd, points: of each annotation; see `COCO`.
        outlines: bytes of all, see `dataflow.dataset.masks`; None: they were not asked for.
        bounds: annotations×2: where in them each begins and ends; 0×2 without them.
        problems: what is wrong with an annotation.
    """

    starts: NDArray[np.int64]
    image_ids: Sequence[Any]
    sizes: NDArray[np.int32]
    ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    points: NDArray[np.float32] | None
    outlines: bytes | None
    bounds: NDArray[np.int64]
    problems: Mapping[int, str]


class _Category(NamedTuple):
    name: str
    points: tuple[str, ...]


class _Objects(ObjectsStage):
    """Puts an image's objects in the place of its path and number."""

    def __init__(self, known: _Packed, file: str, exif: bool, max_pixels: int) -> None:
        super().__init__(exif, max_pixels)
        self._known = known
        self._file = file

    def apply(self, datapoint: Datapoint) -> Datapoint:
        body, path, image = datapoint
        known = self._known
        start, stop = known.starts[image : image + 2].tolist()
        for row in range(start, stop) if known.problems else ():
            if row in known.problems:
                raise self._error(row, path, known.problems[row])
        height, width = known.sizes[image].tolist()
        said = (height, width) if height and width else None
        who = f"{self._file}: the annotation of {path}"
        frame = self.frame(body, said, path, who)
        boxes, kept = self.inside(frame.boxes(known.boxes[start:stop]), frame.size)
        rows = start + np.flatnonzero(kept)
        image_id = known.image_ids[image]
        found = [boxes[kept], known.labels[rows].astype(np.int64), known.crowd[rows]]
        parts = [body, *found, image_id if isinstance(image_id, str) else int(image_id)]
        if known.outlines is not None:
            parts.append(self._masks(rows, frame, path))
        if known.points is not None:
            parts.append(_moved_points(known.points[rows], frame))
        return parts

    def _masks(self, rows: NDArray[np.int64], frame: Frame, path: str) -> NDArray[np.uint8]:
        known = self._known
        assert known.outlines is not None
        masks = np.zeros((len(rows), *frame.size), np.uint8)
        for mask, row in zip(masks, rows.tolist(), strict=True):
            begin, end = known.bounds[row].tolist()
            try:
                mask[:] = turned(drawn(known.outlines[begin:end], frame.before), frame.turn)
            except ValueError as error:
                raise self._error(row, path, str(error)) from error
        return masks

    def _error(self, row: int, path: str, what: str) -> DatapointError:
        number = int(self._known.ids[row])
        who = f"annotation {number}" if number >= 0 else f"annotation number {-number}"
        what = f"{self._file}: {who}, of {path}: {what}"
        return DatapointError(what, reason="annotation", url=path)


def _moved_points(points: NDArray[np.float32], frame: Frame) -> NDArray[np.float32]:
    """Key points, turned with their image; those that are not there stay at 0."""
    there = points[:, :, 2] > 0
    x, y = points[there][:, :2].T
    points[there, :2] = frame.boxes(np.stack([x, y, x, y], axis=1))[:, :2]
    return points


# -- reading the file ----------------------------------------------------------------------------


class _Packer:
    """Takes in annotations one by one, as they are parsed, so that few are there as objects.

    Args:
        masks: keep outlines.
        keypoints: keep key points.
        drop_crowds: leave out those with ``iscrowd``.
    """

    TAKEN = object()
    """In the place of an annotation in what was parsed."""

    def __init__(self, masks: bool, keypoints: bool, drop_crowds: bool) -> None:
        self.seen = 0
        self._masks, self._keypoints, self._drop_crowds = masks, keypoints, drop_crowds
        # Of images and categories, the number that an id has here: in the order of their coming.
        self._images: dict[Any, int] = {}
        self._categories: dict[Any, int] = {}
        self._ids, self._image_of, self._category_of = array("q"), array("q"), array("q")
        self._boxes, self._crowd = array("f"), array("b")
        self._outlines, self._bounds = bytearray(), array("q", [0])
        self._points, self._points_until = array("f"), array("q", [0])
        self._problems: dict[int, str] = {}

    def __call__(self, found: dict[str, Any]) -> Any:
        """An object of the file; `TAKEN` where it was an annotation."""
        if "image_id" not in found or "file_name" in found:
            return found
        self.seen += 1
        crowd = found.get("iscrowd", 0)
        if not (self._drop_crowds and crowd == 1):
            self._add(found, crowd)
        return self.TAKEN

    def _add(self, found: dict[str, Any], crowd: Any) -> None:
        number = found.get("id")
        known = isinstance(number, int) and 0 <= number < 1 << 63
        self._ids.append(number if known else -self.seen)  # type: ignore[arg-type]
        self._image_of.append(_number(self._images, found["image_id"]))
        self._category_of.append(_number(self._categories, found.get("category_id")))
        self._crowd.append(crowd == 1)
        box, outline, points = (0.0, 0.0, 0.0, 0.0), b"", array("f")
        try:
            if crowd not in (0, 1):
                raise ValueError(f"iscrowd={shortened(crowd)} must be 0 or 1")
            box = _edges(found.get("bbox"))
            if self._masks:
                outline = packed(found.get("segmentation"))
            if self._keypoints and found.get("keypoints") is not None:
                points = _points(found["keypoints"])
        except ValueError as error:
            self._problems[len(self._ids) - 1] = str(error)
        self._boxes.extend(box)
        self._outlines += outline
        self._bounds.append(len(self._outlines))
        self._points.extend(points)
        self._points_until.append(len(self._points))

    def finished(
        self,
        file: Path,
        ids: Sequence[Any],
        sizes: NDArray[np.int32],
        categories: Mapping[int, _Category],
    ) -> _Packed:
        """All of them, in the order of the images."""
        image_of = _places(self._images, ids)[_array(self._image_of)]
        ranks = _places(self._categories, list(categories))[_array(self._category_of)]
        problems = self._problems
        for row in np.flatnonzero(ranks < 0).tolist():
            problems.setdefault(row, "its category_id is none of the categories")
        points = self._spread(ranks, list(categories.values())) if self._keypoints else None
        if problems and len(problems) == len(image_of):
            what = f"{file}: no annotation can be used; the first: {problems[min(problems)]}"
            raise ConfigError(what)
        lost = int((image_of < 0).sum())
        if lost:
            first = int(_array(self._ids)[image_of < 0][0])
            who = f"annotation {first}" if first >= 0 else f"annotation number {-first}"
            warnings.warn(
                f"{file}: {lost} of {len(image_of)} annotations name none of its images, the "
                f"first of them {who}; they are left out",
                RuntimeWarning,
                stacklevel=3,
            )
        order = np.argsort(image_of, kind="stable")[lost:]
        bounds = _array(self._bounds)
        whole = isinstance(ids[0], int) and all(isinstance(one, int) for one in ids)
        return _Packed(
            starts=np.searchsorted(image_of[order], np.arange(len(ids) + 1)),
            image_ids=np.array(ids, np.int64) if whole else ids,  # type: ignore[arg-type]
            sizes=sizes,
            ids=_array(self._ids)[order],
            boxes=np.frombuffer(self._boxes, np.float32).reshape(-1, 4)[order],
            labels=ranks[order].astype(np.int32),
            crowd=np.frombuffer(self._crowd, np.int8)[order] != 0,
            points=None if points is None else points[order],
            outlines=bytes(self._outlines) if self._masks else None,
            bounds=np.stack([bounds[:-1], bounds[1:]], axis=1)[order if self._masks else []],
            problems={
                place: problems[row]
                for place, row in enumerate(order.tolist() if problems else ())
                if row in problems
            },
        )

    def _spread(
        self, ranks: NDArray[np.int64], categories: Sequence[_Category]
    ) -> NDArray[np.float32]:
        """Key points as annotations×K×3, of annotations of the categories `ranks`."""
        wanted = np.array([len(c.points) for c in categories] or [0])[ranks] * 3
        until = _array(self._points_until)
        lengths = np.diff(until)
        flat = np.frombuffer(self._points, np.float32)
        most = max(len(category.points) for category in categories)
        spread = np.zeros((len(ranks), most * 3), np.float32)
        for row in np.flatnonzero((lengths > 0) & (lengths != wanted)).tolist():
            self._problems.setdefault(
                row,
                f"it has {lengths[row]} numbers in keypoints; its category has "
                f"{wanted[row] // 3} points, of 3 each",
            )
        for length in np.unique(lengths[(lengths > 0) & (lengths == wanted)]).tolist():
            rows = np.flatnonzero((lengths == length) & (wanted == length))
            spread[rows, :length] = flat[until[rows, None] + np.arange(length)]
        return spread.reshape(-1, most, 3)


def _array(values: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(values, np.int64)


def _number(numbers: dict[Any, int], key: Any) -> int:
    """The number of an id, the next one where it is new. What cannot be an id is None."""
    whole = isinstance(key, float) and key.is_integer()  # as pandas writes columns with gaps
    return numbers.setdefault(key if whole or isinstance(key, int | str) else None, len(numbers))


def _places(numbers: Mapping[Any, int], ids: Sequence[Any]) -> NDArray[np.int64]:
    """Where in `ids` each id is that has a number; -1: nowhere. Some write numbers as text."""
    places = np.full(max(len(numbers), 1), -1, np.int64)
    known = {one: place for place, one in enumerate(ids)}
    for one, number in numbers.items():
        place = known.get(one)
        if place is None and isinstance(one, str) and one.isascii() and one.isdigit():
            place = known.get(int(one))
        elif place is None:
            place = known.get(str(one))
        places[number] = -1 if place is None else place
    return places


def _edges(box: Any) -> tuple[float, float, float, float]:
    """Left, top, right and bottom edge."""
    try:
        left, top, width, height = map(float, box)
        good = all(map(math.isfinite, (left + width, top + height))) and min(width, height) >= 0
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise ValueError(
            f"bbox={shortened(box)} must be [left, top, width, height] in pixels, finite, width "
            "and height not negative"
        )
    return left, top, left + width, top + height


def _points(values: Any) -> array[float]:
    """Key points as numbers."""
    try:
        points = array("f", values)
        good = all(map(math.isfinite, points)) and {0.0, 1.0, 2.0}.issuperset(points[2::3])
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise ValueError(
            f"keypoints={shortened(values)} must be [x, y, visibility, …] of finite numbers, with "
            "a visibility of 0, 1 or 2"
        )
    return points


def _read(file: Path, packer: _Packer) -> dict[str, Any]:
    """The file without its annotations, which the packer takes."""
    import json

    try:
        with open(file, encoding="utf-8-sig") as opened:
            root = json.load(opened, object_hook=packer)
    except FileNotFoundError as error:
        raise MissingData(f"{file} is missing; {_EXPECTED}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read as JSON: {error}; {_EXPECTED}") from error
    if not isinstance(root, dict):
        hint = ": it may be one of results" if isinstance(root, list) else ""
        raise ConfigError(f"{file} has a {type(root).__name__}, not an object{hint}; {_EXPECTED}")
    for name in ("images", "annotations", "categories"):
        if not isinstance(root.get(name), list):
            raise ConfigError(f"{file} has no list {name!r}; {_EXPECTED}")
    for place, one in enumerate(root["annotations"]):
        if one is not packer.TAKEN:
            what = f"{file}: annotations[{place}]={shortened(one)} must have an image_id"
            raise ConfigError(f"{what}, and no file_name")
    if not root["images"]:
        raise ConfigError(f"{file} has no images: its list 'images' is empty; {_EXPECTED}")
    if len(root["annotations"]) != packer.seen:
        raise ConfigError(f"{file} has annotations elsewhere than in its list of them; {_EXPECTED}")
    return root


def _images(file: Path, images: list[Any]) -> tuple[list[Any], list[str], NDArray[np.int32]]:
    """Ids, file names, and (height, width), 0 where it is not told."""
    ids: dict[Any, None] = {}
    names: list[str] = []
    sizes = np.zeros((len(images), 2), np.int32)
    for place, image in enumerate(images):
        one: dict[str, Any] = image if isinstance(image, dict) else {}
        number, name = one.get("id"), one.get("file_name", "")
        good = isinstance(name, str) and isinstance(number, int | str)
        if not good or not name or os.path.isabs(name) or ".." in name.split("/"):
            raise ConfigError(
                f"{file}: images[{place}]={shortened(image)} must have an id, a whole number or "
                "text, and a file_name below the folder of the images"
            )
        if number in ids:
            raise ConfigError(f"{file}: the id {number!r} is that of two images")
        ids[number] = None
        names.append(name)
        sides: list[Any] = [one.get("height"), one.get("width")]
        if all(isinstance(side, int | float) and 0 < side < 1 << 31 for side in sides):
            sizes[place] = sides
    return list(ids), names, sizes


def _categories(file: Path, categories: list[Any]) -> dict[int, _Category]:
    """The categories by their ids, in the order of these."""
    found = {}
    for place, one in enumerate(categories):
        number, name = (one.get("id"), one.get("name")) if isinstance(one, dict) else (None, None)
        if not isinstance(number, int) or not isinstance(name, str) or number in found:
            raise ConfigError(
                f"{file}: categories[{place}]={shortened(one)} must have an id, a whole number "
                "that no other has, and a name"
            )
        found[number] = _Category(name, tuple(map(str, one.get("keypoints") or ())))
    return dict(sorted(found.items()))


def _folder(file: Path, images: str | os.PathLike[str] | None, names: Sequence[str]) -> Path:
    """The folder of the images with these names."""
    if images is not None:
        return existing_folder(images, f"images= has to be the folder with {names[0]}")
    above, split = file.parent.parent, file.stem.rpartition("_")[2]
    tried = [above / split, above / "images" / split, above / "images", file.parent]
    for folder in tried:
        if any((folder / name).is_file() for name in names[:_LOOKED_FOR]):  # some may be missing
            return folder
    places = ", ".join(map(str, tried))
    raise MissingData(
        f"{names[0]}, the first image of {file}, and those that follow are in none of {places}: "
        "give images="
    )
