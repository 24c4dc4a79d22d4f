"""The runners that users name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataflow.engine.part import Part
from dataflow.engine.runner import Runner
from dataflow.engine.worker import Worker
from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.executor.events import Executor
from dataflow.executor.thread import ThreadExecutor
from dataflow.failures import OnError
from dataflow.stages.map import MapData
from dataflow.transport.in_hand import InHand

__all__ = [
    "MultiProcessMapData",
    "MultiProcessMapDataZMQ",
    "MultiProcessRunnerZMQ",
    "MultiThreadMapData",
    "PrefetchDataZMQ",
    "ThreadRunner",
]


class ThreadRunner(Runner):
    """Runs the chain below it in threads of this process.

    Below a `PrefetchDataZMQ` it sets the threads in each of its workers instead.

    Args:
        ds: the chain.
        num_threads: threads that work on datapoints.
        ordered: deliver in the source's order; None means: if a seed was set.
        buffer_size: datapoints that may wait to be delivered.
        on_error: what becomes of a datapoint whose stage raised; None leaves that to the source.
        hands_in_worker: the threads in each worker of a runner above; `num_threads` by default.
    """

    def __init__(
        self,
        ds: Any,
        num_threads: int,
        *,
        ordered: bool | None = None,
        buffer_size: int = 200,
        on_error: OnError | None = "raise",
        hands_in_worker: int | None = None,
    ) -> None:
        super().__init__(ds, ordered=ordered, buffer_size=buffer_size, on_error=on_error)
        if num_threads < 1:
            raise ConfigError(f"num_threads={num_threads!r} must be at least 1")
        self.num_threads = int(num_threads)
        self._in_worker = self.num_threads if hands_in_worker is None else hands_in_worker

    _unit = "thread"

    def _hands(self, part: Part) -> int:
        return max(self.num_threads, part.hands)

    def _hands_in_worker(self) -> int:
        return self._in_worker

    def _hire(self, part: Part) -> Executor:
        hands = self._hands(part)
        programs = part.for_workers()
        return ThreadExecutor(lambda emit: Worker(programs, emit, InHand(hands)), hands)


class MultiThreadMapData(ThreadRunner):
    """Apply a function to every datapoint, in threads; where it returns None it is dropped.

    The per-item stages of the chain below run in the threads too. Each datapoint comes exactly
    once an epoch.

    Args:
        ds: the chain.
        num_thread: threads.
        map_func: datapoint → datapoint or None.
        buffer_size: datapoints that may wait to be delivered.
        strict: accepted for tensorpack's sake; every epoch is exact here.
        ordered: deliver in the source's order; None means: if a seed was set.
        on_error: what becomes of a datapoint whose stage raised: ``"raise"``, ``"skip"``, or a
            function of error and datapoint that returns a replacement or None.
        nr_thread: the older spelling of `num_thread`.
    """

    def __init__(
        self,
        ds: Any,
        num_thread: int | None = None,
        map_func: Callable[[Datapoint], Datapoint | None] | None = None,
        *,
        buffer_size: int = 200,
        strict: bool = False,
        ordered: bool | None = None,
        on_error: OnError = "raise",
        nr_thread: int | None = None,
    ) -> None:
        super().__init__(
            _mapped(ds, map_func),
            _given("num_thread", num_thread, nr_thread),
            ordered=ordered,
            buffer_size=buffer_size,
            on_error=on_error,
        )
        self.num_thread = self.num_threads


class PrefetchDataZMQ(Runner):
    """Runs the chain below it in worker processes; each datapoint comes exactly once an epoch.

    The source's keys stay here; loading and the per-item stages go to the workers, arrays come
    back through shared memory. Scripts need no ``if __name__ == "__main__"`` guard, and lambdas
    and closures work. Threads or transfers of a runner further down count for each worker.

    Args:
        ds: the chain; a flow of tensorpack's will do.
        num_proc: worker processes.
        hwm: datapoints that may wait to be delivered. Of datapoints that are so cheap and small
            that messages would cost more than they do, some hundred more may be under way: about
            2 ms of work and 64 kB a lease, and two leases a process.
        ordered: deliver in the source's order; None means: if a seed was set.
        buffer_size: the same as `hwm`, which it overrides.
        on_error: what becomes of a datapoint whose stage raised: ``"raise"``, ``"skip"``, or a
            function of error and datapoint that returns a replacement or None.
        replicate: run the whole flow independently in each process, so that each delivers all of
            it: for endless random generators.
        task_timeout: seconds that a datapoint may keep a worker process; then the process is
            killed and the datapoint tried once more, alone. Time that an asynchronous stage, such
            as a download, waits does not count. None: as long as it likes.
        max_restarts: processes that may die without anything getting done in between.
        nr_proc: the older spelling of `num_proc`.

    A datapoint that was in hand as its process died runs again with nothing else beside it. If two
    processes more die over it, `on_error` gets a `PoisonedDatapoint`.

    Raises:
        WorkerDied: (from the iterator) beyond `max_restarts`.
    """

    _elsewhere = True
    _whole = True

    def __init__(
        self,
        ds: Any,
        num_proc: int = 1,
        hwm: int = 50,
        *,
        ordered: bool | None = None,
        buffer_size: int | None = None,
        on_error: OnError = "raise",
        replicate: bool = False,
        task_timeout: float | None = None,
        max_restarts: int = 3,
        nr_proc: int | None = None,
    ) -> None:
        num_proc = num_proc if nr_proc is None else nr_proc
        super().__init__(
            ds,
            ordered=ordered,
            buffer_size=hwm if buffer_size is None else buffer_size,
            on_error=on_error,
            max_restarts=max_restarts,
            task_timeout=task_timeout,
        )
        if num_proc < 1:
            raise ConfigError(f"num_proc={num_proc!r} must be at least 1")
        self.num_proc = int(num_proc)
        self.replicate = replicate
        self._replicas = self.num_proc if replicate else 0

    def _length(self) -> int:
        return len(self.ds) * (self.num_proc if self.replicate else 1)

    def _worker_count(self, part: Part) -> int:
        return 1 if part.sequential and not self.replicate else self.num_proc

    def _hire(self, part: Part) -> Executor:
        from dataflow.executor.process import ProcessExecutor  # ZeroMQ, for those who use it

        part.leave_to_workers()
        # A message in hand, one being written, and the worker's part of what may wait here.
        slots = 4 + self._hands(part) + -(-self._buffer_of(part) // self._worker_count(part))
        return ProcessExecutor(
            module="dataflow.engine.process",
            programs=part.packed(),
            hands=self._hands(part),
            slots_each=min(slots, 64),
        )


class MultiProcessMapData(PrefetchDataZMQ):
    """Apply a function to every datapoint, in processes; where it returns None it is dropped.

    The per-item stages of the chain below run in the processes too. Each datapoint comes exactly
    once an epoch.

    Args:
        ds: the chain.
        num_proc: worker processes.
        map_func: datapoint → datapoint or None; may be a lambda or a closure.
        buffer_size: datapoints that may wait to be delivered, as `hwm` of `PrefetchDataZMQ`.
        strict: accepted for tensorpack's sake; every epoch is exact here.
        ordered: deliver in the source's order; None means: if a seed was set.
        on_error: as of `PrefetchDataZMQ`, like the following.
        task_timeout: seconds that a datapoint may keep a worker process.
        max_restarts: processes that may die without anything getting done in between.
        nr_proc: the older spelling of `num_proc`.
    """

    def __init__(
        self,
        ds: Any,
        num_proc: int | None = None,
        map_func: Callable[[Datapoint], Datapoint | None] | None = None,
        *,
        buffer_size: int = 200,
        strict: bool = False,
        ordered: bool | None = None,
        on_error: OnError = "raise",
        task_timeout: float | None = None,
        max_restarts: int = 3,
        nr_proc: int | None = None,
    ) -> None:
        super().__init__(
            _mapped(ds, map_func),
            _given("num_proc", num_proc, nr_proc),
            ordered=ordered,
            buffer_size=buffer_size,
            on_error=on_error,
            task_timeout=task_timeout,
            max_restarts=max_restarts,
        )


MultiProcessRunnerZMQ = PrefetchDataZMQ
MultiProcessMapDataZMQ = MultiProcessMapData


def _mapped(ds: Any, map_func: Any) -> MapData:
    if not callable(map_func):
        raise ConfigError(f"map_func={map_func!r} must be callable")
    return MapData(ds, map_func)


def _given(name: str, number: int | None, older: int | None) -> int:
    """The one that was given of an argument and its older spelling."""
    chosen = number if older is None else older
    if chosen is None:
        raise ConfigError(f"{name}=None must be a number")
    return chosen
