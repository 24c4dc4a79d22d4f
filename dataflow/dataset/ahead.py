"""Things that are fetched in the background, some before they are needed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Ahead"]

_Item = TypeVar("_Item")
_PATIENCE = 1.0  # seconds that `close` waits for what is under way


class Ahead(Generic[_Item]):
    """What a function makes of items, in their order; some are worked on before they are asked for.

    Args:
        make: called in a thread for each item, with the item and a function that says whether the
            result is of no use any more.
        items: read as they are needed.
        most: that are worked on at a time.
    """

    def __init__(
        self,
        make: Callable[[_Item, Callable[[], bool]], Any],
        items: Iterable[_Item],
        most: int,
    ) -> None:
        self._make = make
        self._items = iter(items)
        self._most = most
        self._over = threading.Event()
        self._at_once = threading.Semaphore(most)
        self._begun: deque[tuple[_Item, Future[Any]]] = deque()
        self._threads: list[threading.Thread] = []

    def __iter__(self) -> Iterator[tuple[_Item, Future[Any]]]:
        """Each item, and the future that has its result."""
        while True:
            while len(self._begun) < self._most and self._begin():
                pass
            if not self._begun:
                return
            item, future = self._begun.popleft()
            self._begin()
            yield item, future

    def _begin(self) -> bool:
        """Start on the next item, if there is one."""
        from concurrent.futures import Future  # it is dear

        if self._over.is_set():
            return False
        for item in self._items:
            future: Future[Any] = Future()
            # Daemons: a transfer must not keep a program that is at its end.
            thread = threading.Thread(
                target=self._work, args=(item, future), name="dataflow-ahead", daemon=True
            )
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            self._begun.append((item, future))
            thread.start()
            return True
        return False

    def _work(self, item: _Item, future: Future[Any]) -> None:
        try:
            with self._at_once:
                future.set_result(self._make(item, self._over.is_set))
        except BaseException as error:
            future.set_exception(error)

    def close(self) -> None:
        """Nobody needs more. Idempotent."""
        self._over.set()
        for thread in self._threads:
            thread.join(_PATIENCE)
