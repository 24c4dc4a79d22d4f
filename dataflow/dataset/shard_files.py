"""Dataflows as the tar shards of a WebDataset."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import cv2
import numpy as np

from dataflow.codec.tensor import bad
from dataflow.dataset.samples import IMAGES
from dataflow.errors import CodecError, ConfigError

__all__ = ["save_shards"]


def save_shards(
    ds: Any,
    path: str | os.PathLike[str],
    suffixes: Sequence[str] | None,
    *,
    max_bytes: int,
    max_count: int,
) -> list[str]:
    """See `WebDataset.save`."""
    import tarfile

    from dataflow.formats.saving import datapoints
    from dataflow.utils.draft import draft

    pattern = os.fspath(path)
    try:
        if pattern % 0 == pattern % 1:
            raise TypeError
    except (TypeError, ValueError):
        raise ConfigError(f"path={path!r} must have a place for a number: train-%06d.tar") from None
    if max_bytes < 1 or max_count < 1:
        raise ConfigError(f"{max_bytes=} and {max_count=} must be at least 1")
    written: list[str] = []
    with datapoints(ds) as points:
        samples = _samples(points, suffixes)
        sample = next(samples, None)
        while sample is not None:
            name = pattern % len(written)
            with draft(name) as place, tarfile.open(place, "w") as tar:
                for number in count(1):
                    for file, body in sample:
                        entry = tarfile.TarInfo(file)
                        entry.size = len(body)
                        tar.addfile(entry, io.BytesIO(body))
                    full = number == max_count or tar.offset >= max_bytes
                    if (sample := next(samples, None)) is None or full:
                        break
            written.append(name)
    return written


def _samples(
    points: Iterator[Any], suffixes: Sequence[str] | None
) -> Iterator[list[tuple[str, bytes]]]:
    """Names and contents of each datapoint's files."""
    last = None
    for number, point in enumerate(points):
        if suffixes is not None and len(suffixes) != len(point):
            raise ConfigError(f"suffixes={suffixes!r}, but a datapoint has {len(point)} components")
        values = point if suffixes is None else dict(zip(suffixes, point, strict=True))
        if not isinstance(values, Mapping):
            raise ConfigError('suffixes=None is for dicts; lists need such as ["jpg", "cls"]')
        key = values.get("__key__", f"{number:09d}")
        if key == last or "." in str(key).rpartition("/")[2]:
            raise ConfigError(f"__key__={key!r} must not be twice, nor have a dot")
        last = key
        yield [
            (f"{key}.{suffix}", _encoded(f"{key}.{suffix}", value))
            for suffix, value in values.items()
            if not suffix.startswith("__")
        ]


def _encoded(name: str, value: Any) -> bytes:
    """A value as the file of this name."""
    kind = name.rpartition(".")[2].lower()
    try:
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode()
        if kind in IMAGES and isinstance(value, np.ndarray):
            return cv2.imencode(f".{kind}", value)[1].tobytes()
        if kind == "npy":
            buffer = io.BytesIO()
            np.save(buffer, value, allow_pickle=False)
            return buffer.getvalue()
        if kind in ("json", "jsn"):
            import json

            return json.dumps(value).encode()
        if isinstance(value, int | np.integer):
            return str(int(value)).encode()
    except (ValueError, TypeError, cv2.error) as error:
        raise CodecError(f"{name} cannot be encoded: {error}", reason="unsupported") from error
    bad("unsupported", f"{name}: a {type(value).__name__} has no form with this suffix")
