"""From an address to pixels, in two steps: bytes, then decoding."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from dataflow.epoch import Datapoint
from dataflow.http import DiskCache, Fetcher, FetchPolicy, make_fetcher
from dataflow.image.decode import check_image, decode_image
from dataflow.stages.item import AsyncStage, ItemStage

__all__ = ["Decode", "Download"]


class Download(AsyncStage):
    """Replaces component 0, a URL, by the bytes behind it. What is no whole image is an error.

    Args:
        policy: the limits of each download.
        concurrency: transfers in flight at once, in each worker.
        session: a `requests.Session` to use instead of libcurl.
        cache: keeps the bodies on disk.
        max_pixels: images that claim to have more are refused.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        concurrency: int,
        session: Any = None,
        cache: DiskCache | None = None,
        max_pixels: int,
    ) -> None:
        self.concurrency = concurrency
        self._policy_of_fetch = policy
        self._session = session
        self._cache = cache
        self._max_pixels = max_pixels
        self._fetcher: Fetcher | None = None
        self._lock = threading.Lock()

    def begin(self, datapoint: Datapoint, done: Callable[[Any], None]) -> None:
        rest = datapoint[1:]

        def arrived(body: bytes | Exception) -> None:
            done(body if isinstance(body, Exception) else [body, *rest])

        self._open_fetcher().submit(datapoint[0], arrived)

    def _open_fetcher(self) -> Fetcher:
        # Made where it is used: it has a thread, and its connections are this process's own.
        with self._lock:
            if self._fetcher is None:
                self._fetcher = make_fetcher(
                    self._policy_of_fetch,
                    concurrency=self.concurrency,
                    session=self._session,
                    check=partial(check_image, max_pixels=self._max_pixels),
                    cache=self._cache,
                )
            return self._fetcher

    def gauges(self) -> dict[str, float]:
        if self._fetcher is None:
            return {}
        stats = self._fetcher.stats()
        return {
            "busy": stats["busy_seconds"],
            "bytes": stats["bytes"],
            "cached": stats["cached"],
            "retries": stats["retries"],
        }

    def close(self) -> None:
        """End the transfers. The next datapoint starts afresh."""
        with self._lock:
            fetcher, self._fetcher = self._fetcher, None
        if fetcher is not None:
            fetcher.close()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        cache = state.pop("_cache")
        del state["_lock"]
        # Each process opens the folder for itself.
        place = None if cache is None else (cache.folder, cache.max_bytes)
        return state | {"_fetcher": None, "place": place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        place = state.pop("place")
        cache = None if place is None else DiskCache(*place)
        self.__dict__.update(state, _cache=cache, _lock=threading.Lock())


class Decode(ItemStage):
    """Replaces component 0, the bytes of an image, by its pixels: BGR, uint8, H×W×3.

    Args:
        max_pixels: images that claim to have more are refused before they are decoded.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def apply(self, datapoint: Datapoint) -> Datapoint:
        body, *rest = datapoint
        return [decode_image(body, max_pixels=self._max_pixels), *rest]
