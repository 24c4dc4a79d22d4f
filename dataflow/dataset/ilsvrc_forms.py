"""The two ways in which scripts ask for `ILSVRC12`, told apart by their arguments.

This package's own is ``ILSVRC12(location, split, shuffle)``, with the challenge's own layout in a
folder or on a web server. tensorpack's is ``ILSVRC12(dir, name, meta_dir, shuffle,
dir_structure)``, with a sub-folder a split and Caffe's lists.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from dataflow.dataset.arguments import place_of
from dataflow.dataset.folders import class_names
from dataflow.dataset.ilsvrc_meta import META_FOLDER
from dataflow.errors import ConfigError

__all__ = ["Request", "understand"]

_HINT = "say which is meant: location=… and split=…, or tensorpack's dir=… and name=…"


class Request(NamedTuple):
    """What was asked for.

    Attributes:
        place: the folder, base URL or service code.
        split: as it was given.
        shuffle: None for the default.
        listed: it is tensorpack's form, by Caffe's lists.
        meta_dir: the folder of the lists.
        dir_structure: see `ILSVRC12Files`.
    """

    place: str
    split: Any
    shuffle: bool | None
    listed: bool
    meta_dir: Any = None
    dir_structure: str | None = None


def understand(
    positional: tuple[Any, ...], shuffle: bool | None, own: dict[str, Any], theirs: dict[str, Any]
) -> Request:
    """Which form a call has, and its arguments.

    Args:
        positional: the arguments without a name.
        shuffle: the one that both forms have.
        own: the arguments that only this package's form has by name, None where not given.
        theirs: the same of tensorpack's.

    Raises:
        TypeError: arguments are missing, doubled, or of both forms.
        ConfigError: both forms are possible, and they would not deliver the same.
    """
    own = {name: value for name, value in own.items() if value is not None}
    theirs = {name: value for name, value in theirs.items() if value is not None}
    place, split, *rest = (*positional, None, None)[: max(2, len(positional))]
    listed = _named(own, theirs)
    if rest:
        by_place = not isinstance(rest[0], bool)  # a folder of lists, or None
        if listed not in (None, by_place) or len(rest) > (3 if by_place else 1):
            raise TypeError(f"arguments {rest!r} are too many, or not of one form; {_HINT}")
        listed = by_place
        given = dict(zip(_REST[by_place], rest, strict=False))
        if shuffle is not None and "shuffle" in given:
            raise TypeError("shuffle is given twice")
        shuffle = given.pop("shuffle", shuffle)
        for name, value in given.items():
            if theirs.setdefault(name, value) is not value:
                raise TypeError(f"{name} is given twice")
    if own or not listed:
        place = _one("location", place, own, "location", "service_code")
        split = _one("split", split, own, "split", "train_or_valid")
    if theirs or listed:
        place = _one("dir", place, theirs, "dir")
        split = _one("name", split, theirs, "name")
    place = os.path.expanduser(os.fspath(place))
    if listed is None:
        listed = _is_listed(place, split)
    return Request(
        place, split, shuffle, listed, theirs.get("meta_dir"), theirs.get("dir_structure")
    )


_REST = {False: ("shuffle",), True: ("meta_dir", "shuffle", "dir_structure")}


def _named(own: dict[str, Any], theirs: dict[str, Any]) -> bool | None:
    """Whether the names are tensorpack's; None where there are none."""
    if own and theirs:
        raise TypeError(f"{', '.join(own)} and {', '.join(theirs)} are of two forms; {_HINT}")
    return True if theirs else False if own else None


def _one(what: str, positional: Any, named: dict[str, Any], *names: str) -> Any:
    """The one value that was given, by position or by one of some names."""
    given = [named[name] for name in names if name in named]
    given += [] if positional is None else [positional]
    if len(given) != 1:
        raise TypeError(f"give {what} once, by position or as {' and '.join(names)}")
    return given[0]


def _is_listed(place: str, split: Any) -> bool:
    """Whether the form is tensorpack's, by what is in the folder."""
    folder = Path(place)
    if split not in ("train", "val", "test") or not folder.is_dir():
        return False
    own = [folder / "Data/CLS-LOC" / split]
    own += [folder / "ImageSets/CLS-LOC/train_cls.txt"] if split == "train" else []
    theirs: bool = (folder / split).is_dir()
    if theirs and (found := [path for path in own if path.exists()]):
        raise ConfigError(f"{place} has both {found[0]} and {folder / split}; {_HINT}")
    if split != "train":
        return theirs
    if theirs:
        _check_classes(folder / split)
    return False


def _check_classes(folder: Path) -> None:
    """A folder of classes, without any list, needs none where all classes are there.

    A label is the rank of the class among the folders here, and its place in ``synsets.txt``, which
    is sorted, in tensorpack. That is the same for the whole challenge, but not for a part of it.
    """
    listing = place_of(None, META_FOLDER) / "synsets.txt"
    if not listing.is_file():
        return
    known = listing.read_text("utf-8").split()
    found = class_names(folder)
    if found != known and set(found) <= set(known):
        raise ConfigError(
            f"{folder} has {len(found)} of the {len(known)} classes in {listing}: labels may be "
            f"ranks among those here, or places in that list; {_HINT}"
        )
