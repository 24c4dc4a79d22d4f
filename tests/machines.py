"""A machine of a pool within the process of the test: all but its worker processes are real."""

from __future__ import annotations

import select
from typing import Any

from patience import patient

from dataflow.engine.worker import Worker
from dataflow.executor.events import Event, Started
from dataflow.executor.thread import ThreadExecutor
from dataflow.plan.fragment import Fragment
from dataflow.remote.host import Host
from dataflow.remote.setup import MESSAGE_BYTES, options_of
from dataflow.transport.bell import Bell
from dataflow.transport.exchange import Exchange
from dataflow.transport.in_progress import InProgress

__all__ = ["Machine"]


class Machine:
    """Works for the trainer at `address`, until `close`.

    Args:
        flow: the chain, built anew.
        address: the trainer's.
    """

    def __init__(self, flow: Any, address: str) -> None:
        options = options_of(
            address,
            bind=False,
            keys=None,
            server_key=None,
            insecure=False,
            timeout=patient(5.0),
            max_message_bytes=MESSAGE_BYTES,
            max_peers=1,
        )
        self.host = _Host(flow, procs=1, threads=None, limit=options.limit)
        self._exchange = Exchange(options, self.host)
        self.host.wake = self._exchange.wake
        self._exchange.start()

    def close(self) -> None:
        self._exchange.stop()
        self.host.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Host(Host):
    """Its workers are threads, which cost next to nothing to start."""

    def start_executor(self, fragment: Fragment, threads: int, slots: int) -> Any:
        return _Crew(fragment, threads)


class _Crew(ThreadExecutor):
    """One worker of threads, as a bench sees its processes."""

    def __init__(self, fragment: Fragment, threads: int) -> None:
        self._bell = Bell()
        self._waiting = select.poll()
        self._waiting.register(self._bell.ear, select.POLLIN)
        self._told = False
        fragment.leave_to_workers()

        def make(emit: Any) -> Worker:
            def emit_and_ring(*report: Any) -> None:
                emit(*report)
                self._bell.ring()

            return Worker(fragment.for_workers(), emit_and_ring, InProgress(threads))

        super().__init__(make, threads)

    def listen(self, ear: int) -> None:
        self._waiting.register(ear, select.POLLIN)

    def start(self) -> int:
        return 0

    def pid_of(self, worker: int) -> int:
        return 1

    def poll(self, timeout: float | None) -> list[Event]:
        begun: list[Event] = [] if self._told else [Started(0)]
        self._told = True
        if not begun:
            self._waiting.poll(timeout * 1000)
        self._bell.quiet()
        return begun + super().poll(0)

    def close(self) -> None:
        super().close()
        self._bell.close()
