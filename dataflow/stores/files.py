"""Files of stores, copied to where they can be read at any place."""

from __future__ import annotations

import os

from dataflow.stores.objects import SCHEMES, is_object, matching, save_object
from dataflow.utils.folders import cache_folder, digest
from dataflow.utils.patterns import Paths, find_files

__all__ = ["local_files"]

_MOST = 1 << 40  # bytes


def local_files(path: Paths) -> list[str]:
    """The files that are meant, as `find_files` does it; those of object stores are copied here.

    The copies stay in the cache folder, under ``objects``.

    Raises:
        MissingData: there is no such file, or it cannot be had.
        ConfigError: nothing is named, or a URL of a scheme that is not known.
        MissingExtra: there is no library for it.
    """
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    found: list[str] = []
    for one in [os.fspath(part) for part in given]:
        if is_object(one) and any(mark in one for mark in "*?["):
            urls = matching(one)
        else:
            urls = find_files(one, schemes=tuple(SCHEMES))
        found += [_copied(url) if is_object(url) else url for url in urls]
    return found


def _copied(url: str) -> str:
    name = url.partition("?")[0].rpartition("/")[2] or "object"
    place = cache_folder() / "objects" / digest(url) / name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        save_object(url, place, _MOST)
    return str(place)
