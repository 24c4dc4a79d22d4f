"""Files that stay open between one datapoint and the next."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

from dataflow.errors import MissingData

__all__ = ["Handle", "Handles"]


class _Closes(Protocol):
    def close(self) -> None: ...


class _Open:
    """What is open, and who holds it: handles, and threads that are using it."""

    def __init__(self, resource: Any) -> None:
        self.resource = resource
        self.holders = 0


# LMDB allows one environment a file and process, so whoever opens the same shares it.
_open: dict[Any, _Open] = {}
_lock = threading.RLock()  # a finalizer may run in the thread that has it


class Handle:
    """A file that is opened when it is first used, in each process anew, until it is closed.

    Any number of threads may use it. What one of them has in use closes when that one is done.
    After `close` the next use opens again. A pickled copy, or one in a forked process, has nothing
    open.

    Args:
        opener: opens a path; returns what has a `close`.
        path: the file. Another file of the same name is another file.
        args: further arguments of the opener.
        hints: those that make no difference to who already has it open.
    """

    def __init__(self, opener: Callable[..., _Closes], path: str, *args: Any, **hints: Any) -> None:
        self._made_of = (opener, path, args, hints)
        self._held: _Held | None = None
        self._drop: weakref.finalize[Any, Any] | None = None

    @contextmanager
    def use(self) -> Iterator[Any]:
        """What is open, for as long as the context lasts.

        Raises:
            MissingData: there is no such file.
        """
        with _lock:
            if self._held is None or not self._held.alive:
                self._held = _Held(*self._made_of)
                self._drop = weakref.finalize(self, self._held.drop)
            held = self._held
            held.opened.holders += 1
        try:
            yield held.opened.resource
        finally:
            held.leave()

    @contextmanager
    def once(self) -> Iterator[Any]:
        """`use`, and `close` after it."""
        try:
            with self.use() as resource:
                yield resource
        finally:
            self.close()

    def close(self) -> None:
        """Close it, or let those close it who use it still. Idempotent."""
        with _lock:
            drop, self._drop, self._held = self._drop, None, None
        if drop is not None:
            drop()

    def __getstate__(self) -> Any:
        return self._made_of

    def __setstate__(self, state: Any) -> None:
        self._made_of = state
        self._held = self._drop = None


class Handles:
    """The handles of several files, of which some are open at a time.

    Args:
        opener: see `Handle`.
        paths: the files.

    Attributes:
        paths: as they were given.
    """

    OPEN = 64

    def __init__(self, opener: Callable[..., _Closes], paths: Sequence[str]) -> None:
        self.paths = list(paths)
        self._opener = opener
        self._recent: OrderedDict[int, Handle] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, number: int) -> AbstractContextManager[Any]:
        """As `Handle.use`, of one of the files; it stays open until `OPEN` others were used."""
        with self._lock:
            handle = self._recent.get(number)
            if handle is None:
                handle = self._recent[number] = Handle(self._opener, self.paths[number])
                if len(self._recent) > self.OPEN:
                    self._recent.popitem(last=False)[1].close()
            else:
                self._recent.move_to_end(number)
        return handle.use()

    def once(self, number: int) -> AbstractContextManager[Any]:
        """As `Handle.once`."""
        return Handle(self._opener, self.paths[number]).once()

    def close(self) -> None:
        """Close all, as `Handle.close` does. Idempotent."""
        with self._lock:
            handles, self._recent = self._recent, OrderedDict()
        for handle in handles.values():
            handle.close()

    def __getstate__(self) -> Any:
        return self._opener, self.paths

    def __setstate__(self, state: Any) -> None:
        self.__init__(*state)  # type: ignore[misc]


class _Held:
    """A handle's share in what is open.

    Attributes:
        alive: it has not been dropped, nor stayed behind in the process that forked this one.
    """

    def __init__(
        self, opener: Callable[..., _Closes], path: str, args: Any, hints: dict[str, Any]
    ) -> None:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            raise MissingData(f"{path} is not there") from None
        self._key = (opener, status.st_dev, status.st_ino, args)
        if self._key not in _open:
            _open[self._key] = _Open(opener(path, *args, **hints))
        self.opened = _open[self._key]
        self.opened.holders += 1
        self.alive = True
        _shares.add(self)

    def drop(self) -> None:
        """Give up the share."""
        with _lock:
            if self.alive:
                self.alive = False
                self.leave()

    def leave(self) -> None:
        """One holder less; the last one closes."""
        with _lock:
            self.opened.holders -= 1
            if not self.opened.holders and _open.get(self._key) is self.opened:
                del _open[self._key]
                self.opened.resource.close()


_shares: weakref.WeakSet[_Held] = weakref.WeakSet()


def _forget() -> None:
    """In a forked process: none of it is this process's own."""
    global _lock
    _lock = threading.RLock()
    for share in list(_shares):
        share.alive = False
    for opened in _open.values():
        with suppress(Exception):
            opened.resource.close()  # of this process's copy; the parent's stays open
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
