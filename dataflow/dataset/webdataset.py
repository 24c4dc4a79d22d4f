"""Tar shards as the library WebDataset writes them, here or behind URLs."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dataflow.codec.tar import members
from dataflow.codec.tensor import bad
from dataflow.dataset.download import PublishedFile, obtain
from dataflow.dataset.samples import Choice, DecodeSample, ReadSample, split_name
from dataflow.errors import CodecError, ConfigError, DatapointError, FetchError, MissingData
from dataflow.failures import ErrorPolicy, OnError
from dataflow.image.decode import MAX_PIXELS
from dataflow.sources.columns import Columns
from dataflow.sources.keyed import KeyedSource
from dataflow.stages.item import ItemStage
from dataflow.utils.folders import cache_folder
from dataflow.utils.patterns import Paths, find_files

__all__ = ["WebDataset"]

logger = logging.getLogger(__name__)


class WebDataset(KeyedSource):
    """The samples of tar shards: files of the same name, but for what follows its first dot.

    A sample is a dict of its files by their suffixes, such as ``{"__key__": "n01/0001", "__url__":
    "train-000.tar", "jpg": …, "cls": 3}``. With `select` it is a list instead::

        ds = df.WebDataset("train-{000..146}.tar", select=("jpg;png", "cls"), shuffle=True)
        for image, label in df.PrefetchDataZMQ(ds, num_proc=8):
            ...

    Only the headers are read here, once; 20 bytes of memory a sample tell where it is. So there
    are `len`, an order that is shuffled over all shards, ``ds[i]`` and `state_dict`, and workers
    read and decode samples by their places.

    Shards behind http and https URLs are downloaded first, each once, and kept until somebody
    deletes them: what is to be shuffled over all of them has to be at hand.

    ============================ ==============================================================
    suffix (its last part)       becomes
    ============================ ==============================================================
    jpg png webp ppm gif bmp …   an image: **BGR**, uint8, H×W×3, as everywhere here
    cls cls2 id index inx        an int
    txt text transcript          text
    json jsn                     what it says
    npy                          an array, unless it has pickled objects
    npz                          a dict of such arrays
    mp msgpack                   what MessagePack says
    ten tb                       a list of arrays, as Tensorcom and WebDataset write them
    any other, pickles too       stays bytes
    ============================ ==============================================================

    Args:
        path: a file, URL or pattern (``train-{000..146}.tar``, ``train/*.tar``), or several.
        select: the suffixes of a list datapoint, in its order; ``"jpg;png"`` is the first of them
            that a sample has, and where it ends with ``?``, None stands for what is missing.
            ``"__key__"`` and ``"__url__"`` can be selected, too.
        shuffle: a new random order in each epoch.
        decode: False: leave bytes. A dict of functions, by suffix: what the bytes of such a file
            become, instead of what the table says; ``{"seg.png": f}`` is for those with both parts.
        on_error: what becomes of samples that cannot be read or decoded, or lack what is selected,
            and of shards that are not there, damaged, or no tar archives: ``"raise"``, ``"skip"``
            (counted in `stats`, listed by `errors`; `TooManyErrors` where all of the first 50
            fail), or a function of error and key that returns a replacement or None. None leaves
            samples to the runners downstream, and raises for shards.
        cache_dir: where downloaded shards are kept; by default ``shards`` in the folder that the
            environment variable DATAFLOW_CACHE names, or in the user's own cache.
        max_bytes: larger shards are not downloaded.
        max_pixels: images that claim to have more are refused before they are decoded.

    Raises:
        MissingData: a shard is not there, or cannot be downloaded, or there are no samples at all.
        CodecError: a shard is no tar archive, compressed, broken, or not whole; says where.
    """

    _consumer_only = ("_places",)

    def __init__(
        self,
        path: Paths,
        select: Sequence[str] | None = None,
        shuffle: bool = False,
        *,
        decode: bool | Mapping[str, Callable[[bytes], Any]] = True,
        on_error: OnError | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        max_bytes: int = 16 << 30,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if isinstance(select, str) or (select is not None and not all(select)):
            raise ConfigError(f'select={select!r} must be a list of suffixes: ["jpg;png", "cls"]')
        if max_bytes < 1:
            raise ConfigError(f"max_bytes={max_bytes!r} must be at least 1")
        lenient = on_error is not None and on_error != "raise"
        self.urls = find_files(path, schemes=("http", "https"), lenient=lenient)
        self.shuffle = bool(shuffle)
        self._policy = None if on_error is None else ErrorPolicy(on_error, give_up=True)
        folder = cache_folder() / "shards" if cache_dir is None else Path(cache_dir).expanduser()
        paths: list[str] = []
        places: list[_Places] = []
        lost: dict[str, DatapointError | MissingData] = {}
        for url in self.urls:
            try:
                path, found = _opened(url, folder, max_bytes)
            except (DatapointError, MissingData) as error:
                if not lenient:
                    raise
                lost[url], path, found = error, url, (array("q"), array("q"))
            paths.append(path)
            places.append(found)
        if len(lost) == len(self.urls):
            raise next(iter(lost.values()))
        if lost:
            self._tell(lost)
        choices = None if select is None else [Choice.of(one) for one in select]
        wanted = None if choices is None else frozenset(n for one in choices for n in one.names)
        self._built = [
            ReadSample(paths, self.urls, wanted),
            DecodeSample(choices, decode, max_pixels),
        ]
        self._places: Sequence[Any] = _columns(places)
        if not self._places:
            raise MissingData(f"{', '.join(self.urls[:3])}: no samples, such as 1.jpg and 1.cls")

    def _tell(self, lost: Mapping[str, DatapointError | MissingData]) -> None:
        """Of shards that cost their samples."""
        assert self._policy is not None, "otherwise the first one raises"
        for url, error in lost.items():
            if isinstance(error, MissingData):
                error = FetchError(str(error), url=url, reason="not_found")
            self._policy.failed_with(error, url)
        logger.warning(
            "%d of %d shards are left out, with all of their samples (%s): see ds.errors()",
            *(len(lost), len(self.urls), next(iter(lost.values()))),
        )

    @staticmethod
    def save(
        df: Any,
        path: str | os.PathLike[str],
        suffixes: Sequence[str] | None = None,
        *,
        max_bytes: int = 1 << 30,
        max_count: int = 100_000,
    ) -> list[str]:
        """Write one epoch of a dataflow as shards, each of which is there whole or not at all.

        Bytes and text are written as they are; images (BGR), ints, arrays and what JSON has by
        the suffix. ``__key__`` of a dict is its key, otherwise its number is.

        Args:
            df: the dataflow, of dicts by suffix; or of lists, with `suffixes`.
            path: with a place for the shard's number, ``train-%06d.tar``.
            suffixes: those of a list's components, such as ``["jpg", "cls"]``.
            max_bytes: a shard that has so many is full.
            max_count: or so many samples.

        Returns:
            The shards' paths.

        Raises:
            CodecError: there is no form of a value with its suffix.
        """
        from dataflow.dataset.shard_files import save_shards

        return save_shards(df, path, suffixes, max_bytes=max_bytes, max_count=max_count)

    def keys(self) -> Sequence[Any]:
        return self._places

    def _stages(self) -> list[ItemStage]:
        return list(self._built)

    def _stage_rows(self) -> list[dict[str, Any]]:
        return [stage._row() for stage in self._built]

    def _over(self, keys: list[Any]) -> WebDataset:
        other = copy.copy(self)
        other._places = keys
        if self._policy is not None:
            other._policy = self._policy.afresh(give_up=False)
        return other

    def close(self) -> None:
        super().close()
        for stage in self._built:
            stage.close()


def _here(url: str, folder: Path, max_bytes: int) -> str:
    """The path of a shard, which is downloaded if that is necessary."""
    if os.path.exists(url):
        return url
    if "://" not in url:
        raise MissingData(f"{url} is not there")
    file = PublishedFile((url,), max_bytes=max_bytes)
    if file.name in ("", ".", ".."):
        raise ConfigError(f"{url} does not end with the name of a file")
    # Shards that lie together stay together, and others of the same name apart from them.
    base, _, query = url.partition("?")
    origin = f"{base.rpartition('/')[0]}?{query}"
    return str(obtain(file, folder / hashlib.sha256(origin.encode()).hexdigest()[:16]))


_Places: TypeAlias = "tuple[array[int], array[int]]"
"""First and last byte of each sample of a shard."""


def _opened(url: str, folder: Path, max_bytes: int) -> tuple[str, _Places]:
    """The path of a shard and the places in it."""
    path = _here(url, folder, max_bytes)
    if path == url:
        return path, _samples(path, url)
    try:
        return path, _samples(path, url)
    except CodecError:
        # What came by the network once may come better now; it is not kept as it is.
        os.unlink(path)
    path = _here(url, folder, max_bytes)
    try:
        return path, _samples(path, url)
    except CodecError:
        os.unlink(path)
        raise


def _columns(found: Sequence[_Places]) -> Columns:
    """[shard, first byte, last] of each sample."""
    shards = np.repeat(np.arange(len(found), dtype=np.int32), [len(starts) for starts, _ in found])
    return Columns(shards, *(np.concatenate(column) for column in zip(*found, strict=True)))


def _samples(path: str, url: str) -> _Places:
    """Where the samples of a shard begin and end: neighbours of the same key."""
    starts, stops = array("q"), array("q")
    key: str | None = None
    seen: set[str] = set()
    try:
        with open(path, "rb", buffering=0) as file:
            for member in members(file.fileno()):
                if (parts := split_name(member.name)) is None:
                    continue
                if parts[0] != key:
                    key, seen = parts[0], set()
                    starts.append(member.head)
                    stops.append(member.end)
                if parts[1] in seen:
                    bad("corrupt", f"{member.name!r} at byte {member.head} is there twice")
                seen.add(parts[1])
                stops[-1] = member.end
    except CodecError as error:
        raise CodecError(f"{url}: {error}", url=url, reason=error.reason) from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read: {error.strerror}") from error
    return starts, stops
