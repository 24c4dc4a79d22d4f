"""PASCAL VOC: photos, and boxes around the objects in them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflow.dataset.annotated import AnnotatedFiles, ObjectsStage
from dataflow.dataset.arguments import existing_folder, one_of
from dataflow.dataset.folders import is_image
from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError, DatapointError, FetchError, MissingData
from dataflow.sources.columns import Columns
from dataflow.stages.item import ItemStage

__all__ = ["VOC_CLASSES", "Annotation", "PascalVOC", "read_annotation"]

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
"""The 20 classes of 2007 to 2012; a label is a place in this list."""

_EXPECTED = (
    "expected is VOCdevkit/VOC{year} with the folders Annotations, ImageSets/Main and JPEGImages, "
    "as the archives at http://host.robots.ox.ac.uk/pascal/VOC/ have it"
)
_SPLITS = ("train", "val", "trainval", "test")
_LARGEST = 1 << 20  # bytes of an annotation; those of the data set have some hundreds


class Annotation(NamedTuple):
    """The objects in one image.

    Attributes:
        boxes: float32, N×4: (x0, y0, x1, y1), left, top, right and bottom edge in pixels.
        names: of their classes.
        difficult: bool, N: marked as hard to recognise; the challenge does not count these.
        size: (height, width) of the image in pixels, where the file tells it.
    """

    boxes: NDArray[np.float32]
    names: list[str]
    difficult: NDArray[np.bool_]
    size: tuple[int, int] | None = None


class PascalVOC(AnnotatedFiles):
    """The photos of PASCAL VOC, or of another data set in its layout, with boxes.

    Datapoints are ``[image, boxes, labels, difficult]``: BGR, uint8, H×W×3; float32, N×4; int64, N;
    bool, N. N may be 0, and differs, so batches need ``BatchData(ds, 16, use_list=True)``.

    A box is (x0, y0, x1, y1), the edges in pixels, where pixel (column i, row j) covers
    [i, i+1) × [j, j+1): width is x1 - x0. The files count pixels from 1 and name the first and the
    last one inside, so 1 is subtracted from xmin and ymin only. Boxes are clipped to the image;
    those that are wholly outside are dropped, and counted in a row of ``stats()["stages"]`` as
    ``dropped_objects``. Where the image is turned as EXIF asks for, so are they, if the
    annotation's size says that they are of the pixels as stored; where that is neither of both
    sizes, the datapoint fails with both in the message.

    Files are read in the workers; `parallel` as in `NetworkImages`. An image or an annotation that
    cannot be used is skipped and counted, or raised with ``on_error="raise"``. `AugmentImageBoxes`
    keeps boxes and image together.

    Args:
        dir: the folder with ``VOCdevkit``, or that one, or the ``VOC…`` in it.
        year: which of them.
        split: ``"train"``, ``"val"``, ``"trainval"`` or ``"test"``; the name of a list in
            ``ImageSets/Main``.
        shuffle: a new random order in each epoch. None means: for training.
        classes: names of the classes, where they are not VOC's own; a label is a place in it.
        **options: see `NetworkImages`.

    Attributes:
        classes: the names.
        ids: of the images, in the order of the list, such as ``"2008_000008"``.

    Raises:
        ConfigError: an argument has another value.
        MissingData: a folder or the list is missing; says what is expected where.
    """

    def __init__(
        self,
        dir: str | os.PathLike[str],
        year: int | str = 2012,
        split: str = "train",
        shuffle: bool | None = None,
        classes: Sequence[str] = VOC_CLASSES,
        **options: Any,
    ) -> None:
        one_of("split", split, *_SPLITS)
        super().__init__("train" in split if shuffle is None else shuffle, **options)
        if isinstance(classes, str) or len(set(classes)) != len(classes):
            raise ConfigError(f"classes={classes!r} must be a list of different names")
        self.classes = tuple(classes)
        expected = _EXPECTED.format(year=year)
        folder = existing_folder(dir, expected)
        for inner in (f"VOCdevkit/VOC{year}", f"VOC{year}"):
            if (folder / inner).is_dir():
                folder = folder / inner
                break
        listing = folder / f"ImageSets/Main/{split}.txt"
        if not listing.is_file():
            raise MissingData(f"{listing} is missing; {expected}")
        lines = listing.read_text("utf-8").splitlines()
        files = _by_stem(folder / "JPEGImages")
        self.ids = [_name(stripped, files) for line in lines if (stripped := line.strip())]
        wrong = next((name for name in self.ids if os.path.basename(name) != name), None)
        if not self.ids:
            raise MissingData(f"{listing} names no image: it is empty")
        if wrong is not None:
            raise MissingData(f"{listing} has a line {wrong!r} that names no image; {expected}")
        self.datapoints = Columns(
            (str(folder / "JPEGImages" / files.get(name, f"{name}.jpg")) for name in self.ids),
            (str(folder / f"Annotations/{name}.xml") for name in self.ids),
        )
        self._require_whole_images()

    def _objects(self) -> ItemStage:
        return _Objects(self.classes, self.exif, self.max_pixels)


def read_annotation(path: str | os.PathLike[str]) -> Annotation:
    """The objects that one file tells of.

    Raises:
        FetchError: the file cannot be read, or is larger than 1 MiB.
        DatapointError: it is no such annotation (reason ``annotation``). Documents that declare a
            type or entities are refused: a few bytes of these can stand for gigabytes.
    """
    from xml.etree import ElementTree

    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        reason = "not_found" if isinstance(error, FileNotFoundError) else "unreadable"
        raise FetchError(f"{path}: {error.strerror}", url=path, reason=reason) from error
    if len(text) > _LARGEST:
        raise FetchError(f"{path} is larger than {_LARGEST} bytes", url=path, reason="too_large")

    class Builder(ElementTree.TreeBuilder):
        def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
            raise ValueError(f"it declares a document type, {name[:40]!r}")

    try:
        root = ElementTree.fromstring(text, ElementTree.XMLParser(target=Builder()))
        found = [_object(element) for element in root.findall("object")]
        size = _size(root)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        what = f"{path} is no annotation: {error}"
        raise DatapointError(what, reason="annotation", url=path) from error
    boxes = np.array([box for box, _, _ in found], np.float32).reshape(-1, 4)
    difficult = np.array([hard for _, _, hard in found], np.bool_)
    return Annotation(boxes, [name for _, name, _ in found], difficult, size)


def _size(root: Any) -> tuple[int, int] | None:
    """Height and width, if both are there; some programs write zeros."""
    sides = [root.findtext(f"size/{side}", "").strip() for side in ("height", "width")]
    height, width = (int(side) if side else 0 for side in sides)
    return (height, width) if height > 0 and width > 0 else None


def _object(element: Any) -> tuple[list[float], str, bool]:
    """Box, name and difficulty of one object."""
    name = element.findtext("name", "").strip()
    # Edges: the first pixel's is one less than its number, the last one's is its number.
    texts = [(side, element.findtext(f"bndbox/{side}", "")) for side in _SIDES]
    if (missing := next((side for side, text in texts if not text.strip()), None)) is not None:
        raise ValueError(f"the object {name[:40]!r} has no bndbox/{missing}")
    sides = ((side, float(text)) for side, text in texts)
    box = [value - 1 if side.endswith("min") else value for side, value in sides]
    if not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3] or not name:
        raise ValueError(f"the object {name[:40]!r} has the box {box}")
    return box, name, element.findtext("difficult", "0").strip() == "1"


_SIDES = ("xmin", "ymin", "xmax", "ymax")


class _Objects(ObjectsStage):
    """Puts boxes, labels and difficulty in the place of both paths, the image's and the
    annotation's.

    Args:
        classes: their names.
        exif, max_pixels: see `ObjectsStage`.
    """

    def __init__(self, classes: Sequence[str], exif: bool, max_pixels: int) -> None:
        super().__init__(exif, max_pixels)
        self._ranks = {name: rank for rank, name in enumerate(classes)}

    def apply(self, datapoint: Datapoint) -> Datapoint:
        body, image, path = datapoint
        boxes, names, difficult, said = read_annotation(path)
        unknown = sorted(set(names) - self._ranks.keys())
        if unknown:
            what = f"{path} has a {unknown[0][:40]!r}, which is none of the classes"
            raise DatapointError(what, reason="annotation", url=path)
        labels = np.array([self._ranks[name] for name in names], np.int64)
        frame = self.frame(body, said, image, path)
        boxes, kept = self.inside(frame.boxes(boxes), frame.size)
        return [body, boxes[kept], labels[kept], difficult[kept]]


def _name(line: str, files: Mapping[str, str]) -> str:
    """The image in a line of a list; those of one class have -1, 0 or 1 behind each name."""
    cut = re.sub(r"\s(-1|0|1)$", "", line).rstrip()
    return cut if line not in files and cut in files else line


def _by_stem(folder: Path) -> dict[str, str]:
    """The image files of a folder by their names without the ending."""
    if not folder.is_dir():
        return {}
    names = sorted(filter(is_image, os.listdir(folder)), reverse=True)
    return {os.path.splitext(name)[0]: name for name in names}
