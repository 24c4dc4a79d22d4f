"""The program of a worker process: ``python -m dataflow.engine.process FD …``.

It is started afresh, not forked: no lock or thread of the parent comes along, and a script needs
no ``if __name__ == "__main__"`` guard. None of its threads may end unnoticed: the consumer would
wait for ever, so where one fails, the process ends.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow.engine.messages import Report
    from dataflow.engine.outgoing import Spent
    from dataflow.engine.worker import Worker
    from dataflow.transport.ipc import WorkerEnd
    from dataflow.transport.slots import Block

__all__ = ["main", "this_worker"]

_PR_SET_PDEATHSIG = 1
_IDLE_MS = 1100

_number: int | None = None


def this_worker() -> int | None:
    """The number of the worker that this process is; None: it is none."""
    return _number


def main() -> None:
    """Set up as the parent was, then work until it closes the control pipe or dies."""
    global _number
    setup_fd, control_fd, memory_fd, hands_fd, worker_number = map(int, sys.argv[1:6])
    _number = worker_number
    folder, parent = sys.argv[6], int(sys.argv[7])
    welcomed, making = threading.Event(), threading.Lock()
    threading.Thread(
        target=_guard, args=(control_fd, parent, folder, welcomed, making), daemon=True
    ).start()
    # Ctrl-C goes to the whole terminal; the consumer decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # for what the user's code starts
    setup: dict[str, Any] = pickle.loads(os.pread(setup_fd, os.fstat(setup_fd).st_size, 0))
    os.close(setup_fd)
    # As in the parent, so that modules beside the user's script are found.
    sys.path[:] = setup["path"]
    sys.argv[:] = setup["argv"]
    os.environ.clear()
    os.environ.update(setup["environ"])

    from dataflow.engine.messages import Failed
    from dataflow.engine.outgoing import Spent
    from dataflow.engine.worker import Worker
    from dataflow.executor.memory import keep_freed_memory
    from dataflow.executor.surroundings import settle_in
    from dataflow.plan.tasks import LOADER
    from dataflow.transport.in_progress import InProgress
    from dataflow.transport.ipc import WorkerEnd
    from dataflow.transport.slots import SlotWriter

    keep_freed_memory()
    writer = None
    if memory_fd >= 0:
        with suppress(OSError):  # without room for it, arrays go through the socket
            writer = SlotWriter(memory_fd, setup["slots"], setup["slot_bytes"])
    with making:
        end = WorkerEnd(folder, worker_number, writer)
    worker: Worker | None = None
    threads: int = setup["threads"]
    try:
        # The user's modules are imported here, and the stages' reset_state is called.
        settle_in(setup["surroundings"])
        emit = partial(_send, end, Spent(end))
        worker = Worker(pickle.loads(setup["chains"]), emit, InProgress(threads, hands_fd), end)
    except BaseException as error:  # told to the consumer, which raises it
        problem = Failed.of(error, LOADER).sealed()
        threading.Thread(target=end.send, args=(problem,), daemon=True).start()
    if (cv2 := sys.modules.get("cv2")) is not None:
        threads_of_cv2 = os.environ.get("OPENCV_FOR_THREADS_NUM", "")
        cv2.setNumThreads(int(threads_of_cv2) if threads_of_cv2.isdecimal() else 1)
    gc.freeze()  # what was imported stays: no need to look through it again and again
    if worker is None:
        _listen(end, None, threads, control_fd, folder, welcomed)
        return
    listen = partial(_listen, end, worker, threads, control_fd, folder, welcomed)
    for helper in (listen, worker.watch, *[worker.work] * (threads - 1)):
        run = copy_context().run  # with the context of decimal numbers, say
        threading.Thread(target=run, args=(_to_the_end, helper), daemon=True).start()
    _to_the_end(worker.work)
    worker.close()


def _to_the_end(work: Callable[[], None]) -> None:
    """Work; where that fails, which is no datapoint's fault, the process ends."""
    try:
        work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _guard(
    control_fd: int, parent: int, folder: str, welcomed: threading.Event, making: threading.Lock
) -> None:
    """Until we are connected: if the parent dies, remove the folder where we were to meet."""
    poller = select.poll()
    poller.register(control_fd, select.POLLIN)
    while not welcomed.is_set():
        # A forked child of the parent may hide the pipe's end.
        if (poller.poll(200) or os.getppid() != parent) and not welcomed.is_set():
            making.acquire()  # for good: nobody makes it any more
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(1)


def _listen(
    end: WorkerEnd,
    worker: Worker | None,
    threads: int,
    control_fd: int,
    folder: str,
    welcomed: threading.Event,
) -> None:
    """Pass leases on to the threads; end when the control pipe closes."""
    import zmq

    from dataflow.transport.ipc import HELLO, SLOTS, WELCOME

    poller = zmq.Poller()
    poller.register(end.leases, zmq.POLLIN)
    poller.register(control_fd, zmq.POLLIN)
    idle = None  # milliseconds until memory may have had no use for long enough
    while control_fd not in (found := dict(poller.poll(idle))):
        idle = _IDLE_MS if found or end.trim() else None
        while (message := end.receive()) is not None:
            if message == HELLO:
                end.send(HELLO)
            elif message == WELCOME:
                shutil.rmtree(folder, ignore_errors=True)
                # From now on the kernel ends us with the parent, even if we are stopped then.
                if sys.platform == "linux":
                    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                welcomed.set()
            elif message != SLOTS and worker is not None:
                worker.take(message)
    if not welcomed.is_set():
        time.sleep(2)  # the guard ends this process, and is not to be overtaken by an orderly end
    if worker is not None:
        worker.stop(threads)
    # The parent sends signals where a thread does not end; without a parent we have to see to it.
    time.sleep(2)
    os._exit(1)


def _send(end: WorkerEnd, spent: Spent, report: Report, block: Block | None = None) -> None:
    """Send a report; a result that cannot be pickled becomes a failure of its own."""
    from dataflow.engine.messages import Outcomes, Report
    from dataflow.engine.outgoing import fit, seal
    from dataflow.transport.ipc import OversizeError

    spent.enter(report)
    seal(report)
    try:
        end.send(report, block, any_size=report.items < 2)
    except OversizeError:
        # Each part has room in a slot, and waits for a free one by itself.
        each = [
            Outcomes(lease, first + at, [one])
            for lease, first, outcomes in report.results
            for at, one in enumerate(outcomes)
        ]
        half = len(each) // 2
        report.results = each[:half]
        _send(end, spent, report)
        _send(end, spent, Report(each[half:]))
        if block is not None:  # they took their arrays from there
            end.drop(block)
    except Exception:  # pickling the user's objects raises anything; other faults come again below
        fit(report)
        end.send(report, block)


if __name__ == "__main__":
    main()
