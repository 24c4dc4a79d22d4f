"""PyTorch's loader, over the engine of this package."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any

import torch
from torch.utils import data
from torch.utils.data import _utils

from dataflow.adapters.structure import each_leaf
from dataflow.engine.process import this_worker
from dataflow.engine.runners import PrefetchDataZMQ
from dataflow.errors import PoisonedDatapoint, StateError, WorkerError
from dataflow.flow import DataFlow
from dataflow.sources.generator import DataFromGenerator
from dataflow.stages.map import MapData
from dataflow.utils.global_random import begun_anew

__all__ = ["DataLoader"]

logger = logging.getLogger(__name__)

_ITEMS_AHEAD = 16  # for each worker
_WORD = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15  # Weyl's constant: neighbours are far apart


class DataLoader(data.DataLoader[Any]):
    """`torch.utils.data.DataLoader` for map-style data sets, with this package's workers.

    It takes the same arguments and delivers the same batches in the same order. Different is:

    - What items draw from `random`, `numpy.random` and PyTorch is decided by the pass's seed (drawn
      from `generator`, or PyTorch's own, as there) and the batch's number: the same on any number
      of workers, none included. So `worker_init_fn` need not, and cannot, seed them.
    - Its iterators have no ``_workers``; a worker that dies over the same batch again is a
      `PoisonedDatapoint`, no RuntimeError.
    - A worker that dies is replaced, and its batches are loaded once more.
    - After an error in the data set the next ``next()`` goes on with the batch after it.
    - `state_dict` and `load_state_dict` go on in the middle of a pass, without loading anything
      twice.
    - Without ``prefetch_factor`` up to six batches a worker are made ahead; with 2 they are two
      and one more, as there.
    - ``timeout`` is for each batch in its worker, which is replaced and tries once more.
    - ``multiprocessing_context`` is not used: workers are new processes, which need no
      ``if __name__ == "__main__"``. They are kept from pass to pass, ``persistent_workers`` or not;
      a data set that was changed in between goes to them anew.

    Iterable-style data sets are left to PyTorch's own workers.

    Args:
        dataset: as there, like all others.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        iterable = isinstance(dataset, data.IterableDataset)
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            num_workers,
            collate_fn,
            pin_memory,
            drop_last,
            timeout,
            worker_init_fn,
            multiprocessing_context,
            generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
            in_order=in_order,
        )
        if not iterable:
            self.multiprocessing_context = None  # it was looked at, and takes no further part
            if multiprocessing_context is not None:
                logger.warning("multiprocessing_context=%r is not used", multiprocessing_context)
        # Items one by one are so small that it is leases that cost.
        each = 2 if self._auto_collation else _ITEMS_AHEAD
        if prefetch_factor is not None:
            # Workers hold two batches each, however few are to wait here.
            each = prefetch_factor - 2 if self._auto_collation else prefetch_factor
        self._ahead = max(1, each * num_workers)
        self._kept: _Made | None = None
        self._using: _Place | None = None  # the pass that has that
        self._current: _Place | None = None  # the pass that was begun last
        self._resumed: _Place | None = None

    def __iter__(self) -> Any:
        if isinstance(self.dataset, data.IterableDataset):
            return super().__iter__()
        return _Batches(self._pass())

    def _pass(self) -> Iterator[Any]:
        place, tasks = self._begin()
        self._current = place
        # Workers are kept, since new processes take a second; what changed goes to them anew.
        if self._kept is not None and self._kept.home != os.getpid():  # after a fork
            self._kept = self._using = None
        apart = self._using is not None and not self.persistent_workers
        if apart or self._kept is None:
            made = self._made()
            self._kept = self._kept if apart else made
        else:
            made = self._kept
        made.source.tasks = tasks
        made.fetch.take(self)
        if not apart:
            self._using = place
        pinned = self.pin_memory and torch.cuda.is_available()
        try:
            for (batch,) in made.flow if tasks is not None else ():
                place.delivered += 1
                yield _pinned(batch) if pinned else batch
            if self._current is place:
                self._current = None
        except TypeError as error:
            raise _explained(error) from error
        finally:
            if apart:
                made.flow.close()
            elif self._using is place:
                self._using = None

    def _begin(self) -> tuple[_Place, Iterator[Any] | None]:
        """Draw the pass's seed and order, or go on in one; and what is left of it, if anything."""
        resumed, self._resumed = self._resumed, None
        generator = torch.default_generator if self.generator is None else self.generator
        before = generator.get_state()
        place = resumed or _Place(before, 0)
        generator.set_state(place.begun)
        # In PyTorch's order: first the seed, and then what the sampler draws as it begins.
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=self.generator))
        numbered = zip(count(), iter(self._index_sampler), strict=False)
        first = list(islice(numbered, place.delivered, place.delivered + 1))
        if place.now is not None:
            generator.set_state(place.now)  # whoever else draws from it goes on, too
            place.now = None
        if not first:
            return place, None
        return place, ([number, seed, index] for number, index in chain(first, numbered))

    def _made(self) -> _Made:
        source, fetch = _Tasks(), _Fetch(self)
        made: DataFlow = MapData(source, fetch)
        if self.num_workers:
            made = PrefetchDataZMQ(
                made,
                self.num_workers,
                self._ahead,
                ordered=self.in_order,
                on_error=_failed,
                task_timeout=self.timeout or None,
            )
        return _Made(made, source, fetch, os.getpid())

    def state_dict(self) -> dict[str, Any]:
        """Where the pass is: numbers and text.

        The sampler is asked for its indices anew; one that draws from elsewhere than this loader's
        generator, or has an epoch of its own, is the caller's to set.
        """
        generator = torch.default_generator if self.generator is None else self.generator
        place = self._resumed or self._current or _Place(generator.get_state(), 0)
        state = {"loader": 1, "begun": _as_text(place.begun), "delivered": place.delivered}
        if self.generator is None and place is self._current:
            # What the program goes on to draw from PyTorch's own generator is later passes' seed.
            state["now"] = _as_text(generator.get_state())
        elif place.now is not None:
            state["now"] = _as_text(place.now)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there: the next pass delivers what was left of that one.

        Raises:
            StateError: it is no state of a loader.
        """
        if state.get("loader") != 1:
            raise StateError(f"this is no state of a DataLoader: {str(state)[:100]}")
        if state["begun"] is not None:
            now = None if state.get("now") is None else _as_state(state["now"])
            self._resumed = _Place(_as_state(state["begun"]), int(state["delivered"]), now)

    def close(self) -> None:
        """End the workers, which otherwise end with the loader."""
        kept, self._kept = self._kept, None
        if kept is not None and kept.home == os.getpid():
            kept.flow.close()

    def __del__(self) -> None:
        if getattr(self, "_kept", None) is not None:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy has workers and passes of its own."""
        return {**vars(self), "_kept": None, "_using": None, "_current": None}


class _Batches:
    """A pass, which goes on after an error."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> Any:
        batch = next(self._batches)
        if type(batch) is _Failed:
            batch.raise_()
        return batch


@dataclass
class _Place:
    """A place in a pass.

    Attributes:
        begun: the generator's state as the pass began.
        delivered: batches of it.
        now: that of PyTorch's own generator later, to be brought back with the pass.
    """

    begun: torch.Tensor
    delivered: int
    now: torch.Tensor | None = None


def _as_text(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _as_state(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)


class _Failed:
    """In the place of a batch: it could not be made.

    Args:
        error: why.
        task: what `_Fetch` was to do.
    """

    def __init__(self, error: BaseException, task: Any) -> None:
        self._error = error
        self._number, _, self._index = task

    def raise_(self) -> None:
        """As PyTorch does: the data set's own error, and where it was."""
        error = self._error
        if isinstance(error, WorkerError) and isinstance(cause := error.__cause__, Exception):
            error.__cause__ = None
            raise cause from error
        if isinstance(error, PoisonedDatapoint):
            what = f"the loader's batch {self._number}, of the data set's items {self._index}"
            raise PoisonedDatapoint(f"{what}: {error}", reason=error.reason) from error
        raise error


def _failed(error: BaseException, task: Any) -> list[Any]:
    """The datapoint in the place of the batch."""
    return [_Failed(error, task)]


def _explained(error: TypeError) -> TypeError:
    """What cannot go to workers, in the words of somebody who wrote a data set."""
    _, found, rest = str(error).partition(" cannot be sent to a worker process")
    if not found:
        return error
    what, _, _ = rest.partition(". Open files, locks and connections")
    return TypeError(
        f"the data set cannot be sent to worker processes{what}. Workers are new processes, not "
        "forked ones: open files, locks and connections where they are first used (as "
        "`if self._file is None: self._file = …` in __getitem__), or leave them out in "
        "__getstate__; or num_workers=0"
    )


@dataclass
class _Made:
    """What loads the batches.

    Attributes:
        flow: delivers them.
        source: what is to be loaded.
        fetch: how.
        home: the process that made it, whose workers they are.
    """

    flow: DataFlow
    source: _Tasks
    fetch: _Fetch
    home: int


class _Tasks(DataFromGenerator):
    """What is to be loaded in a pass: the sampler's, which is here."""

    _stays = True

    def __init__(self) -> None:
        super().__init__(lambda: self.tasks or ())
        self.tasks: Iterator[Any] | None = None


def _pinned(batch: Any) -> Any:
    return each_leaf(lambda one: one.pin_memory() if isinstance(one, torch.Tensor) else one, batch)


class _Fetch:
    """Makes a batch of a pass from ``[its number, the pass's seed, an index or several]``."""

    def __init__(self, loader: DataLoader) -> None:
        self.take(loader)
        self._home = os.getpid()
        self._settled: int | None = None  # the process in which `init` was called

    def take(self, loader: DataLoader) -> None:
        """What may have been changed since the last pass."""
        self._dataset = loader.dataset
        self._collate = loader.collate_fn
        self._several = loader._auto_collation
        self._init = loader.worker_init_fn
        self._workers = loader.num_workers

    def __call__(self, task: list[Any]) -> Any:
        number, seed, index = task
        if self._settled != os.getpid():
            self._settle(seed)
        try:
            with begun_anew((seed + (number + 1) * _ODD) & _WORD, self._home):
                return [self._made(index)]
        except Exception as error:
            if isinstance(error, StopIteration):  # which would end the pass without a word
                error = RuntimeError(f"the data set's item {index} raised StopIteration")
            if self._workers:
                raise error
            return _failed(error, task)

    def _made(self, index: Any) -> Any:
        dataset = self._dataset
        if not self._several:
            return self._collate(dataset[index])
        if getattr(dataset, "__getitems__", None):
            items = dataset.__getitems__(index)
        else:
            items = [dataset[one] for one in index]
        if self._collate is not _utils.collate.default_collate:
            return self._collate(items)
        # In a worker of its own PyTorch's collation takes shared memory, which we bring along.
        worker = _utils.worker._worker_info
        _utils.worker._worker_info = None
        try:
            return self._collate(items)
        finally:
            _utils.worker._worker_info = worker

    def _settle(self, seed: int) -> None:
        """Be a worker, as data sets and `init` see it."""
        self._settled = os.getpid()
        number = this_worker()
        if number is None or not self._workers:
            return
        number %= self._workers  # of one that came in another's place
        torch.set_num_threads(1)
        _utils.worker._worker_info = _utils.worker.WorkerInfo(
            id=number, num_workers=self._workers, seed=seed + number, dataset=self._dataset
        )
        if self._init is not None:
            self._init(number)
