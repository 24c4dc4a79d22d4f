"""ImageNet's classification challenge of 2012 (ILSVRC12), from a web server or a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dataflow.dataset.files import FileImages, ImageFolder
from dataflow.dataset.folders import class_names
from dataflow.dataset.frames import frame_of
from dataflow.dataset.ilsvrc_files import read_listing
from dataflow.dataset.ilsvrc_forms import Request, understand
from dataflow.dataset.ilsvrc_meta import EXPECTED_IMAGES
from dataflow.dataset.network import NetworkImages
from dataflow.dataset.voc import read_annotation
from dataflow.errors import ConfigError, FetchError, MissingData
from dataflow.http import FetchPolicy, make_fetcher
from dataflow.sources.columns import Columns
from dataflow.utils.folders import cache_folder

__all__ = ["ILSVRC12", "ILSVRC12Local"]

_T = TypeVar("_T")

_SERVICE = "http://twg.kakaocdn.net/{}/imagenet/ILSVRC/2012/object_localization/ILSVRC/"
_TRAIN_LIST = "ImageSets/CLS-LOC/train_cls.txt"
_VALIDATION_LIST = "LOC_val_solution.csv"
_ANNOTATIONS = "Annotations/CLS-LOC/val"
_WHERE = (
    "the data set comes from https://image-net.org/challenges/LSVRC/2012/ or, with this file, "
    "from https://www.kaggle.com/c/imagenet-object-localization-challenge/data"
)


class ILSVRC12(NetworkImages):
    """1,281,167 training or 50,000 validation images, each with the index of its class.

    A class's index is the rank of its synset id (``n01440764``) among all of them.

    There are two forms, ``ILSVRC12(location, split, shuffle)`` and tensorpack's ``ILSVRC12(dir,
    name, meta_dir, shuffle, dir_structure)``. What has the names, or the number and kinds of
    arguments, of one form is that form. What remains, such as ``ILSVRC12("/data", "val")``, is
    tensorpack's if the folder has images in ``val`` (see `ILSVRC12Files`), otherwise the first;
    where both are possible and differ, it is an error. A folder with nothing but one sub-folder a
    class in ``train`` needs no lists in either form.

    Args:
        location: a folder; a base URL with the same layout; or a service code, which is put into
            the URL template of the environment variable DATAFLOW_ILSVRC_URL in place of ``{}``.
        split: ``"train"`` (or ``"training"``), ``"valid"`` (or ``"validation"``, ``"val"``).
        shuffle: a new random order in each epoch. None means: yes, or in tensorpack's form, for
            training.
        service_code: an older name of `location`.
        train_or_valid: an older name of `split`.
        dir, name, meta_dir, dir_structure: as of `ILSVRC12Files`.
        **options: see `NetworkImages`.

    Attributes:
        synsets: the synset ids; a label is a place in this list.

    Raises:
        ConfigError: (a ValueError) for any other split, or where both forms are possible.
        MissingData: where a list of images or labels is missing; says which, and who has it.
    """

    def __init__(
        self,
        *positional: Any,
        location: str | os.PathLike[str] | None = None,
        split: str | None = None,
        shuffle: bool | None = None,
        service_code: str | None = None,
        train_or_valid: str | None = None,
        dir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        meta_dir: str | os.PathLike[str] | None = None,
        dir_structure: str | None = None,
        **options: Any,
    ) -> None:
        request = understand(
            positional,
            shuffle,
            {
                "location": location,
                "split": split,
                "service_code": service_code,
                "train_or_valid": train_or_valid,
            },
            {"dir": dir, "name": name, "meta_dir": meta_dir, "dir_structure": dir_structure},
        )
        shuffle = request.shuffle
        if shuffle is None:
            shuffle = request.split == "train" or not request.listed
        super().__init__(shuffle, **options)
        self._local = request.listed or os.path.isdir(request.place)
        if request.listed:
            self._read_listing(request)
        else:
            self._read_layout(request.place, _split(request.split))

    def _read_listing(self, request: Request) -> None:
        listing = read_listing(
            request.place, request.split, request.meta_dir, request.dir_structure
        )
        self.synsets = listing.synsets
        folder = str(listing.folder)
        self.datapoints = Columns.from_rows(
            [os.path.join(folder, path), label] for path, label in listing.images
        )
        self._depth = listing.images[0][0].count("/") + 1

    def _read_layout(self, place: str, split: str) -> None:
        if not self._local:
            if "://" not in place:
                if os.sep in place:
                    raise MissingData(f"{place} is not a folder; {EXPECTED_IMAGES}")
                place = os.environ.get("DATAFLOW_ILSVRC_URL", _SERVICE).format(place)
            place = place.rstrip("/")
        layout = _Folder(Path(place)) if self._local else _Web(place)
        images = layout.training() if split == "train" else layout.validation()
        self.synsets = layout.synsets() or sorted({synset for _, synset in images})
        rank = {synset: index for index, synset in enumerate(self.synsets)}
        unknown = next((synset for _, synset in images if synset not in rank), None)
        if unknown is not None:
            raise MissingData(f"{place}: synset {unknown} is not among the {len(rank)} known ones")
        self.datapoints = [[address, rank[synset]] for address, synset in images]
        self._depth = 2 if split == "train" else 1

    @property
    def imglist(self) -> list[tuple[str, int]]:
        """File name, below the folder of the split, and label of each image."""
        return [
            ("/".join(str(address).split("/")[-self._depth :]), label)
            for address, label, *_ in self.keys()
        ]

    @staticmethod
    def get_training_bbox(
        bbox_dir: str | os.PathLike[str],
        imglist: Iterable[Sequence[Any]],
        images: str | os.PathLike[str] | None = None,
    ) -> list[npt.NDArray[np.float32] | None]:
        """The box of the first object in each image: xmin, ymin, xmax, ymax in pixels, float32.

        Args:
            bbox_dir: the folder of the annotations, with the images' names and ``.xml``.
            imglist: file name and label of each image, as `imglist`.
            images: the folder of the images. With it, boxes are turned as the images are by EXIF
                (a few of ImageNet's have it), and sizes are compared.

        Returns:
            A box for each image; None where there is no annotation, or it cannot be read.

        Raises:
            DatapointError: an image has another size than its annotation says.
        """
        folder = Path(bbox_dir)
        boxes = []
        for name, *_ in imglist:
            file = (folder / name).with_suffix(".xml")
            box = _box_of(file)
            if box is not None and images is not None:
                said = read_annotation(file).size
                frame = frame_of((Path(images) / name).read_bytes(), said, True, str(file))
                box = box if frame is None else frame.boxes(box[np.newaxis])[0]
            boxes.append(box)
        return boxes

    def _reader(self) -> Any:
        # The same class for both kinds of location, as scripts expect; a folder's has no network.
        return FileImages._reader(self) if self._local else super()._reader()  # type: ignore[arg-type]

    def _needs_threads(self) -> bool:
        return self._local or super()._needs_threads()


class ILSVRC12Local(ILSVRC12):
    """`ILSVRC12` in a folder; see there.

    Raises:
        MissingData: where there is no such folder.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        split: str | None = None,
        shuffle: bool = True,
        **options: Any,
    ) -> None:
        if not os.path.isdir(location):
            raise MissingData(f"{os.fspath(location)} is not a folder; {_WHERE}")
        super().__init__(location=location, split=split, shuffle=shuffle, **options)


class _Web:
    """The layout under a base URL."""

    def __init__(self, base: str) -> None:
        self.base = base

    def address(self, path: str) -> str:
        return f"{self.base}/{path}"

    def listing(self, parse: Callable[[str], _T], *paths: str) -> _T:
        """The first of the files that there is: fetched once, then kept in the cache folder.

        Args:
            parse: makes of its text what is wanted, or raises ValueError where the text is
                something else: many servers answer everything with some page.
            paths: where to look.

        Raises:
            MissingData: where there is none.
        """
        tried = []
        for path in paths:
            url = self.address(path)
            name = hashlib.sha256(url.encode()).hexdigest()[:32]
            kept = cache_folder() / "listings" / name
            if kept.is_file():
                with suppress(ValueError):
                    return parse(kept.read_text("utf-8"))
            try:
                with make_fetcher(FetchPolicy(timeout=300, max_bytes=1 << 30), concurrency=1) as f:
                    body = f.fetch(url)
                found = parse(body.decode())
            except (FetchError, ValueError) as error:
                why = error.reason if isinstance(error, FetchError) else error
                tried.append(f"{url} ({why})")
                continue
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_suffix(f".{os.getpid()}")
            partial.write_bytes(body)
            partial.replace(kept)
            return found
        raise MissingData(f"not found: {', '.join(tried)}; {_WHERE}")

    def synsets(self) -> list[str]:
        return []

    def training(self) -> list[tuple[str, str]]:
        """Address and synset of each training image."""
        return [
            (self.address(f"Data/CLS-LOC/train/{name}.JPEG"), name.partition("/")[0])
            for name in self.listing(_training_names, _TRAIN_LIST)
        ]

    def validation(self) -> list[tuple[str, str]]:
        """Address and synset of each validation image, in the order of their numbers."""
        # The standard distribution has the list beside the folder that holds the rest.
        paths = (_VALIDATION_LIST, f"../{_VALIDATION_LIST}")
        return [
            (self.address(f"Data/CLS-LOC/val/{name}.JPEG"), synset)
            for name, synset in sorted(self.listing(_validation_rows, *paths))
        ]


class _Folder(_Web):
    """The layout in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder

    def listing(self, parse: Callable[[str], _T], *paths: str) -> _T:
        tried = []
        for path in paths:
            file = self.folder / path
            try:
                return parse(file.read_text("utf-8"))
            except FileNotFoundError:
                tried.append(str(file))
            except ValueError as error:
                tried.append(f"{file} ({error})")
        raise MissingData(f"not found: {', '.join(tried)}; {_WHERE}")

    def synsets(self) -> list[str]:
        classes = self._classes()
        return [] if classes is None else class_names(classes)

    def _classes(self) -> Path | None:
        """The folder with one sub-folder of training images a class."""
        folders = (self.folder / "Data/CLS-LOC/train", self.folder / "train")
        return next((folder for folder in folders if folder.is_dir()), None)

    def training(self) -> list[tuple[str, str]]:
        if (self.folder / _TRAIN_LIST).is_file():
            return super().training()
        classes = self._classes()
        if classes is None:
            raise MissingData(
                f"not found: {self.folder / _TRAIN_LIST}, nor a folder "
                f"{self.folder / 'train'} with one sub-folder a class; {_WHERE}"
            )
        images = ImageFolder(classes)
        return [(path, images.classes[label]) for path, label in images.datapoints]

    def validation(self) -> list[tuple[str, str]]:
        try:
            return super().validation()
        except MissingData as error:
            annotations = self.folder / _ANNOTATIONS
            if not annotations.is_dir():
                raise MissingData(f"not found: {annotations}, and {error}") from None
            return [
                (self.address(f"Data/CLS-LOC/val/{file.stem}.JPEG"), _synset_of(file))
                for file in sorted(annotations.glob("*.xml"))
            ]


def _synset_of(file: Path) -> str:
    """The class in one image's annotation (PASCAL VOC format)."""
    from xml.etree import ElementTree

    try:
        name = ElementTree.parse(file).findtext("object/name")
    except ElementTree.ParseError as error:
        raise MissingData(f"{file} cannot be read: {error}") from error
    if name is None:
        raise MissingData(f"{file} names no object")
    return name


def _box_of(file: Path) -> npt.NDArray[np.float32] | None:
    """The first box in one image's annotation (PASCAL VOC format)."""
    from xml.etree import ElementTree

    try:
        box = ElementTree.parse(file).find("object/bndbox")
        if box is None:
            return None
        edges = [float(box.findtext(name, "")) for name in ("xmin", "ymin", "xmax", "ymax")]
    except (OSError, ElementTree.ParseError, ValueError):
        return None
    return np.array(edges, np.float32)


def _training_names(text: str) -> list[str]:
    """``n01440764/n01440764_10026`` of each line."""
    names = [words[0] for line in text.splitlines() if (words := line.split())]
    if not names or not all(name.count("/") == 1 and name[0] not in "/<" for name in names):
        raise ValueError("not a list of images")
    return names


def _validation_rows(text: str) -> list[tuple[str, str]]:
    """Name and synset of each row; a synset stands before each box, and all are the same."""
    import csv

    rows = [row for row in csv.reader(text.splitlines()) if row][1:]
    if not rows or not all(len(row) > 1 and row[1].strip() for row in rows):
        raise ValueError("not a table of images and their classes")
    return [(name, boxes.split()[0]) for name, boxes, *_ in rows]


def _split(name: str) -> str:
    if name in ("train", "training"):
        return "train"
    if name in ("valid", "validation", "val"):
        return "valid"
    raise ConfigError(
        f"split={name!r} must be 'train' or 'valid' (or 'training', 'validation'); 'test' is there "
        "where a folder has a sub-folder of this name"
    )
