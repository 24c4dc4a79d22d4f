"""What the constructors of data sets have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dataflow.errors import ConfigError, MissingData
from dataflow.utils.folders import dataset_folder

__all__ = ["existing_folder", "one_of", "place_of"]


def one_of(argument: str, value: Any, *allowed: Any) -> Any:
    """`value`, if it is one of the allowed ones.

    Raises:
        ConfigError: it is not.
    """
    if value not in allowed:
        *others, last = map(repr, allowed)
        raise ConfigError(f"{argument}={value!r} must be {', '.join(others)} or {last}")
    return value


def place_of(folder: str | os.PathLike[str] | None, name: str) -> Path:
    """The folder that was asked for, or else the data set's own among the others."""
    return dataset_folder(name) if folder is None else Path(folder).expanduser()


def existing_folder(folder: str | os.PathLike[str], expected: str) -> Path:
    """A folder with a data set that has to be there already.

    Args:
        folder: where it should be.
        expected: what should be in it, and where that comes from.

    Raises:
        MissingData: there is no such folder.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise MissingData(f"{place} is not a folder; {expected}")
    return place
