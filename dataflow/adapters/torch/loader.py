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
from dataflow.errors import StateError, WorkerError
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
      of workers, none included.
    - A worker that dies is replaced, and its batches are loaded once more.
    - `state_dict` and `load_state_dict` go on in the middle of a pass, without loading anything
      twice.
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
        if multiprocessing_context is not None and not iterable:
            logger.warning("multiprocessing_context=%r is not used", multiprocessing_context)
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
            multiprocessing_context if iterable else None,
            generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
            in_order=in_order,
        )
        # Of batches, as PyTorch; items one by one are so small that it is leases that cost.
        each = 2 if self._auto_collation else _ITEMS_AHEAD
        self._ahead = max(1, each if prefetch_factor is None else prefetch_factor) * num_workers
        self._kept: tuple[DataFlow, _Tasks] | None = None
        self._using: _Place | None = None  # the pass that has that
        self._current: _Place | None = None  # the pass that was begun last
        self._resumed: _Place | None = None

    def __iter__(self) -> Any:
        if isinstance(self.dataset, data.IterableDataset):
            return super().__iter__()
        return self._pass()

    def _pass(self) -> Iterator[Any]:
        place, tasks = self._begin()
        self._current = place
        # Workers are kept, since new processes take a second; what changed goes to them anew.
        apart = self._using is not None and not self.persistent_workers
        if apart or self._kept is None:
            made = self._made()
            self._kept = self._kept if apart else made
        else:
            made = self._kept
        flow, source = made
        source.tasks = tasks
        if not apart:
            self._using = place
        pinned = self.pin_memory and torch.cuda.is_available()
        try:
            for (batch,) in flow if tasks is not None else ():
                place.delivered += 1
                yield _pinned(batch) if pinned else batch
            if self._current is place:
                self._current = None
        except WorkerError as error:
            if not isinstance(cause := error.__cause__, Exception):
                raise
            error.__cause__ = None
            raise cause from error  # as PyTorch does: the data set's own, and where it was
        finally:
            if apart:
                flow.close()
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
        if resumed is not None and self.generator is None:
            generator.set_state(before)  # whoever else draws from it goes on
        if not first:
            return place, None
        return place, ([number, seed, index] for number, index in chain(first, numbered))

    def _made(self) -> tuple[DataFlow, _Tasks]:
        source = _Tasks()
        fetch = _Fetch(
            self.dataset,
            self.collate_fn,
            self._auto_collation,
            self.worker_init_fn,
            self.num_workers,
        )
        made: DataFlow = MapData(source, fetch)
        if self.num_workers:
            made = PrefetchDataZMQ(
                made,
                self.num_workers,
                self._ahead,
                ordered=self.in_order,
                task_timeout=self.timeout or None,
            )
        return made, source

    def state_dict(self) -> dict[str, Any]:
        """Where the pass is: numbers and text.

        The sampler is asked for its indices anew; one that draws from elsewhere than this loader's
        generator, or has an epoch of its own, is the caller's to set.
        """
        place = self._resumed or self._current
        if place is None:
            return {"loader": 1, "begun": None, "delivered": 0}
        begun = bytes(place.begun.tolist()).hex()
        return {"loader": 1, "begun": begun, "delivered": place.delivered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there: the next pass delivers what was left of that one.

        Raises:
            StateError: it is no state of a loader.
        """
        if state.get("loader") != 1:
            raise StateError(f"this is no state of a DataLoader: {str(state)[:100]}")
        if state["begun"] is not None:
            begun = torch.tensor(list(bytes.fromhex(state["begun"])), dtype=torch.uint8)
            self._resumed = _Place(begun, int(state["delivered"]))

    def close(self) -> None:
        """End the workers, which otherwise end with the loader."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept[0].close()

    def __del__(self) -> None:
        if getattr(self, "_kept", None) is not None:
            self.close()


@dataclass
class _Place:
    """A place in a pass.

    Attributes:
        begun: the generator's state as the pass began.
        delivered: batches of it.
    """

    begun: torch.Tensor
    delivered: int


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

    def __init__(
        self,
        dataset: Any,
        collate: Callable[[Any], Any],
        several: bool,
        init: Callable[[int], None] | None,
        workers: int,
    ) -> None:
        self._dataset = dataset
        self._collate = collate
        self._several = several
        self._init = init
        self._workers = workers
        self._home = os.getpid()
        self._settled: int | None = None  # the process in which `init` was called

    def __call__(self, task: list[Any]) -> list[Any]:
        number, seed, index = task
        if self._settled != os.getpid():
            self._settle(seed)
        with begun_anew((seed + (number + 1) * _ODD) & _WORD, self._home):
            return [self._made(index)]

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
