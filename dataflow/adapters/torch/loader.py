"""PyTorch's loader, over the engine of this package."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, islice
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
      ``if __name__ == "__main__"``.

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
        self._flow: DataFlow | None = None
        self._tasks: Iterator[Any] = iter(())
        self._begun: torch.Tensor | None = None  # the generator as the pass began
        self._delivered = 0
        self._resumed: tuple[torch.Tensor, int] | None = None

    def __iter__(self) -> Any:
        if isinstance(self.dataset, data.IterableDataset):
            return super().__iter__()
        return self._pass()

    def _pass(self) -> Iterator[Any]:
        self._begin()
        flow = self._flow
        if flow is None:
            flow = self._flow = self._made()
        pinned = self.pin_memory and torch.cuda.is_available()
        finished = False
        try:
            for (batch,) in flow:
                self._delivered += 1
                yield _pinned(batch) if pinned else batch
            finished = True
        except WorkerError as error:
            if not isinstance(cause := error.__cause__, Exception):
                raise
            error.__cause__ = None
            raise cause from error  # as PyTorch does: the data set's own, and where it was
        finally:
            if finished:
                self._begun, self._delivered = None, 0
            if not self.persistent_workers:
                flow.close()
                self._flow = None

    def _begin(self) -> None:
        """Draw the pass's seed and order, or go on in one."""
        resumed, self._resumed = self._resumed, None
        generator = torch.default_generator if self.generator is None else self.generator
        before = generator.get_state()
        self._begun, self._delivered = resumed or (before, 0)
        generator.set_state(self._begun)
        # In PyTorch's order: first the seed, and then what the sampler draws as it begins.
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=self.generator))
        indices = iter(self._index_sampler)
        numbered = zip(count(), indices)
        first = list(islice(numbered, self._delivered, self._delivered + 1))
        self._tasks = (
            [number, seed, index] for part in (first, numbered) for number, index in part
        )
        if resumed is not None and self.generator is None:
            generator.set_state(before)  # whoever else draws from it goes on

    def _made(self) -> DataFlow:
        source = _Tasks(lambda: self._tasks)
        made = MapData(
            source,
            _Fetch(
                self.dataset,
                self.collate_fn,
                self._auto_collation,
                self.worker_init_fn,
                self.num_workers,
            ),
        )
        if not self.num_workers:
            return made
        return PrefetchDataZMQ(
            made,
            self.num_workers,
            self._ahead,
            ordered=self.in_order,
            task_timeout=self.timeout or None,
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the pass is: numbers and text.

        The sampler is asked for its indices anew; one that draws from elsewhere than this loader's
        generator, or has an epoch of its own, is the caller's to set.
        """
        if self._resumed is not None:
            begun, delivered = self._resumed
        elif self._begun is not None:
            begun, delivered = self._begun, self._delivered
        else:
            return {"loader": 1, "begun": None, "delivered": 0}
        return {"loader": 1, "begun": bytes(begun.tolist()).hex(), "delivered": delivered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there: the next pass delivers what was left of that one.

        Raises:
            StateError: it is no state of a loader.
        """
        if state.get("loader") != 1:
            raise StateError(f"this is no state of a DataLoader: {str(state)[:100]}")
        if state["begun"] is not None:
            begun = torch.tensor(list(bytes.fromhex(state["begun"])), dtype=torch.uint8)
            self._resumed = begun, int(state["delivered"])

    def close(self) -> None:
        """End the workers."""
        if self._flow is not None:
            self._flow.close()
            self._flow = None

    def __del__(self) -> None:
        if getattr(self, "_flow", None) is not None:
            self.close()


class _Tasks(DataFromGenerator):
    """What is to be loaded: the sampler's, which is here."""

    _stays = True


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
