"""The runners that users name: in threads, in processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dataflow.engine.options import RunnerOptions
from dataflow.engine.runner import Runner
from dataflow.engine.worker import Worker
from dataflow.errors import ConfigError
from dataflow.executor.events import Executor
from dataflow.executor.thread import ThreadExecutor
from dataflow.failures import OnError
from dataflow.node import is_flow
from dataflow.plan.fragment import Fragment
from dataflow.plan.packing import why_not_sent
from dataflow.plan.whole import FlowLoader
from dataflow.transport.in_progress import Untimed
from dataflow.utils.arguments import whole_number
from dataflow.utils.spelling import renamed
from dataflow.utils.words import counted

if TYPE_CHECKING:
    from dataflow.executor.process import ProcessExecutor

__all__ = [
    "MultiProcessPrefetchData",
    "MultiProcessRunner",
    "MultiProcessRunnerZMQ",
    "MultiThreadPrefetchData",
    "MultiThreadRunner",
    "PrefetchData",
    "PrefetchDataZMQ",
    "ThreadRunner",
    "slots_of",
    "start_processes",
]


logger = logging.getLogger(__name__)


class ThreadRunner(Runner):
    """Runs the chain upstream in threads of this process.

    Upstream of a `PrefetchDataZMQ` it sets the threads in each of its workers instead.

    Args:
        ds: the chain.
        num_threads: threads that work on datapoints.
        ordered: deliver in the source's order; None means: if a seed was set.
        buffer_size: datapoints that may wait to be delivered; None: 200, or two batches where a
            stage further down the chain takes more than that.
        on_error: what becomes of a datapoint whose stage raised; None leaves that to the source.
        threads_in_worker: those in each worker of a runner downstream; `num_threads` by default.
    """

    def __init__(
        self,
        ds: Any,
        num_threads: int,
        *,
        ordered: bool | None = None,
        buffer_size: int | None = None,
        on_error: OnError | None = "raise",
        threads_in_worker: int | None = None,
    ) -> None:
        super().__init__(ds, RunnerOptions(ordered, buffer_size, on_error))
        self.num_threads = whole_number("num_threads", num_threads, 1)
        self._in_worker = self.num_threads if threads_in_worker is None else threads_in_worker

    _unit = "thread"
    _usual_buffer = 200

    def _workers_in_words(self, fragment: Fragment) -> str:
        threads = counted(self._worker_count(fragment) * self._threads(fragment), "thread")
        if fragment.transfers:
            threads += f" and {counted(fragment.transfers, 'transfer')}"
        return f"{threads} of this process"

    def _threads(self, fragment: Fragment) -> int:
        return max(self.num_threads, fragment.threads)

    def _threads_in_worker(self) -> int:
        return self._in_worker

    def _start_executor(self, fragment: Fragment, buffer: int) -> Executor:
        threads = self._threads(fragment)
        chains = fragment.for_workers()
        workers = self._worker_count(fragment)
        return ThreadExecutor(lambda emit: Worker(chains, emit, Untimed(threads)), threads, workers)


class MultiThreadRunner(ThreadRunner):
    """Runs a chain in threads of this process; each datapoint comes exactly once an epoch.

    Loading and the per-item stages of the chain run in all threads; a flow that can only be
    iterated runs whole in one. Upstream of a `PrefetchDataZMQ` it sets the threads in each of its
    processes.

    Args:
        get_df: a function that returns the chain. It is called once.
        num_prefetch: datapoints that may wait to be delivered.
        num_thread: threads.
        ordered: deliver in the source's order; None means: if a seed was set.
        on_error: what becomes of a datapoint whose stage raised: ``"raise"``, ``"skip"``, or a
            function of error and datapoint that returns a replacement or None.
        replicate: call `get_df` for each thread, which runs what it gets whole and independently,
            so that all of it is delivered `num_thread` times: for endless random generators.
    """

    _whole = True

    @renamed(nr_prefetch="num_prefetch", nr_thread="num_thread")
    def __init__(
        self,
        get_df: Callable[[], Any],
        num_prefetch: int,
        num_thread: int,
        *,
        ordered: bool | None = None,
        on_error: OnError = "raise",
        replicate: bool = False,
    ) -> None:
        if not callable(get_df):
            raise ConfigError(f"get_df={get_df!r} must be a function that returns a dataflow")
        self.num_prefetch = whole_number("num_prefetch", num_prefetch, 1)
        self.num_thread = whole_number("num_thread", num_thread, 1)
        self._flows = [get_df() for _ in range(self.num_thread if replicate else 1)]
        for flow in self._flows:
            if not is_flow(flow):
                raise ConfigError(f"get_df must return a dataflow, not {flow!r}")
        if len({id(flow) for flow in self._flows}) < len(self._flows):
            raise ConfigError("get_df must return a new dataflow each time, for replicate=True")
        super().__init__(
            self._flows[0],
            self.num_thread,
            ordered=ordered,
            buffer_size=self.num_prefetch,
            on_error=on_error,
        )
        self.replicate = replicate
        self._replicas = self.num_thread if replicate else 0

    def _replica(self, number: int) -> Any:
        return self._flows[number]

    def _length(self) -> int:
        return sum(map(len, self._flows))

    def _worker_count(self, fragment: Fragment) -> int:
        return len(self._flows) if fragment.sequential else 1

    def _threads(self, fragment: Fragment) -> int:
        return 1 if fragment.sequential else super()._threads(fragment)

    def close(self) -> None:
        super().close()
        for flow in self._flows[1:]:
            if callable(close := getattr(flow, "close", None)):
                close()


class PrefetchDataZMQ(Runner):
    """Runs the chain upstream in worker processes; each datapoint comes exactly once an epoch.

    The source's keys stay here; loading and the per-item stages go to the workers, arrays come
    back through shared memory. Scripts need no ``if __name__ == "__main__"`` guard, and lambdas
    and closures work. Threads or transfers of a runner further down count for each worker.

    Args:
        ds: the chain; a flow of tensorpack's will do.
        num_proc: worker processes.
        hwm: datapoints that may wait to be delivered, an upper bound; None: 50, or two batches
            where a stage further down the chain takes more than that, and at most an eighth of the
            memory. Of datapoints that are so cheap and small that messages would cost more than
            they do, some hundred more may be under way: about 2 ms of work and 64 kB a lease, and
            two leases a process.
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
        init: a function that is called in each process as it starts, where the root logger's level
            and handlers, the filters of warnings and `numpy.seterr` are as they are here.

    A datapoint that was in progress as its process died runs again with nothing else beside it. If
    two processes more die over it, `on_error` gets a `PoisonedDatapoint`.

    Raises:
        WorkerDied: (from the iterator) beyond `max_restarts`.
    """

    _elsewhere = True
    _sends_ops = True
    _whole = True
    _sendable: tuple[Any, bool] | None = None  # a flow, and whether it can be sent

    @renamed(nr_proc="num_proc")
    def __init__(
        self,
        ds: Any,
        num_proc: int = 1,
        hwm: int | None = None,
        *,
        ordered: bool | None = None,
        buffer_size: int | None = None,
        on_error: OnError = "raise",
        replicate: bool = False,
        task_timeout: float | None = None,
        max_restarts: int = 3,
        init: Callable[[], object] | None = None,
    ) -> None:
        buffer_size = hwm if buffer_size is None else buffer_size
        super().__init__(
            ds, RunnerOptions(ordered, buffer_size, on_error, max_restarts, task_timeout, init)
        )
        self.num_proc = whole_number("num_proc", num_proc, 1)
        self.replicate = replicate
        self._replicas = self.num_proc if replicate else 0

    def _length(self) -> int:
        return len(self.ds) * (self.num_proc if self.replicate else 1)

    @property
    def _single(self) -> bool:  # type: ignore[override]
        return self.num_proc == 1 and self._policy.on_error == "raise"

    def _sends(self, flow: Any, source: Any) -> bool:
        if self._sendable is None or self._sendable[0] is not flow:
            why = why_not_sent(FlowLoader(flow))
            self._sendable = (flow, why is None)
            if why is not None:
                logger.warning(
                    "%s stays in this process, which reads it while the loop waits: %s",
                    type(source).__name__,
                    why,
                )
        return self._sendable[1]

    def _reads_here(self, source: Any) -> None:
        if self._told or self.num_proc == 1:  # of a single one `_sends` told why
            return
        self._told = True
        logger.info(  # it is as it should be where the source is light and the stages are dear
            "%s can only be iterated, so this process reads it for %d worker processes, while the "
            "loop waits. PrefetchDataZMQ(ds, 1) reads it in a worker, with the stages on it",
            type(source).__name__,
            self.num_proc,
        )

    def _worker_count(self, fragment: Fragment) -> int:
        return 1 if fragment.sequential and not self.replicate else self.num_proc

    def _start_executor(self, fragment: Fragment, buffer: int) -> Executor:
        threads = self._threads(fragment)
        waiting = -(-buffer // self._worker_count(fragment))
        slots = slots_of(threads, waiting)
        return start_processes(fragment, threads, slots, init=self._options.init)


class MultiProcessRunner(PrefetchDataZMQ):
    """`PrefetchDataZMQ` with its arguments in another order.

    Args:
        ds: the chain.
        num_prefetch: datapoints that may wait to be delivered, as `hwm` there.
        num_proc: worker processes.
        ordered: as there, like the following.
        on_error: what becomes of a datapoint whose stage raised.
        replicate: run the whole flow independently in each process.
        task_timeout: seconds that a datapoint may keep a worker process.
        max_restarts: processes that may die without anything getting done in between.
        init: a function that is called in each process as it starts.
    """

    @renamed(nr_prefetch="num_prefetch", nr_proc="num_proc")
    def __init__(
        self,
        ds: Any,
        num_prefetch: int,
        num_proc: int,
        *,
        ordered: bool | None = None,
        on_error: OnError = "raise",
        replicate: bool = False,
        task_timeout: float | None = None,
        max_restarts: int = 3,
        init: Callable[[], object] | None = None,
    ) -> None:
        self.num_prefetch = whole_number("num_prefetch", num_prefetch, 1)
        super().__init__(
            ds,
            num_proc,
            self.num_prefetch,
            ordered=ordered,
            on_error=on_error,
            replicate=replicate,
            task_timeout=task_timeout,
            max_restarts=max_restarts,
            init=init,
        )


def slots_of(threads: int, waiting: int) -> int:
    """Messages that a process may have under way: in the making, being written, or waiting."""
    return min(4 + threads + waiting, 256)


def start_processes(
    fragment: Fragment,
    threads: int,
    slots: int,
    numbers: Iterator[int] | None = None,
    init: Callable[[], object] | None = None,
) -> ProcessExecutor:
    """What starts worker processes of this machine for a part."""
    from dataflow.executor.process import ProcessExecutor  # ZeroMQ, for those who use it

    fragment.leave_to_workers()
    return ProcessExecutor(
        module="dataflow.engine.process",
        chains=fragment.packed(),
        threads=threads,
        slots_each=slots,
        numbers=numbers,
        init=init,
    )


# tensorpack's other names.
MultiProcessRunnerZMQ = PrefetchDataZMQ
PrefetchData = MultiProcessPrefetchData = MultiProcessRunner
MultiThreadPrefetchData = MultiThreadRunner
