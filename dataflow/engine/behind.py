"""Work that goes on behind the loop: a thread that is one item ahead of it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["behind"]

_T = TypeVar("_T")

_GRACE = 0.05  # seconds between two attempts to get the thread out of what it waits in
_END = object()


def behind(items: Iterator[_T], wake: Callable[[], None]) -> Iterator[_T]:
    """The same items, each of them made while the one before is in use.

    Args:
        items: a generator, which is advanced and closed by a thread of its own.
        wake: gets the thread out of what it may wait in for long. Called until it has ended.
    """
    reader = _Reader(items)
    try:
        stop = None
        while (item := reader.take()) is not _END:
            if stop is None:
                # Where the chain ends with the loop half done: before the workers that the thread
                # talks to are ended, which by now have been started.
                stop = weakref.finalize(reader, _stop, reader.shared, wake, os.getpid())
            yield item
    finally:
        if stop is not None:
            stop.detach()
        _stop(reader.shared, wake, os.getpid())


class _Shared:
    """What the thread and its reader have in common."""

    def __init__(self) -> None:
        self.made: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.room = threading.Semaphore(1)  # items that may be made before one is taken
        self.left = False
        self.thread: threading.Thread | None = None


class _Reader:
    """The loop's side. The thread does not hold it, so that it ends where this is forgotten."""

    def __init__(self, items: Iterator[Any]) -> None:
        self.shared = shared = _Shared()
        shared.thread = threading.Thread(
            target=_make, args=(items, shared), name="dataflow-behind", daemon=True
        )
        shared.thread.start()

    def take(self) -> Any:
        """The next item, or `_END`.

        Raises:
            BaseException: what making it raised.
        """
        item, error = self.shared.made.get()
        if error is not None:
            raise error
        self.shared.room.release()
        return item


def _make(items: Iterator[Any], shared: _Shared) -> None:
    """Make items until there is no more, or nobody wants any."""
    item: Any = None
    try:
        while True:
            shared.room.acquire()
            if shared.left:
                break
            item = next(items, _END)
            if item is _END:
                break
            shared.made.put((item, None))
            item = None  # while waiting, hold nothing of it
        items.close()  # type: ignore[attr-defined]
    except BaseException as error:  # raised where the item is asked for
        shared.made.put((None, error))
    else:
        shared.made.put((_END, None))


def _stop(shared: _Shared, wake: Callable[[], None], owner: int) -> None:
    """Nobody takes any more: end the thread, and wait for that."""
    thread = shared.thread
    assert thread is not None, "it is started at once"
    shared.left = True
    shared.room.release()
    if os.getpid() != owner or thread is threading.current_thread():
        return  # a forked child, which has no such thread; or the garbage collector ran in it
    while thread.is_alive():
        thread.join(_GRACE)
        if thread.is_alive():
            wake()
