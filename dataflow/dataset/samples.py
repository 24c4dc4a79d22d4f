"""Samples of a WebDataset: which files of a shard belong together, and what these become."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

from dataflow.codec.tar import members, read_member
from dataflow.codec.tensor import bad
from dataflow.epoch import Datapoint
from dataflow.errors import CodecError, DatapointError, FetchError, MissingData
from dataflow.image.decode import decoded
from dataflow.image.decoding import Decoding
from dataflow.image.enough import Head, head_of
from dataflow.sources.read import Reads
from dataflow.stages.item import ItemStage

__all__ = ["IMAGES", "Choice", "DecodeSample", "ReadSample", "split_name"]

IMAGES = (
    *("jpg", "jpeg", "png", "webp", "ppm", "pgm", "pnm"),
    *("gif", "bmp", "tif", "tiff", "avif"),
)
"""The suffixes of files that are decoded as images."""


def split_name(name: str) -> tuple[str, str] | None:
    """Key and suffix of a file in a shard; None where it belongs to no sample.

    ``train/n01/a.seg.PNG`` has the key ``train/n01/a`` and the suffix ``seg.png``. Names without a
    dot belong to none, nor do hidden files and what is below ``__NAME__``, notes about the shard.
    """
    folders, slash, last = name.rpartition("/")
    stem, dot, suffix = last.partition(".")
    first = name.partition("/")[0]
    notes = first.startswith("__") and first.endswith("__") and len(first) > 3
    return (folders + slash + stem, suffix.lower()) if stem and dot and not notes else None


class OpensShards(Protocol):
    """Where shards are; see `dataflow.dataset.shards.Shards`."""

    urls: list[str]

    def read(self, number: int, stop: Callable[[], bool] | None = None) -> int:
        """A file descriptor of a shard."""


class ReadSample(Reads):
    """Replaces the place of a sample, ``[shard, first byte, last]``, by a dict of its files' bytes.

    ``__key__`` is its key, ``__url__`` its shard.

    Args:
        shards: these, which need not be here yet.
        suffixes: of the files to read; None: all of them.
    """

    def __init__(self, shards: OpensShards, suffixes: frozenset[str] | None) -> None:
        super().__init__()
        self._shards = shards
        self._suffixes = suffixes

    def apply(self, datapoint: Datapoint) -> Datapoint:
        number, start, stop = datapoint
        url = self._shards.urls[number]
        sample: dict[str, Any] = {"__key__": "", "__url__": url}
        size = 0
        try:
            fd = self._shards.read(number)
            try:
                for member in members(fd, start, stop):
                    if (parts := split_name(member.name)) is None:
                        continue
                    sample["__key__"], suffix = parts
                    # Of those left out, who chooses among them sees the names.
                    wanted = self._suffixes is None or suffix in self._suffixes
                    sample[suffix] = read_member(fd, member) if wanted else None
                    size += member.size if wanted else 0
            finally:
                os.close(fd)
        except MissingData as error:
            raise FetchError(str(error), url=url, reason="not_found") from error
        except OSError as error:
            raise FetchError(f"{url}: {error.strerror}", url=url, reason="unreadable") from error
        except CodecError as error:
            raise CodecError(f"{url}: {error}", url=url, reason=error.reason) from None
        self.count(size)
        return sample


class DecodeSample(ItemStage):
    """Decodes the files of a sample by their suffixes, and selects some of them.

    Args:
        select: see `WebDataset`.
        decode: whether to decode.
        how: to decode images.
        enough: leave out what the augmentors of the next stage do not take.
    """

    def __init__(
        self,
        select: Sequence[Choice] | None,
        decode: bool | Mapping[str, Callable[[bytes], Any]],
        how: Decoding,
        enough: bool = False,
    ) -> None:
        self._select = select
        self._enough = enough
        self._heads: dict[int | str, Head] = {}  # by the component that an image is
        self._decode = bool(decode) or isinstance(decode, Mapping)
        own = decode if isinstance(decode, Mapping) else {}
        self._own = {suffix.lower().lstrip("."): function for suffix, function in own.items()}
        self._how = how

    def apply(self, datapoint: Datapoint) -> Datapoint:
        sample: Any = datapoint
        if self._select is None:
            return {name: self._value(sample, name, name) for name in sample}
        names = enumerate(choice.of_sample(sample) for choice in self._select)
        return [None if name is None else self._value(sample, name, at) for at, name in names]

    def with_next(self, stage: ItemStage, number: int) -> tuple[ItemStage, ItemStage]:
        index = getattr(stage, "index", None)
        wanted = self._enough and index is not None
        found = head_of(stage, index, number, self._how) if wanted else None  # type: ignore[arg-type]
        if found is None or index is None:
            return self, stage
        own = copy(self)
        own._enough, own._heads = False, {index: found[0]}
        return own, found[1]

    def _value(self, sample: Mapping[str, Any], name: str, at: int | str) -> Any:
        value = sample[name]
        kind = name.rpartition(".")[2]
        if not self._decode or name.startswith("__"):
            return value
        place = f"{sample['__url__']}: {sample['__key__']}.{name}"
        decoder = self._own.get(name) or self._own.get(kind)
        if decoder is None and kind in IMAGES:
            head = self._heads.get(at)
            return (
                head.pixels(value, self._how, place) if head else decoded(value, self._how, place)
            )
        decoder = decoder or _DECODERS.get(kind)
        if decoder is None:
            return value
        try:
            return decoder(value)
        except CodecError as error:
            raise CodecError(f"{place}: {error}", url=place, reason=error.reason) from None
        except Exception as error:  # of any kind: NumPy's headers are parsed as Python
            what = f"{place} cannot be decoded: {error}"
            raise CodecError(what, url=place, reason="corrupt") from None


class Choice(NamedTuple):
    """A component of a selected sample.

    Attributes:
        names: suffixes, of which the first that a sample has is taken.
        optional: it may have none of them.
    """

    names: tuple[str, ...]
    optional: bool

    @classmethod
    def of(cls, text: str) -> Choice:
        """From ``"jpg;png"``, or ``"txt?"``."""
        return cls(tuple(text.lower().removesuffix("?").split(";")), text.endswith("?"))

    def of_sample(self, sample: Mapping[str, Any]) -> str | None:
        """The suffix that is taken of a sample; None where it has none and need not have one.

        Raises:
            DatapointError: it should have one.
        """
        found = next((name for name in self.names if name in sample), None)
        if found is None and not self.optional:
            _miss(sample, self.names)
        return found


def _miss(sample: Mapping[str, Any], names: Sequence[str]) -> NoReturn:
    place = f"{sample['__url__']}: {sample['__key__']}"
    has = ", ".join(name for name in sample if not name.startswith("__"))
    what = f"the sample {place} has no {' or '.join(names)}, but {has}"
    raise DatapointError(what, reason="missing", url=place)


def _json(data: bytes) -> Any:
    import json

    return json.loads(data)


def _message(data: bytes) -> Any:
    import msgpack

    return msgpack.unpackb(data)


def _tenbin(data: bytes) -> list[np.ndarray]:
    from dataflow.codec.tensorcom import decode

    arrays: list[np.ndarray] = decode(data)
    return arrays


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    """Those of an archive of NumPy's, each by its name."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {}
        total = sum(entry.file_size for entry in archive.infolist())
        if total > max(64 * len(data), 1 << 20):
            bad("too_large", f"it unpacks to {total} bytes")
        for entry in archive.infolist():
            found[entry.filename.removesuffix(".npy")] = _array(archive.read(entry))
    return found


def _array(data: bytes) -> np.ndarray:
    """An array of NumPy's own format. Not by `numpy.load`, which makes room for what is claimed."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        bad("unsupported", f"version {version} of NumPy's format")
    later = version == (2, 0)
    read = np.lib.format.read_array_header_2_0 if later else np.lib.format.read_array_header_1_0
    shape, by_column, dtype = read(file)
    if dtype.hasobject:
        bad("pickle", "it has pickled objects, which could run any code when they are loaded")
    # Parsed as a tuple of Python's numbers, so that no product of them overflows.
    count = 1
    for side in shape:
        count *= side
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(data) - file.tell():
        what = f"an array of shape {shape} and dtype {dtype} does not have its size"
        bad("truncated", f"{what}, which is {len(data) - file.tell()} bytes")
    # Memory of its own, because that of `bytes` cannot be written to.
    block = bytearray(memoryview(data)[file.tell() :])
    array: np.ndarray = np.ndarray(shape, dtype, block, order="F" if by_column else "C")
    return array


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(("cls", "cls2", "id", "index", "inx"), int),
    **dict.fromkeys(("txt", "text", "transcript"), bytes.decode),
    **dict.fromkeys(("json", "jsn"), _json),
    "npy": _array,
    "npz": _arrays,
    **dict.fromkeys(("mp", "msgpack"), _message),
    **dict.fromkeys(("ten", "tb"), _tenbin),
}
"""By suffix. Pickles (pkl, pyd, pickle, pth) are not among them, and stay bytes."""
