"""Files, read by whoever runs the stage: a worker, where there are some."""

from __future__ import annotations

import os
import threading
from typing import Any

from dataflow.epoch import Datapoint
from dataflow.errors import FetchError
from dataflow.stages.item import ItemStage

__all__ = ["Counts", "ReadFile", "Reads"]


class Counts(ItemStage):
    """A stage that counts something.

    Attributes:
        gauge: what `stats` calls it.
    """

    gauge: str

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def count(self, more: int) -> None:
        """So many more."""
        with self._lock:
            self._count += more

    def gauges(self) -> dict[str, float]:
        return {self.gauge: self._count}

    def close(self) -> None:
        """Count afresh, as who adds up the gauges does with new workers."""
        super().close()
        with self._lock:
            self._count = 0

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_lock"]
        return state | {"_count": 0}  # each process counts its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class Reads(Counts):
    """A stage that counts the bytes that it reads from disk."""

    gauge = "bytes"


class ReadFile(Reads):
    """Replaces component 0, a path, by the bytes of the file.

    Args:
        max_bytes: larger files are refused.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes

    def apply(self, datapoint: Datapoint) -> Datapoint:
        path, *rest = datapoint
        try:
            with open(path, "rb", buffering=0) as file:  # one read, straight into the bytes
                # Not up to `max_bytes` at once: room for all of it would be made for every file.
                size = os.fstat(file.fileno()).st_size
                body = file.read(min(size, self._max_bytes) + 1)
        except OSError as error:
            reason = "not_found" if isinstance(error, FileNotFoundError) else "unreadable"
            raise FetchError(f"{path}: {error.strerror}", url=path, reason=reason) from error
        if len(body) > self._max_bytes:
            what = f"{path} is larger than max_bytes={self._max_bytes}"
            raise FetchError(what, url=path, reason="too_large")
        self.count(len(body))
        return [body, *rest]
