"""From an address to pixels, in two steps: bytes, then decoding."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from dataflow.chance import Chance
from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError, FetchError
from dataflow.http import DiskCache, Fetcher, FetchPolicy, make_fetcher
from dataflow.http.urls import shown
from dataflow.image.decode import check_image, decoded, register, registered
from dataflow.image.decoding import Decoding
from dataflow.image.enough import head_of
from dataflow.stages.item import AsyncStage, ItemStage
from dataflow.stores import is_object
from dataflow.stores.fetcher import ObjectFetcher
from dataflow.utils.arguments import shortened

__all__ = ["Decode", "Download"]

_GAUGES = {
    "busy": "busy_seconds",
    "bytes": "bytes",
    "cached": "cached",
    "retries": "retries",
    "silent": "silent_seconds",
}


class Download(AsyncStage):
    """Replaces component 0, a URL, by the bytes behind it. What is no whole image is an error.

    Datapoints that are dicts have the URL first, and keep it: the bytes become ``"image"``.

    Args:
        policy: the limits of each download.
        concurrency: transfers in flight at once, in each worker.
        session: a `requests.Session` to use instead of libcurl.
        cache: keeps the bodies on disk.
        max_pixels: images that claim to have more are refused; None: whatever comes is taken.
        verify: the component that has the hash of the bytes, and its algorithm.
        storage_options: for the library that reads URLs of object stores.

    Raises:
        ConfigError: `verify` cannot be.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        concurrency: int,
        session: Any = None,
        cache: DiskCache | None = None,
        max_pixels: int | None,
        verify: tuple[Any, str] | None = None,
        storage_options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.concurrency = concurrency
        self._verify = None if verify is None else _verification(verify)
        self._policy_of_fetch = policy
        self._session = session
        self._cache = cache
        self._max_pixels = max_pixels
        self._storage_options = dict(storage_options)
        self._fetchers: dict[bool, Fetcher] = {}  # of http; of objects in stores
        self._lock = threading.Lock()

    def begin(self, datapoint: Datapoint, done: Callable[[Any], None]) -> None:
        self.begin_with(datapoint, done, Chance.ONLY)

    def begin_with(self, datapoint: Datapoint, done: Callable[[Any], None], chance: Chance) -> None:
        url = next(iter(datapoint.values())) if isinstance(datapoint, dict) else datapoint[0]
        wanted = None if self._verify is None else datapoint[self._verify[0]]

        def arrived(body: bytes | Exception) -> None:
            if wanted is not None and isinstance(body, bytes):
                body = self._verified(url, body, wanted)
            done(body if isinstance(body, Exception) else _with_image(datapoint, body))

        self._fetcher_for(url).submit(url, arrived, chance)

    def _verified(self, url: str, body: bytes, wanted: Any) -> bytes | FetchError:
        """A body, if it is the one that was hashed."""
        assert self._verify is not None
        algorithm = self._verify[1]
        found = hashlib.new(algorithm, body, usedforsecurity=False).hexdigest()
        if found == str(wanted).strip().lower():
            return body
        self._fetcher_for(url).forget(url)  # the right one may be there tomorrow
        what = f"its bytes have the {algorithm} {found}, not {shortened(wanted)}"
        return FetchError(f"{shown(url)}: {what}", reason="hash", url=url)

    def _fetcher_for(self, url: Any) -> Fetcher:
        # A list may be of anybody's, who should not get at the files here.
        of_store = isinstance(url, str) and is_object(url) and url[:5].lower() != "file:"
        fetcher = self._fetchers.get(of_store)
        return self._open_fetcher(of_store) if fetcher is None else fetcher

    def _open_fetcher(self, of_store: bool) -> Fetcher:
        # Made where it is used: it has a thread, and its connections are this process's own.
        with self._lock:
            if of_store not in self._fetchers:
                limit = self._max_pixels
                check = None if limit is None else partial(check_image, max_pixels=limit)
                if of_store:
                    self._fetchers[True] = ObjectFetcher(
                        self._policy_of_fetch,
                        concurrency=self.concurrency,
                        check=check,
                        cache=self._cache,
                        options=self._storage_options,
                    )
                else:
                    self._fetchers[False] = make_fetcher(
                        self._policy_of_fetch,
                        concurrency=self.concurrency,
                        session=self._session,
                        check=check,
                        cache=self._cache,
                    )
            return self._fetchers[of_store]

    def gauges(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for fetcher in list(self._fetchers.values()):
            stats: Any = fetcher.stats()
            for name, key in _GAUGES.items():
                found[name] = found.get(name, 0) + stats[key]
        return found

    def close(self) -> None:
        """End the transfers. The next datapoint starts afresh."""
        with self._lock:
            fetchers, self._fetchers = self._fetchers, {}
        for fetcher in fetchers.values():
            fetcher.close()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        cache = state.pop("_cache")
        del state["_lock"]
        # Each process opens the folder for itself.
        place = None if cache is None else (cache.folder, cache.max_bytes, cache.max_age)
        return state | {"_fetchers": {}, "place": place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        place = state.pop("place")
        cache = None if place is None else DiskCache(*place)
        self.__dict__.update(state, _cache=cache, _lock=threading.Lock())


def _verification(verify: Any) -> tuple[Any, str]:
    """Component and algorithm.

    Raises:
        ConfigError: it is something else.
    """
    known = sorted(name for name in hashlib.algorithms_available if "shake" not in name)
    if not isinstance(verify, (tuple, list)) or len(verify) != 2 or verify[1] not in known:
        raise ConfigError(
            f"verify={shortened(verify)} must be (component, algorithm), with the number of the "
            f'component that has the hash, as in (2, "md5"); the algorithms: {", ".join(known)}'
        )
    return tuple(verify)


class Decode(ItemStage):
    """Replaces component 0 or ``"image"``, the bytes of one, by its pixels.

    Args:
        how: to decode them.
        enough: leave out what the augmentors of the next stage do not take.
    """

    def __init__(self, how: Decoding, enough: bool = False) -> None:
        self._decode: Callable[[bytes], Any] = partial(decoded, how=how)
        self._how = how
        self._enough = enough

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        body = datapoint["image"] if isinstance(datapoint, dict) else datapoint[0]
        image = self._decode(body)
        return None if image is None else _with_image(datapoint, image)

    def with_next(self, stage: ItemStage, number: int) -> tuple[ItemStage, ItemStage]:
        found = [head_of(stage, name, number, self._how) for name in (0, "image")]
        one = next(filter(None, found), None) if self._enough else None
        if one is None:
            return self, stage
        head, rest = one
        own = Decode(self._how)
        own._decode = partial(head.pixels, how=self._how)
        return own, rest

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"registered": registered()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, decoder in state.pop("registered").items():
            register(name, decoder)
        self.__dict__.update(state)


def _with_image(datapoint: Datapoint, image: Any) -> Datapoint:
    if isinstance(datapoint, dict):
        return {**datapoint, "image": image}
    return [image, *datapoint[1:]]
