"""Workers that are processes of this machine."""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import zmq

import dataflow
from dataflow.errors import DataFlowTerminated
from dataflow.executor.events import Died, Event, Reported, Started
from dataflow.executor.surroundings import surroundings
from dataflow.transport.bell import Bell
from dataflow.transport.in_progress import Held, InProgress
from dataflow.transport.ipc import HELLO, WELCOME, ConsumerEnd
from dataflow.transport.slots import SlotReader, slot_bytes

__all__ = ["ProcessExecutor"]

logger = logging.getLogger(__name__)

_PATIENCE = 0.5
# Between two looks for dead workers, while others have something to say.
_LOOK_SECONDS = 0.05
# A pipeline's parallelism is its processes: libraries in them must not start threads of their own.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


# As ``python -m`` would run it, but nothing is imported from the folder that the program happens
# to be started in: there may be a `pickle.py`.
_PROGRAM = (
    "import sys; sys.path[:1] = [p for p in sys.path[:1] if p]; import importlib; "
    "importlib.import_module(sys.argv.pop(1)).main()"
)


class ProcessExecutor:
    """Starts worker processes, talks to them, notices when they die, and ends them.

    Args:
        module: whose `main` a worker runs.
        chains: its op chains, pickled.
        threads: in each worker.
        slots_each: messages with arrays that a worker can have under way.
        numbers: of the workers, where others have some of them.
        init: is called in each worker, before anything is unpickled there.
    """

    def __init__(
        self,
        *,
        module: str,
        chains: bytes,
        threads: int,
        slots_each: int,
        numbers: Iterator[int] | None = None,
        init: Callable[[], object] | None = None,
    ) -> None:
        _occupy_standard_descriptors()
        self._module = module
        self._slots = slots_each
        self._slot_bytes = slot_bytes(slots_each)
        self._threads = threads
        self._environ = dict.fromkeys(_ONE_THREAD, "1") | dict(os.environ)
        self._setup = tempfile.TemporaryFile(prefix="dataflow-")  # noqa: SIM115 - lives as long as self
        setup = {
            "path": sys.path,
            "argv": sys.argv,
            "environ": self._environ,
            "surroundings": surroundings(init),
            "chains": chains,
            "slots": slots_each,
            "slot_bytes": self._slot_bytes,
            "threads": threads,
        }
        pickle.dump(setup, self._setup)
        self._setup.flush()
        # Workers hold the reading end; when the writing end is closed, by us or by death, they end.
        self._control_read, self._control = os.pipe()
        self._end = ConsumerEnd()
        self.traffic = self._end.traffic
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._pidfds: dict[int, int] = {}
        self._in_progress: dict[int, InProgress] = {}
        self._numbers = count() if numbers is None else numbers
        self.workers: list[int] = []
        self.guests: set[int] = set()
        self.hesitant = False
        self.distance = 0.0
        self.ready: set[int] = set()
        self._next_look = 0.0
        self._poller = zmq.Poller()
        self._poller.register(self._end.results, zmq.POLLIN)
        self.interrupted = False
        self._bell = Bell()
        self._poller.register(self._bell.ear, zmq.POLLIN)
        self._spawner = _Spawner()
        # Not a bound method: the finalizer must not keep alive what it waits for.
        self._finalizer = weakref.finalize(
            self,
            _shut_down,
            os.getpid(),
            self._control,
            self._processes,
            self._pidfds,
            self._end,
            self._setup,
            self._control_read,
            self._spawner,
            self._bell,
        )

    def start(self) -> int:
        number = next(self._numbers)
        reader = self._shared_memory()
        folder = self._end.add(number, reader)
        memory = reader.fd if reader is not None else -1
        progress_fd = InProgress.file(self._threads)
        fds = [self._setup.fileno(), self._control_read, memory, progress_fd]
        command = [
            *(sys.executable, *subprocess._args_from_interpreter_flags()),  # type: ignore[attr-defined]
            *("-c", _PROGRAM, self._module, *map(str, fds), str(number), folder, str(os.getpid())),
        ]
        # The package may be importable only through the parent's sys.path.
        root = str(Path(dataflow.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        process = self._spawner.run(
            partial(  # type: ignore[arg-type]
                subprocess.Popen,
                command,
                pass_fds=[fd for fd in fds if fd >= 0],
                stdin=subprocess.DEVNULL,
                env=self._environ | {"PYTHONPATH": path},
            )
        )
        self._in_progress[number] = InProgress(self._threads, progress_fd)
        self._processes[number] = process
        # A pid can be used again, a pidfd cannot; and it can be waited for with the sockets.
        if hasattr(os, "pidfd_open"):
            pidfd = os.pidfd_open(process.pid)
            self._pidfds[number] = pidfd
            self._poller.register(pidfd, zmq.POLLIN)
        self.workers.append(number)
        return number

    def _shared_memory(self) -> SlotReader | None:
        """Slots for one more worker; None where its arrays have to go through its socket."""
        if self._slot_bytes:
            try:
                return SlotReader(self._slots, self._slot_bytes)
            except OSError as error:
                self._slot_bytes = 0
                logger.warning(
                    "there is no room for shared memory (%s): arrays go through sockets, which "
                    "takes about three times as long. See ulimit -v and ulimit -f",
                    error,
                )
        return None

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def send(self, worker: int, lease: Any) -> None:
        self._end.send(worker, lease)

    def listen(self, ear: int) -> None:
        """Let `poll` return, too, when there is something to read from this file."""
        self._poller.register(ear, zmq.POLLIN)

    def pid_of(self, worker: int) -> int:
        """A worker's process id."""
        return self._processes[worker].pid

    def threads_of(self, worker: int) -> int:
        return self._threads

    def in_progress(self, worker: int) -> list[Held]:
        return self._in_progress[worker].held()

    def resident(self) -> int:
        return self._end.resident()

    def kill(self, worker: int) -> None:
        self._processes[worker].kill()

    def interrupt(self) -> None:
        self.interrupted = True
        self._bell.ring()

    def poll(self, timeout: float | None) -> list[Event]:
        self._bell.quiet()
        if self.interrupted:
            raise DataFlowTerminated("another thread ended the pass")
        self._end.flush()
        events = self._received()
        if events and time.monotonic() < self._next_look:
            return events
        self._next_look = time.monotonic() + _LOOK_SECONDS
        if events:
            timeout = 0
        if not self._pidfds:  # no pidfds on this system: look at the children now and then
            timeout = 0.1 if timeout is None else min(timeout, 0.1)
        self._poller.poll(None if timeout is None else math.ceil(timeout * 1000))
        events += self._received()
        # What a worker sent before it died counts, so deaths come last.
        for worker in list(self.workers):
            process = self._processes[worker]
            if process.poll() is not None:
                events += self._received()
                in_progress = self.in_progress(worker)
                events.append(Died(worker, process.pid, process.returncode, in_progress))
                self._forget(worker)
        return events

    def _received(self) -> list[Event]:
        events: list[Event] = []
        while (received := self._end.receive()) is not None:
            worker, message = received
            if message == HELLO:
                self._end.send(worker, WELCOME)
                self.ready.add(worker)
                events.append(Started(worker))
            else:
                events.append(Reported(worker, message))
        return events

    def _forget(self, worker: int) -> None:
        self.workers.remove(worker)
        self.ready.discard(worker)
        self._end.remove(worker)
        del self._processes[worker], self._in_progress[worker]
        if (pidfd := self._pidfds.pop(worker, None)) is not None:
            self._poller.unregister(pidfd)
            os.close(pidfd)

    def close(self) -> None:
        self._finalizer()
        self._in_progress.clear()
        self.workers.clear()
        self.ready.clear()


def _occupy_standard_descriptors() -> None:
    """Where standard input, say, is closed, files opened later would take its number.

    A worker's own standard input would then take the place of what it was to get.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _shut_down(
    owner: int,
    control: int,
    processes: dict[int, subprocess.Popen[bytes]],
    pidfds: dict[int, int],
    end: ConsumerEnd,
    setup: Any,
    control_read: int,
    spawner: _Spawner,
    bell: Bell,
) -> None:
    """End all workers at once, then let go of everything."""
    if os.getpid() != owner:
        return  # a forked child: the workers are its parent's
    os.close(control)
    for send in (None, signal.SIGTERM, signal.SIGKILL):
        if send is not None:
            for process in processes.values():
                process.send_signal(send)
                process.send_signal(signal.SIGCONT)  # a stopped process takes no SIGTERM
        if _all_ended(processes, _PATIENCE if send != signal.SIGKILL else 5.0):
            break
    for pidfd in pidfds.values():
        os.close(pidfd)
    end.close()
    os.close(control_read)
    setup.close()
    spawner.stop()
    bell.close()


def _all_ended(processes: dict[int, subprocess.Popen[bytes]], patience: float) -> bool:
    deadline = time.monotonic() + patience
    for process in processes.values():
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
    return True


class _Spawner:
    """A thread that starts processes, and lives as long as they may.

    The kernel's parent-death signal follows the thread that started a child, not the process: a
    worker started from a short-lived thread of the user's would die with it.
    """

    def __init__(self) -> None:
        self._requests: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=_serve, args=(self._requests,), name="dataflow-spawner", daemon=True
        )
        self._thread.start()

    def run(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        self._requests.put((start, future))
        return future.result()

    def stop(self) -> None:
        self._requests.put(None)
        self._thread.join(1.0)


def _serve(requests: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]) -> None:
    # Workers inherit this: Ctrl-C goes to the whole terminal, also while they start.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    while (request := requests.get()) is not None:
        start, future = request
        try:
            future.set_result(start())
        except BaseException as error:  # handed to whoever asked
            future.set_exception(error)
        del request, start, future  # while waiting, hold nothing of what was asked
