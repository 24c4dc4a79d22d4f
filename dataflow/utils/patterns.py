"""The files that paths with braces and stars stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from typing import TypeAlias

from dataflow.errors import ConfigError, MissingData
from dataflow.utils.braces import expand_braces

__all__ = ["Paths", "find_files"]

Paths: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"
"""A file, a pattern (``train/*.ten``, ``train-{000..099}.ten``), or several of these."""


def find_files(path: Paths, *, schemes: tuple[str, ...] = (), lenient: bool = False) -> list[str]:
    """The files that are meant; those of a pattern with ``*`` in the order of their names.

    Args:
        path: what was given; a file of that very name goes before its meaning as a pattern.
        schemes: of URLs, such as ``http``, that are not looked for.
        lenient: what is no pattern with ``*`` need not be there.

    Raises:
        MissingData: there is no such file.
        ConfigError: nothing is named, or a URL of another scheme.
    """
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    found: list[str] = []
    for name in [os.fspath(one) for one in given]:
        for one in [name] if os.path.exists(name) else expand_braces(name):
            scheme, is_url, _ = one.partition("://")
            if os.path.exists(one) or (is_url and scheme.lower() in schemes):
                found.append(one)
            elif is_url:
                known = f", and no URL of {' or '.join(schemes)}" if schemes else ""
                raise ConfigError(f"{one} is no file{known}")
            elif files := sorted(glob.glob(one)):
                found.extend(files)
            elif lenient and not glob.has_magic(one):
                found.append(one)
            else:
                raise MissingData(f"{one} is not there")
    if not found:
        raise ConfigError(f"path={path!r} names no file")
    return found
