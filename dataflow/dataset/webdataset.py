"""Tar shards as the library WebDataset writes them, here or behind URLs."""

from __future__ import annotations

import copy
import logging
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dataflow.dataset.ahead import Ahead
from dataflow.dataset.samples import Choice, DecodeSample, ReadSample
from dataflow.dataset.shards import PIPE, Places, Shards, is_remote
from dataflow.epoch import Epoch
from dataflow.errors import ConfigError, DatapointError, FetchError, MissingData, UnknownLength
from dataflow.failures import ErrorPolicy, OnError
from dataflow.image.decoding import MAX_PIXELS, Decoding
from dataflow.randomness import Tag, generator
from dataflow.sources.columns import Columns
from dataflow.sources.keyed import KeyedSource
from dataflow.sources.permutation import Permutation
from dataflow.stages.item import ItemStage
from dataflow.stores import SCHEMES, is_object, matching
from dataflow.utils.arguments import whole_number
from dataflow.utils.braces import expand_braces
from dataflow.utils.folders import cache_folder
from dataflow.utils.patterns import Paths, find_files

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["WebDataset"]

logger = logging.getLogger(__name__)

_AHEAD = 4  # shards that are fetched at a time
_MIXED = 8  # shards whose samples come in a random order together
_PAIRS = "::"  # between shards in one text


class WebDataset(KeyedSource):
    """The samples of tar shards: files of the same name, but for what follows its first dot.

    A sample is a dict of its files by their suffixes, such as ``{"__key__": "n01/0001", "__url__":
    "train-000.tar", "jpg": …, "cls": 3}``. With `select` it is a list instead::

        ds = df.WebDataset("train-{000..146}.tar", select=("jpg;png", "cls"), shuffle=True)
        for image, label in df.PrefetchDataZMQ(ds, num_proc=8):
            ...

    Of shards that are files here only the headers are read first, once: where the samples are is
    kept in the cache folder (`DATAFLOW_CACHE`). So there are `len`, an order that is shuffled over
    all shards, ``ds[i]`` and `state_dict`, and workers read and decode samples by their places.

    Shards that are somewhere else are a **stream**: samples come while further shards arrive, some
    of which are fetched ahead. Then the length is not known until each was there once, there is no
    ``ds[i]``, and a shuffled order is one of the shards, with the samples of up to 8 shards that
    follow one another mixed. It is still decided by the seed, the same on any number of workers,
    and goes on from states, without fetching again what was delivered. Fetched shards stay for the
    next epoch and the next program, all of them, or as many as `cache_bytes` has room for; whether
    the URL has another file by then is not asked, so shards that change need another `cache_dir`,
    or that folder removed. ``stream=False`` fetches all
    first, to shuffle over all of them. (`ShardData` gives each rank its samples, for which each
    fetches all shards; ranks that take ``urls[rank::world_size]`` fetch their own.)

    A shard may be packed, by gzip, bzip2, xz or zstd (``train.tar.gz``, ``.tgz``): it is unpacked,
    once, into the cache folder.

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
        path: a file, URL or pattern (``train-{000..146}.tar``, ``train/*.tar``,
            ``s3://bucket/train-*.tar``), or several, in a list or with ``::`` between them; URLs
            are of http and https, and of object stores, through fsspec. ``pipe:COMMAND`` is what a
            command of the shell puts out; braces are expanded as in names.
        select: the suffixes of a list datapoint, in its order; ``"jpg;png"`` is the first of them
            that a sample has, and where it ends with ``?``, None stands for what is missing.
            ``"__key__"`` and ``"__url__"`` can be selected, too.
        shuffle: a new random order in each epoch.
        decode: False: leave bytes. A dict of functions, by suffix: what the bytes of such a file
            become, instead of what the table says; ``{"seg.png": f}`` is for those with both parts.
            ``"enough"``: True, and of JPEGs only what augmentors that follow take; see
            `NetworkImages`.
        on_error: what becomes of samples that cannot be read or decoded, or lack what is selected,
            and of shards that are not there, damaged, or no tar archives: ``"raise"``, ``"skip"``
            (counted in `stats`, listed by `errors`; `TooManyErrors` where all of the first 50
            fail), or a function of error and key that returns a replacement or None. None leaves
            samples to the runners downstream, and raises for shards.
        cache_dir: where fetched shards are kept; by default ``shards`` in the cache folder.
        cache_bytes: how many bytes of them: those that were not used for the longest time go, but
            for up to 20 that are being read or fetched ahead. One that is needed again is fetched
            again. None: all are kept.
        stream: see above; None: where a shard is not here.
        max_bytes: larger shards are not fetched, nor unpacked.
        max_pixels: images that claim to have more are refused before they are decoded.
        **options: `mode`, `exif`, `alpha` and `lenient` of `dataflow.decode_image`.

    Raises:
        MissingData: a shard is not there, or cannot be fetched, or there are no samples at all.
        CodecError: a shard is no tar archive, broken, or not whole; says where. (One that was cut
            just between two files cannot be told from one without the mark of its end, and is
            read as far as it goes.) Of a stream, both come from the loop.
    """

    _consumer_only = ("_places",)

    def __init__(
        self,
        path: Paths,
        select: Sequence[str] | None = None,
        shuffle: bool = False,
        *,
        decode: bool | Literal["full", "enough"] | Mapping[str, Callable[[bytes], Any]] = True,
        on_error: OnError | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
        stream: bool | None = None,
        max_bytes: int = 16 << 30,
        max_pixels: int = MAX_PIXELS,
        **options: Any,
    ) -> None:
        if isinstance(select, str) or (select is not None and not all(select)):
            raise ConfigError(f'select={select!r} must be a list of suffixes: ["jpg;png", "cls"]')
        if isinstance(decode, str) and decode not in ("full", "enough"):
            raise ConfigError(
                f'decode={decode!r} must be True, False, "full", "enough" or a dict of functions'
            )
        max_bytes = whole_number("max_bytes", max_bytes, 1)
        if cache_bytes is not None:
            cache_bytes = whole_number("cache_bytes", cache_bytes, 1)
        self._lenient = on_error is not None and on_error != "raise"
        self.urls = _found(path, lenient=self._lenient)
        self.shuffle = bool(shuffle)
        self._policy = None if on_error is None else ErrorPolicy(on_error, give_up=True)
        folder = cache_folder() / "shards" if cache_dir is None else Path(cache_dir).expanduser()
        self._shards = Shards(self.urls, folder, max_bytes, cache_bytes)
        choices = None if select is None else [Choice.of(one) for one in select]
        wanted = None if choices is None else frozenset(n for one in choices for n in one.names)
        self._built = [
            ReadSample(self._shards, wanted),
            DecodeSample(
                choices,
                decode if isinstance(decode, Mapping) else bool(decode),
                Decoding(max_pixels=max_pixels, **options),
                decode == "enough",
            ),
        ]
        self._streams = any(map(is_remote, self.urls)) if stream is None else bool(stream)
        self._has_keys = not self._streams
        self._lost: set[int] = set()
        self._places: Sequence[Any] = () if self._streams else self._looked_into()

    def _looked_into(self) -> Columns:
        """Where all samples are: [shard, first byte, last] of each."""
        found: list[Places] = []
        lost: dict[int, Exception] = {}
        for number in range(len(self.urls)):
            try:
                found.append(self._shards.places(number))
            except (DatapointError, MissingData) as error:
                if not self._lenient:
                    raise
                lost[number] = error
                found.append((array("q"), array("q")))
        if len(lost) == len(self.urls):
            raise next(iter(lost.values()))
        if lost:
            self._tell(lost)
        places = _columns(found)
        if not places:
            raise MissingData(f"{', '.join(self.urls[:3])}: no samples, such as 1.jpg and 1.cls")
        return places

    def _tell(self, lost: Mapping[int, Exception]) -> None:
        """Of shards that cost their samples."""
        assert self._policy is not None, "otherwise the first one raises"
        for number, error in lost.items():
            url = self.urls[number]
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
        if self._streams:
            raise UnknownLength("shards that arrive one by one have no list of samples")
        return self._places

    def _length(self) -> int:
        if not self._streams:
            return len(self._places)
        known = [self._shards.known(number) for number in range(len(self.urls))]
        sizes = [len(one[0]) for one in known if one is not None]
        if len(sizes) < len(known) - len(self._lost):
            raise UnknownLength(
                f"{len(known) - len(sizes)} of {len(known)} shards were not here yet, and how many "
                "samples they have is not known. stream=False fetches all first"
            )
        return sum(sizes)

    # -- as a stream -------------------------------------------------------------------------

    def _columns(self, epoch: Epoch, start: int = 0) -> tuple[Iterator[Tag], Iterator[Any]]:
        if not self._streams:
            return super()._columns(epoch, start)
        tags = zip(repeat(epoch.number), count(start), *map(repeat, epoch.path), strict=False)
        return tags, self._arriving(epoch, start)

    def _key_at(self, epoch: Epoch, place: int) -> tuple[Tag, Any]:
        if self._streams:
            raise TypeError("shards that arrive one by one have no random access: stream=False")
        return super()._key_at(epoch, place)

    def _arriving(self, epoch: Epoch, start: int) -> Iterator[Any]:
        """Where the samples are, in the epoch's order from one on, as shards arrive."""
        where = (epoch.seed, "permutation", epoch.number, self._stage_number())
        order = [*epoch.order_of(self)]
        numbers: Iterator[int] = iter(range(len(self.urls)))
        if self.shuffle:
            numbers = Permutation(len(self.urls), generator(*where, *order)).run(0)
        groups = _Groups([*numbers], mixed=self.shuffle)
        # What was delivered before a resume need not be here to be counted.
        while (size := self._known_size(groups.first())) is not None and 0 < size <= start:
            start -= size
            groups.drop_first()
        shards = Ahead(self._arrive, groups.numbers(), _AHEAD)
        lost: dict[int, Exception] = {}
        try:
            arriving = iter(shards)
            for group, members in groups:
                found = list(islice(arriving, len(members)))
                places = _columns([self._arrived(*one, lost) for one in found])
                if start >= len(places):
                    start -= len(places)
                    continue
                rows: Iterator[int] = iter(range(start, len(places)))
                if self.shuffle and len(places) > 1:
                    rng = generator(*where, *order, "mixed", group)
                    rows = Permutation(len(places), rng).run(start)
                start = 0
                for row in rows:
                    shard, first, last = places[row]
                    yield [members[shard], first, last]
                self._shards.keep_only(groups.needed())
        finally:
            shards.close()  # workers may be at the last ones for a while
        if len(lost) == len(self.urls):
            raise next(iter(lost.values()))

    def _known_size(self, members: Sequence[int]) -> int | None:
        """How many samples some shards have, where that is known without them."""
        known = [self._shards.known(number) for number in members]
        return sum(len(one[0]) for one in known if one) if members and None not in known else None

    def _arrive(self, number: int, stop: Callable[[], bool]) -> Places:
        """Fetch a shard, and look into it."""
        self._shards.need(number)
        places = self._shards.places(number, stop)
        self._shards.path(number, stop)  # even if its places were known
        return places

    def _arrived(self, number: int, places: Future[Places], lost: dict[int, Exception]) -> Places:
        try:
            return places.result()
        except (DatapointError, MissingData) as error:
            if not self._lenient:
                raise
            lost[number] = error
            if number not in self._lost:  # told once, not in each epoch
                self._lost.add(number)
                self._tell({number: error})
            return array("q"), array("q")

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
        self._shards.keep_only(())
        for stage in self._built:
            stage.close()


def _found(path: Paths, *, lenient: bool) -> list[str]:
    """The shards that are meant."""
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    found: list[str] = []
    for one in [os.fspath(part) for part in given]:
        for part in [one] if os.path.exists(one) else one.split(_PAIRS):
            if part.startswith(PIPE):
                found += expand_braces(part)
            elif is_object(part) and any(mark in part for mark in "*?["):
                found += matching(part)
            else:
                schemes = ("http", "https", *SCHEMES)
                found += find_files(part, schemes=schemes, lenient=lenient)
    if not found:
        raise ConfigError(f"path={path!r} names no file")
    return found


class _Groups:
    """The shards of an epoch in its order, some of which are taken together.

    They are few at first, so that there soon is a sample.

    Args:
        order: the numbers of the shards.
        mixed: several are taken together.
    """

    def __init__(self, order: list[int], *, mixed: bool) -> None:
        self._groups: list[list[int]] = []
        size, begin = 1, 0
        while begin < len(order):
            self._groups.append(order[begin : begin + size])
            begin += size
            size = min(2 * size, _MIXED) if mixed else 1
        self._dropped = 0
        self._at = 0

    def first(self) -> list[int]:
        """The next group, or nothing."""
        return self._groups[self._dropped] if self._dropped < len(self._groups) else []

    def drop_first(self) -> None:
        self._dropped += 1

    def numbers(self) -> Iterator[int]:
        """The shards that are left, in order."""
        return (number for group in self._groups[self._dropped :] for number in group)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        """The number of each group that is left, and its shards."""
        for number, group in enumerate(self._groups[self._dropped :], self._dropped):
            self._at = number
            yield number, group

    def needed(self) -> set[int]:
        """The shards of the group that was given last, which workers may be at, and all later."""
        return {number for group in self._groups[self._at :] for number in group}


def _columns(found: Sequence[Places]) -> Columns:
    """[place in `found`, first byte, last] of each sample."""
    shards = np.repeat(np.arange(len(found), dtype=np.int32), [len(starts) for starts, _ in found])
    return Columns(shards, *(np.concatenate(column) for column in zip(*found, strict=True)))
