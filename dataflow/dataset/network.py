"""Images behind URLs."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from dataflow.dataset.stages import Decode, Download
from dataflow.engine.runners import ThreadRunner
from dataflow.errors import ConfigError, FetchError
from dataflow.failures import ErrorPolicy, OnError
from dataflow.flow import DataFlow
from dataflow.http import DiskCache, Fetcher, FetchPolicy, make_fetcher
from dataflow.image.decode import MAX_PIXELS, decode_image
from dataflow.image.decoding import Alpha, Decoding, Mode
from dataflow.sources.columns import Columns, Records, as_rows
from dataflow.sources.keyed import KeyedSource
from dataflow.sources.table import Rows, read_table
from dataflow.stages.item import ItemStage
from dataflow.stages.map import MapData
from dataflow.utils.arguments import shortened, whole_number
from dataflow.utils.machine import usable_cores

__all__ = ["NetworkImages"]

logger = logging.getLogger(__name__)


class NetworkImages(KeyedSource):
    """Images behind URLs, with labels; the base class of data sets of this kind.

    A subclass fills `datapoints` with ``[url, label, …]``. Iterating yields
    ``[image, label, …]``: BGR, uint8, H×W×3 (or as `mode` says). `parallel` does the same many at a
    time::

        class Pets(NetworkImages):
            def __init__(self, shuffle=False):
                super().__init__(shuffle)
                self.datapoints = [["https://host/1.jpg", 0], ["https://host/2.jpg", 1]]

        for image, label in Pets(shuffle=True).parallel(num_threads=64):
            ...

    A table needs no subclass::

        ds = NetworkImages(table="list-*.parquet", url="URL", columns=["TEXT"], shuffle=True)

    Args:
        shuffle: a new random order in each epoch.
        table: where the datapoints are, in any form that `dataflow.read_table` reads.
        url: its column of addresses.
        columns: its others that are wanted; None: all.
        rows: with ``"dict"``, iterating yields ``{"image": …}`` with the columns by their names.
        **options: any of the attributes below. They can as well be class attributes of a
            subclass, or be set on the instance before the first iteration.

    Attributes:
        datapoints: a list of ``[url, label, …]``. Millions of them take least memory as columns:
            `Columns`, a tuple of NumPy arrays ``(urls, labels)``, or a table of pyarrow's.
        seed: fixes every random number; where it is a number, see also `DataFlow.seed`.
        on_error: what becomes of dead links and broken images: ``"skip"``, ``"raise"``, or a
            function of error and datapoint that returns a replacement or None. Skipped ones are
            counted in `stats` and listed by `errors`; `TooManyErrors` where nothing works: all of
            the first 50 failed, or of as many as two times the transfers.
        max_failed: how many datapoints of an epoch may fail before `TooManyErrors` is raised: an
            int, or as a float their share, which is judged at the end of the epoch. None: any
            number; a warning tells once where it is more than half.
        cache_dir: a folder that keeps the bytes, so that later epochs need no network.
        cache_bytes: its largest size in bytes; None for no bound.
        cache_max_age: seconds after which the server is asked whether the image has changed
            (``If-None-Match``); where that cannot be told, the one that is there serves. None:
            never.
        session: a `requests.Session` to download with; slower than libcurl, but may carry
            authentication and adapters.
        timeout: seconds for one image, all trials included.
        max_trials: how often a download is tried.
        max_bytes: the largest download accepted.
        max_pixels: images that claim to have more are refused before they are decoded.
        decode: ``"enough"``: of a JPEG, decode only what an `AugmentImageComponent` takes that
            follows directly or behind a runner of this machine, and begins with cuts (`CenterCrop`,
            `RandomCrop`, `Flip`, …) and a scaling (`GoogleNetRandomCropAndResize`, `Resize`,
            `ResizeShortestEdge`, …): 3 to 8 times faster for photos of 12 Mpx. What is drawn stays
            the same; see ``docs/images.md`` for the pixels.
        mode, exif, alpha, lenient: channels, orientation, transparency and damaged files; see
            `dataflow.decode_image`.
        verify: ``(component, algorithm)``: that component of a datapoint is the hash of the bytes
            in hexadecimal, made with one of `hashlib`'s algorithms, such as ``(2, "md5")``, or with
            the name of a table's column ``("md5_column", "md5")``. Bytes that have another one fail
            with the reason ``hash``; where it is None all are taken.
        storage_options: for URLs of object stores (``s3://…``, ``gs://…``, ``az://…``, ``hf://…``),
            which fsspec and its kind read: ``{"anon": True}``. ``data:`` URLs are read, too, but
            not ``file:``, as a list may be of anybody's.
        user_agent, contact, headers, auth, netrc, proxy, cainfo, connect_timeout, max_per_host,
        pause_per_host, respect_opt_outs: of the requests; see `dataflow.http.FetchPolicy`.
        fetch_policy: such a policy, for what else it has; of the attributes, those that are not as
            by default come before it.
    """

    _consumer_only = ("datapoints",)
    _OPTIONS = (
        *("seed", "on_error", "max_failed", "cache_dir", "cache_bytes", "session"),
        "cache_max_age",
        *("timeout", "max_trials", "max_bytes", "max_pixels", "verify", "storage_options"),
        *("decode", "mode", "exif", "alpha", "lenient"),
        *("user_agent", "contact", "headers", "auth", "netrc", "proxy", "cainfo"),
        *("connect_timeout", "max_per_host", "pause_per_host", "respect_opt_outs", "fetch_policy"),
    )

    _DECODING = ("mode", "exif", "alpha", "lenient", "max_pixels")

    shuffle: bool = False
    is_parallel = False  # the name is wbaek/dataflow's, whose subclasses ask for it
    datapoints: Any = ()
    on_error: OnError = "skip"
    max_failed: float | None = None
    cache_dir: str | os.PathLike[str] | None = None
    cache_bytes: int | None = None
    cache_max_age: float | None = None
    session: Any = None
    timeout: float = 30.0
    max_trials: int = 5
    max_bytes: int = 64 << 20
    max_pixels: int = MAX_PIXELS
    decode: Literal["full", "enough"] = "full"
    mode: Mode = "bgr"
    exif: bool = True
    alpha: Alpha = "drop"
    lenient: bool = False
    verify: tuple[Any, str] | None = None
    storage_options: Mapping[str, Any] = MappingProxyType({})
    user_agent: str | None = None
    contact: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    auth: tuple[str, str] | None = None
    netrc: bool | str | os.PathLike[str] = False
    proxy: str | None = None
    cainfo: str | os.PathLike[str] | None = None
    connect_timeout: float = FetchPolicy.connect_timeout
    max_per_host: int | None = None
    pause_per_host: float = 0.0
    respect_opt_outs: bool = False
    fetch_policy: FetchPolicy | None = None

    # Of the instance's stages; `parallel` sets it on its own copy.
    _concurrency = 1
    _retries = False  # it is over datapoints that failed before: nobody is surprised if they do
    __built: list[ItemStage] | None = None
    __policy: ErrorPolicy | None = None

    def __init__(
        self,
        shuffle: bool = False,
        *,
        table: Any = None,
        url: str | None = None,
        columns: Sequence[str] | None = None,
        rows: Rows = "list",
        **options: Any,
    ) -> None:
        self.shuffle = shuffle
        if table is not None:
            self.datapoints = read_table(table, url, columns, rows=rows)
            names = self.datapoints.names or ()
            if rows == "dict" and "image" in names[1:]:
                raise ConfigError(
                    "the table has a column 'image', which is what the pixels are called: name the "
                    "columns that are wanted, columns=[…]"
                )
        elif url is not None or columns is not None or rows != "list":
            raise ConfigError(f"url={url!r}, columns={columns!r}, rows={rows!r} are of a table=")
        for name, value in options.items():
            if name not in self._OPTIONS:
                raise TypeError(
                    f"{type(self).__name__} has no option {name!r}; "
                    f"it has: {', '.join(self._OPTIONS)}"
                )
            if name == "seed":
                if value is not None:
                    DataFlow.seed(self, value)
            else:
                setattr(self, name, value)

    # -- the source --------------------------------------------------------------------------

    def keys(self) -> Sequence[Any]:
        rows = as_rows(self.datapoints)
        if len(rows) and not (isinstance(rows, Columns) or self._retries):
            _check(self, rows)
        return rows

    def _own_seed(self) -> int | None:
        explicit = super()._own_seed()
        attribute: Any = self.seed  # a subclass may have made it a number
        return attribute if explicit is None and isinstance(attribute, int) else explicit

    @property
    def _policy(self) -> ErrorPolicy:
        if self.__policy is None:
            self.__policy = ErrorPolicy(
                self.on_error, give_up=not self._retries, max_failed=self.max_failed
            )
        return self.__policy

    def _over(self, keys: list[Any]) -> NetworkImages:
        """The same data set over other datapoints."""
        other = copy.copy(self)
        other.datapoints = keys
        other.__policy = None
        other._retries = True
        return other

    def partitioning(self, num_partition: int, partition_index: int = 0) -> NetworkImages:
        """Keep every `num_partition`-th datapoint from `partition_index` on; returns self.

        Raises:
            ValueError: where there is no such partition.
        """
        if not 0 <= partition_index < num_partition:
            raise ConfigError(
                f"partition_index={partition_index!r} must be from 0 to num_partition - 1, "
                f"with num_partition={num_partition!r}"
            )
        self.datapoints = as_rows(self.datapoints)[partition_index::num_partition]
        return self

    # -- the stages --------------------------------------------------------------------------

    def _stages(self) -> list[ItemStage]:
        if self.__built is None:
            own = self._replaces("map_func_download")
            reader = MapData.of_source(self.map_func_download) if own else self._reader()
            self.__built = [reader, self._decoder()]
        return self.__built

    def _reader(self) -> ItemStage:
        """The stage from address to bytes."""
        return Download(
            self._requests(),
            concurrency=self._concurrency,
            session=self.session,
            cache=self._cache(),
            max_pixels=None if self._replaces("map_func_decode") else self.max_pixels,
            verify=self._verify_at(),
            storage_options=self.storage_options,
        )

    def _verify_at(self) -> tuple[Any, str] | None:
        """`verify`, with the number of a column of a table that it has the name of."""
        verify, names = self.verify, getattr(self.datapoints, "names", None)
        if not isinstance(verify, (tuple, list)) or len(verify) != 2:
            return verify
        component = verify[0]
        if names is not None and isinstance(component, str):
            if component not in names:
                known = ", ".join(map(repr, names))
                raise ConfigError(f"verify={verify!r}: the table has no such column, but {known}")
            if not isinstance(self.datapoints, Records):
                component = names.index(component)
        rows = as_rows(self.datapoints)
        try:
            if len(rows):
                rows[0][component]
        except (LookupError, TypeError) as error:
            raise ConfigError(
                f"verify={verify!r}: a datapoint, such as {shortened(rows[0])}, has no component "
                f"{component!r}"
            ) from error
        return component, verify[1]

    def _requests(self) -> FetchPolicy:
        """The limits of each download: those that were set, else those of `fetch_policy`."""
        policy = self.fetch_policy
        if policy is None:
            policy = FetchPolicy()
        elif not isinstance(policy, FetchPolicy):
            raise ConfigError(
                f"fetch_policy={shortened(policy)} is of type {type(policy).__name__}: it must be "
                "a dataflow.http.FetchPolicy"
            )
        names = {field.name for field in dataclasses.fields(FetchPolicy)}.intersection(_DEFAULTS)
        own = {name: getattr(self, name) for name in names}
        changed = {name: value for name, value in own.items() if value != _DEFAULTS[name]}
        return dataclasses.replace(policy, **changed)

    def _decoder(self) -> ItemStage:
        if self._replaces("map_func_decode"):
            return MapData.of_source(self.map_func_decode)
        options = {name: getattr(self, name) for name in self._DECODING}
        if self.decode not in ("full", "enough"):
            raise ConfigError(f'decode={self.decode!r} must be "full" or "enough"')
        return Decode(Decoding(**options), self.decode == "enough")

    def _cache(self) -> DiskCache | None:
        if self.cache_dir is None:
            return None
        return DiskCache(Path(self.cache_dir), self.cache_bytes, self.cache_max_age)

    def _replaces(self, name: str) -> bool:
        """Whether a subclass has its own version of one of the static methods."""
        return getattr(type(self), name) is not getattr(NetworkImages, name)

    def _needs_threads(self) -> bool:
        """Whether getting the bytes keeps a thread waiting for each datapoint."""
        return self._replaces("map_func_download")

    def _stage_rows(self) -> list[dict[str, Any]]:
        return [stage._row() for stage in self._stages()]

    def close(self) -> None:
        """End the current pass, and every transfer."""
        super().close()
        for stage in self.__built or ():
            stage.close()

    def parallel(
        self,
        num_threads: int,
        buffer_size: int | None = None,
        strict: bool = False,
        *,
        ordered: bool | None = None,
    ) -> ThreadRunner:
        """Download `num_threads` images at once, and decode them on every core.

        Every datapoint comes once an epoch. Upstream of a `PrefetchDataZMQ`, each of its processes
        downloads `num_threads` at once.

        Args:
            num_threads: transfers in flight.
            buffer_size: images that may wait for the consumer.
            strict: accepted for the sake of older scripts; every epoch is exact.
            ordered: deliver in the order of the epoch; None means: if a seed was set. Otherwise
                as they come.
        """
        num_threads = whole_number("num_threads", num_threads, 1)
        source = copy.copy(self)
        source.__policy = self._policy  # what fails is listed by both
        source._concurrency = int(num_threads)
        waits = source._needs_threads()
        return ThreadRunner(
            source,
            num_threads if waits else min(num_threads, usable_cores()),
            threads_in_worker=num_threads if waits else 1,
            ordered=ordered,
            buffer_size=buffer_size,
            on_error=None,
        )

    # -- what scripts call by themselves ------------------------------------------------------

    @staticmethod
    def request(url: str, max_trials: int = 5) -> bytes | None:
        """The bytes behind a URL, or None where they cannot be had (a warning says why)."""
        try:
            return _fetcher(max_trials).fetch(url)
        except FetchError as error:
            logger.warning("%s", error)
            return None

    @staticmethod
    def read(url: str) -> bytes | None:
        """An older name of `request`."""
        return NetworkImages.request(url)

    @staticmethod
    def map_func_download(datapoint: Sequence[Any]) -> list[Any] | None:
        """Replace component 0, a URL, by its bytes; None where they cannot be had."""
        body = NetworkImages.request(datapoint[0])
        return None if body is None else [body, *datapoint[1:]]

    @staticmethod
    def map_func_decode(datapoint: Sequence[Any]) -> list[Any]:
        """Replace component 0, bytes, by pixels: BGR, uint8, H×W×3.

        Raises:
            DecodeError: where they are no image.
        """
        return [decode_image(datapoint[0]), *datapoint[1:]]

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_NetworkImages__built", None)
        return state


_DEFAULTS = {name: getattr(NetworkImages, name) for name in NetworkImages._OPTIONS}


def _check(source: NetworkImages, rows: Any) -> None:
    """Look whether the first datapoint is one.

    Raises:
        ConfigError: it is something that people have in its place.
    """
    who = f"{type(source).__name__}.datapoints"
    if hasattr(rows, "iloc"):
        raise ConfigError(
            f"{who} is a {type(rows).__name__}. A datapoint is a list, whose first component is "
            "the address: set it to df.read_table(frame, url='url', columns=['label'])"
        )
    first = rows[0]
    if isinstance(first, (str, bytes)):
        raise ConfigError(
            f"{who}[0] is {shortened(first)}. A datapoint is a list, whose first component is the "
            "address: set it to [[url] for url in urls]"
        )
    if isinstance(first, dict):
        raise ConfigError(
            f"{who}[0] is {shortened(first)}. A datapoint is a list, whose first component is the "
            f"address: set it to df.read_table(dicts, url={next(iter(first), 'url')!r}), with the "
            "name that the address has"
        )
    if _are_columns(rows, first):
        raise ConfigError(
            f"{who}[0] has {len(first)} addresses: are these columns, all addresses and then all "
            "of something else? A datapoint has its own: set it to df.Columns(urls, labels); or, "
            "where each does have so many, to a list of them"
        )


def _are_columns(rows: Any, first: Any) -> bool:
    """Whether this is one list of addresses beside others, as zip would take them."""
    if not isinstance(first, (list, tuple)) or len(first) < 2:
        return False
    texts = all(isinstance(one, str) and "://" in one for one in first)
    return texts and (isinstance(rows, tuple) or len(first) > len(rows))


class _Fetchers:
    """One for each number of trials, for the calls of `request` of all threads."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self.made: dict[int, Fetcher] = {}
        self._of_the_parent: list[dict[int, Fetcher]] = []

    def __call__(self, max_trials: int) -> Fetcher:
        with self._making:
            if max_trials not in self.made:
                policy = FetchPolicy(max_trials=max_trials)
                self.made[max_trials] = make_fetcher(policy, concurrency=64)
            return self.made[max_trials]

    def forget(self) -> None:
        """A forked process has none of the threads that fetch, and must not end its parent's."""
        self._of_the_parent.append(self.made)
        self._making, self.made = threading.Lock(), {}


_fetcher = _Fetchers()
os.register_at_fork(after_in_child=_fetcher.forget)
