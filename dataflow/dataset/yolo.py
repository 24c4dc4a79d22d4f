"""YOLO: images, and beside them text files with the objects in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflow.dataset.annotated import AnnotatedFiles, ObjectsStage
from dataflow.dataset.arguments import existing_folder
from dataflow.dataset.folders import images_below
from dataflow.dataset.masks import filled
from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError, DatapointError, FetchError, MissingData, MissingExtra
from dataflow.sources.columns import Columns
from dataflow.stages.item import ItemStage
from dataflow.utils.arguments import shortened

__all__ = ["YOLO", "Labels", "read_labels"]

_LARGEST = 16 << 20  # bytes of a text file; with polygons they have some ten thousands
_BEYOND = 0.01  # so far outside of the image programs write what is at its edge


class YOLO(AnnotatedFiles):
    """Images with a text file each, as Darknet and Ultralytics have them.

    Datapoints are those of `COCO`: ``[image, boxes, labels, crowd, name]``, and ``masks`` where
    they are asked for:

    - image: BGR, uint8, H×W×3;
    - boxes: float32, N×4, (x0, y0, x1, y1): left, top, right and bottom edge in pixels, where pixel
      (column i, row j) covers [i, i+1) × [j, j+1);
    - labels: int64, N, places in `classes`;
    - crowd: bool, N, all False, as these files do not know it;
    - name: the path of the image below the folder;
    - masks: uint8, N×H×W, 1 where the object is, 0 elsewhere; N bytes a pixel.

    N differs, and is 0 where the text file is empty or missing; so batches need ``BatchData(ds, 16,
    use_list=True)``.

    Each line of a text file is an object: ``class x y width height``, of the middle of its box; or
    ``class x1 y1 x2 y2 x3 y3 …``, at least three points of its outline, around which the box is
    then. Numbers are relative to width and height of the image as it is decoded, so after EXIF has
    turned it: Ultralytics, too, turns images before it looks at them. With ``exif=False`` nothing
    is turned, and they are taken as relative to the pixels as stored.

    Boxes are clipped to the image; objects whose box has no area are left out, and counted in
    a row of ``stats()["stages"]`` as ``dropped_objects``. Numbers may be up to 0.01 below 0 or
    above 1, as rounding leaves them. A datapoint with any other line fails (reason ``annotation``),
    with file and line in the message; `on_error` decides what then happens. Lines with key points
    are no such lines, but where they have an odd number of numbers within these bounds, they cannot
    be told from outlines. Files are read in the workers; `parallel` as in `NetworkImages`.

    Args:
        images: the folder; images in folders below it are found, too.
        labels: the folder of the text files, which have the images' paths in theirs, but
            for the ending. None: as usual, the last folder ``images`` in the path of an image is
            ``labels`` in the path of its text file; without such a folder, both are in one.
        classes: the names of the classes, in the order of their numbers; or a file that has
            them: a line each (``classes.txt``, ``coco.names``), or ``names`` in YAML
            (``data.yaml``). None: all numbers are taken, and have no names.
        shuffle: a new random order in each epoch.
        masks: deliver masks. Then each line has to have an outline.
        **options: see `NetworkImages`; ``decode="enough"`` cannot be.

    Attributes:
        classes: the names; empty where they were not given.

    Raises:
        ConfigError: an argument has another value, or the file of the classes is none.
        MissingData: a folder or file is missing, or all of the text files are.
        MissingExtra: PyYAML is needed for the file of the classes.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        labels: str | os.PathLike[str] | None = None,
        classes: Sequence[str] | str | os.PathLike[str] | None = None,
        shuffle: bool = False,
        *,
        masks: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(shuffle, **options)
        self._require_whole_images()
        root = existing_folder(images, "images= has to be the folder of the images").absolute()
        self.classes = () if classes is None else _class_names(classes)
        self._named = classes is not None
        self.masks = masks
        paths = images_below(root)
        if not paths:
            raise MissingData(f"{root} has no images")
        if labels is not None:
            labels = existing_folder(labels, "labels= has to be the folder of the text files")
        self._place = _Place(str(root), None if labels is None else str(labels))
        self.datapoints = Columns(map(str, paths), (str(path.relative_to(root)) for path in paths))
        wanted = (self._place.of(str(path), name) for path, name in self.datapoints)
        if not any(map(os.path.isfile, wanted)):
            first = self._place.of(*self.datapoints[0])
            raise MissingData(
                f"no image of {root} has a text file with its objects; that of the first would be "
                f"{first}: give labels="
            )

    def _objects(self) -> ItemStage:
        classes = len(self.classes) if self._named else None
        return _Objects(self._place, classes, self.masks, self.exif, self.max_pixels)


class Labels(NamedTuple):
    """The objects in one image.

    Attributes:
        labels: int64, N, the classes.
        boxes: float64, N×4, (x0, y0, x1, y1), relative to the image's width and height.
        outlines: of each, float64, M×2, rows of (x, y), relative; None where there is a box only.
        lines: the number of its line, from 1 on.
    """

    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    outlines: list[NDArray[np.float64] | None]
    lines: list[int]


def read_labels(path: str | os.PathLike[str], classes: int | None = None) -> Labels:
    """The objects that a text file tells of; none where there is no such file.

    Args:
        path: the file.
        classes: how many there are; None: that is not known.

    Raises:
        FetchError: the file cannot be read, or is larger than 16 MiB.
        DatapointError: a line is none of an object (reason ``annotation``).
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise FetchError(f"{path}: {error.strerror}", url=path, reason="unreadable") from error
    if len(data) > _LARGEST:
        raise FetchError(f"{path} is larger than {_LARGEST} bytes", url=path, reason="too_large")
    found = Labels(np.zeros(0, np.int64), np.zeros((0, 4)), [], [])
    labels, boxes = [], []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, box, outline = _object(line, classes)
        except ValueError as error:
            shown = shortened(line.decode("utf-8", "replace"))
            what = f"{path}, line {number}, {shown}: {error}"
            raise DatapointError(what, reason="annotation", url=path) from error
        labels.append(label)
        boxes.append(box)
        found.outlines.append(outline)
        found.lines.append(number)
    return found._replace(
        labels=np.array(labels, np.int64), boxes=np.array(boxes, np.float64).reshape(-1, 4)
    )


def _object(
    line: bytes, classes: int | None
) -> tuple[int, Sequence[float], NDArray[np.float64] | None]:
    """Class, box, and outline where there is one, of a line."""
    first, *rest = line.split()
    try:
        if b"_" in line:  # which Python takes in numbers
            raise ValueError
        label = float(first)
        values = list(map(float, rest))
    except ValueError:
        raise ValueError("it must be of numbers, with blanks between them") from None
    if not label.is_integer() or not 0 <= label < (1 << 31 if classes is None else classes):
        known = "" if classes is None else f", as there are {classes} classes"
        most = "" if classes is None else f" to {classes - 1}"
        raise ValueError(f"its class must be a whole number from 0{most}{known}")
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        hint = ": is the last one a confidence?" if len(values) == 5 else ""
        raise ValueError(
            f"it has {len(values)} numbers behind the class; it must be 4, of a box, or the x and "
            f"y of at least 3 points{hint}"
        )
    wrong = next((value for value in values if not -_BEYOND <= value <= 1 + _BEYOND), None)
    if wrong is not None:
        raise ValueError(
            f"{wrong:g} is not from 0 to 1: they must be relative to the image's width and height"
        )
    if len(values) == 4:
        x, y, width, height = values
        if width < 0 or height < 0:
            raise ValueError("width and height cannot be negative")
        return int(label), (x - width / 2, y - height / 2, x + width / 2, y + height / 2), None
    outline = np.array(values).reshape(-1, 2)
    return int(label), (*outline.min(axis=0), *outline.max(axis=0)), outline


class _Place:
    """Where text files are.

    Args:
        images: the folder of the images.
        labels: that of the text files; None: by the usual rule.
    """

    def __init__(self, images: str, labels: str | None) -> None:
        self._images = images
        self._labels = labels

    def of(self, path: str, name: str) -> str:
        """The text file of an image, of its path and the part below the folder."""
        if self._labels is not None:
            return os.path.splitext(os.path.join(self._labels, name))[0] + ".txt"
        before, found, after = path.rpartition(f"{os.sep}images{os.sep}")
        place = f"{before}{os.sep}labels{os.sep}{after}" if found else path
        return os.path.splitext(place)[0] + ".txt"


class _Objects(ObjectsStage):
    """Puts an image's objects in the place of its path, and keeps its name."""

    def __init__(
        self, place: _Place, classes: int | None, masks: bool, exif: bool, max_pixels: int
    ) -> None:
        super().__init__(exif, max_pixels)
        self._place = place
        self._classes = classes
        self._masks = masks

    def apply(self, datapoint: Datapoint) -> Datapoint:
        body, path, name = datapoint
        file = self._place.of(path, name)
        found = read_labels(file, self._classes)
        outlines = [one for one in found.outlines if one is not None]
        if self._masks and len(outlines) < len(found.labels):
            line = next(
                n for n, one in zip(found.lines, found.outlines, strict=True) if one is None
            )
            what = f"{file}, line {line}: it is of a box, of which no mask can be made: masks=False"
            raise DatapointError(what, reason="annotation", url=file)
        height, width = size = self.frame(body, None, path, path).size
        whole = (found.boxes * (width, height, width, height)).astype(np.float32)
        boxes, kept = self.inside(whole, size)
        parts = [body, boxes[kept], found.labels[kept], np.zeros(kept.sum(), np.bool_), name]
        if self._masks:
            masks = np.zeros((kept.sum(), height, width), np.uint8)
            for mask, row in zip(masks, np.flatnonzero(kept), strict=True):
                mask[:] = filled([outlines[row] * (width, height)], size)
            parts.append(masks)
        return parts


# -- the names of classes ------------------------------------------------------------------------


def _class_names(classes: Sequence[str] | str | os.PathLike[str]) -> tuple[str, ...]:
    """The names, from a list or a file."""
    if not isinstance(classes, str | os.PathLike):
        names = list(classes)
        who = f"classes={shortened(names)}"
    else:
        file = Path(classes).expanduser()
        who = f"{file}"
        try:
            text = file.read_text("utf-8-sig")
        except FileNotFoundError as error:
            raise MissingData(f"{file}, the file of the classes, is missing") from error
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{file}, the file of the classes, cannot be read: {error}"
            ) from error
        if file.suffix.lower() in (".yaml", ".yml"):
            names = _of_yaml(file, text)
        else:
            names = [stripped for line in text.splitlines() if (stripped := line.strip())]
    wrong = next((name for name in names if not isinstance(name, str) or not name), None)
    if wrong is not None or not names or len(set(names)) != len(names):
        which = f", not {wrong!r}" if wrong is not None else ""
        raise ConfigError(f"{who} must have different names, which are text{which}")
    return tuple(names)


def _of_yaml(file: Path, text: str) -> list[Any]:
    """``names`` of a file in YAML: a list, or a name for each number from 0 on."""
    try:
        yaml = import_module("yaml")  # which has no types of its own
    except ImportError as error:
        raise MissingExtra(
            f"{file} needs PyYAML: pip install pyyaml; or give the names as a list, classes=[…]"
        ) from error
    try:
        root = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read as YAML: {error}") from error
    names = root.get("names") if isinstance(root, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        raise ConfigError(
            f"{file}: names={shortened(names)} must be a list, or have the numbers from 0 on"
        )
    # 7 is a name without quotes; yes and no are not seen to have been names.
    return [str(name) if type(name) in (int, float) else name for name in names]
