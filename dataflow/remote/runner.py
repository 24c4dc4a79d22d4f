"""The pool of workers on other machines, as a flow."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from dataflow.engine.options import RunnerOptions
from dataflow.engine.runner import Runner
from dataflow.engine.runners import slots_of, start_processes
from dataflow.errors import ConfigError
from dataflow.executor.events import Executor
from dataflow.failures import OnError
from dataflow.plan.fragment import Fragment
from dataflow.plan.planner import fragments_of_pool
from dataflow.remote.program import Program
from dataflow.remote.setup import POOL_BYTES, Notice, options_of
from dataflow.transport.options import Options
from dataflow.utils.spelling import renamed

__all__ = ["PrefetchDataRemote"]

logger = logging.getLogger(__name__)

_opening = threading.Lock()  # one may ask for the addresses while another one begins the loop


class PrefetchDataRemote(Runner):
    """Runs the chain upstream in worker processes of other machines; each datapoint comes once.

    On the other machines, ``dataflow worker package.module:function ADDRESS`` builds the same
    chain and works for whoever binds ADDRESS. Workers come and go at any time: what one had that
    is gone goes to others. Only keys go there and results come back, as arrays, numbers, text,
    bytes, None, and lists, tuples and dicts of these: no code, and no pickle.

    The chain there must be this one: stages, their plain arguments, the number of the source's
    datapoints (or none: keys come from here); and so must its functions and classes, with what of
    their own modules they use (see `dataflow.plan.code`). A worker with another one is refused, and
    told what differs. Equal bytes also take equal versions of the packages, of which a warning
    tells, and equal data.

    Everything else is as with `PrefetchDataZMQ`: order, states, seeds, errors, batches upstream.
    Only what is upstream goes to other machines, whatever runner is downstream.
    Without any worker it waits, and says so now and then.

    Args:
        ds: the chain.
        address: one or several of ``tcp://HOST:PORT`` and ``ipc://PATH``, to listen on. A port may
            be ``*``; see `addresses`.
        hwm: datapoints that may wait to be delivered, and that each worker process may hold;
            more where they are cheap and small.
        num_proc: processes of this machine that help.
        ordered: deliver in the source's order; None means: if a seed was set.
        buffer_size: the same as `hwm`, which it overrides.
        on_error: what becomes of a datapoint whose stage raised: ``"raise"``, ``"skip"``, or a
            function of error and datapoint that returns a replacement or None.
        task_timeout: seconds that a datapoint may keep a worker process.
        max_restarts: processes that may die without anything getting done in between. Machines
            that are cut off do not count.
        keys: folder of keys (see `dataflow.transport.keys`): connections are encrypted, and only
            allowed keys get in.
        insecure: listen without keys where other hosts can connect.
        timeout: a machine that is silent for half as many seconds is taken for gone.
        max_message_bytes: of a message; a datapoint may have three quarters of it.
        max_peers: how many machines at once.
        allow_different_code: take workers whose functions are not the same as here, with a warning.

    Raises:
        ConfigError: an argument makes no sense, or would let everybody in.
        WorkerDied: (from the iterator) beyond `max_restarts`.
    """

    _elsewhere = True
    _stays = True  # another runner downstream cannot have its machines

    @renamed(nr_proc="num_proc")
    def __init__(
        self,
        ds: Any,
        address: str | list[str],
        hwm: int | None = None,
        *,
        num_proc: int = 0,
        ordered: bool | None = None,
        buffer_size: int | None = None,
        on_error: OnError = "raise",
        task_timeout: float | None = None,
        max_restarts: int = 3,
        keys: str | Path | None = None,
        insecure: bool = False,
        timeout: float = 5.0,
        max_message_bytes: int = POOL_BYTES,
        max_peers: int = 256,
        allow_different_code: bool = False,
    ) -> None:
        buffer_size = hwm if buffer_size is None else buffer_size
        super().__init__(
            ds, RunnerOptions(ordered, buffer_size, on_error, max_restarts, task_timeout)
        )
        if num_proc < 0:
            raise ConfigError(f"num_proc={num_proc!r} must not be negative")
        self.num_proc = int(num_proc)
        self._listening = options_of(
            address,
            bind=True,
            keys=keys,
            server_key=None,
            insecure=insecure,
            timeout=timeout,
            max_message_bytes=max_message_bytes,
            max_peers=max_peers,
        )
        self.allow_different_code = allow_different_code
        self._end: _End | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, ports filled in. Listening begins at the latest now."""
        return self._opened().exchange.addresses

    def peers(self) -> list[dict[str, Any]]:
        """A row for each machine: ``name`` (host and process), ``versions`` of what it has, its
        ``workers``, the ``leases`` that they have and the datapoints ``outstanding`` in these;
        ``heard``, the seconds since it said anything; ``datapoints`` and ``bytes`` that came, and
        of the former ``failures``; ``rate`` in datapoints and ``link`` in bytes a second since it
        joined; seconds of ``cpu`` that they took there.
        """
        return [] if self._end is None else self._end.pool.peers()

    def close(self) -> None:
        super().close()
        if self._end is not None:
            self._listening = replace(self._listening, addresses=self._end.exchange.addresses)
            self._end = None
            self._finalizer()

    def _version(self, fragment: Fragment) -> Any:
        return fragment.version() if self.num_proc else super()._version(fragment)

    def _tell_of_change(self) -> None:
        if not self.peers():
            return
        logger.warning(
            "a stage was changed since the last epoch: the worker processes here have it anew, but "
            "those of other machines run it as their own program made it; start them again with "
            "the change, or make it an argument of the stage from the beginning"
        )

    def _workers_in_words(self, fragment: Fragment) -> str:
        helpers = f", and {super()._workers_in_words(fragment)} here" if self.num_proc else ""
        return f"worker processes of other machines{helpers}"

    def _worker_count(self, fragment: Fragment) -> int:
        return self.num_proc

    def _start_executor(self, fragment: Fragment, buffer: int) -> Executor:
        from dataflow.executor.remote import RemoteExecutor

        end = self._opened()
        fragment.leave_to_workers()
        flows = [_flows_of(one) for one in fragments_of_pool(self)]
        number = flows.index(_flows_of(fragment))
        threads, slots = self._threads(fragment), slots_of(self._threads(fragment), buffer)
        local = None
        if self.num_proc:
            local = start_processes(fragment, threads, slots, end.numbers)
        end.pool.describe(number, threads, slots, fragment.sent)
        return RemoteExecutor(end.pool, number, local, end.notice)

    def _stage_rows(self) -> list[dict[str, Any]]:
        rows = super()._stage_rows()
        for row in rows:
            row["peers"] = self.peers()
            exchange = None if self._end is None else self._end.exchange
            row["refused"] = {} if exchange is None else dict(exchange.refusals)
            row["turned_away"] = [] if exchange is None else list(exchange.turned_away)
        return rows

    def _opened(self) -> _End:
        with _opening:
            if self._end is None:
                program = Program.of(self.ds, lenient=self.allow_different_code)
                self._end = _End(self._listening, program)
                self._finalizer = weakref.finalize(self, self._end.exchange.stop)
            return self._end

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_end": None, "_finalizer": None}


def _flows_of(fragment: Fragment) -> set[int]:
    """Those whose work is done by workers; stages downstream of the pool are the consumer's."""
    return {
        id(flow) for (chain, stage), flow in fragment.owners.items() if stage < fragment.sent[chain]
    }


class _End:
    """The running part of it, which does not know the flow, so that this can be collected."""

    def __init__(self, options: Options, program: Program) -> None:
        from dataflow.executor.memory import keep_message_memory
        from dataflow.remote.pool import Pool
        from dataflow.transport.exchange import Exchange

        keep_message_memory()
        self.numbers: Iterator[int] = count()
        self.pool = Pool(program, options.limit, self.numbers)
        self.exchange = Exchange(options, self.pool)
        self.pool.wake = self.exchange.wake
        self.notice = Notice("worker", self.exchange.addresses, more=self.exchange.puzzle)
        self.exchange.start()
