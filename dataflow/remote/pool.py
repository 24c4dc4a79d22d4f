"""The trainer's side of a pool: knows the machines that work for it, and passes on what they say.

The exchange's thread reads what comes and puts it into the queues of the parts; the loop's thread
takes it from there and gives the exchange's thread what is to be sent.

A machine whose connection breaks is gone, with all that it had: those are leased to others at
once, and when it is back it begins anew. So nobody has to agree on what had arrived. What it says
of older leases is not listened to.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from dataflow.codec import wire
from dataflow.codec.tensor import bad, size_of
from dataflow.codec.wire import Kind, Message
from dataflow.engine.messages import Failed, Lease
from dataflow.errors import PeerError
from dataflow.executor.events import Died, Event, Left, Reported, Started
from dataflow.remote.forms import Sent, held_of, pack_lease, read_report
from dataflow.remote.program import Program
from dataflow.transport.bell import Bell
from dataflow.transport.in_progress import Held
from dataflow.transport.link import Link

__all__ = ["Pool"]

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Worker:
    """A worker process of a machine.

    Attributes:
        number: by which the loop knows it.
        part: what it works at.
        pid: of the process.
        leases: those that it has, by number, with the tasks of each that are awaited.
        held: what it had in hand when it was last told, and when that was.
    """

    number: int
    part: int
    pid: int
    leases: dict[int, int] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    told: float = 0.0


@dataclass(eq=False)
class _Machine:
    """What has joined.

    Attributes:
        link: the connection.
        workers: by (part, number there).
        datapoints: that it has made.
        failures: of these, the ones that failed.
        bytes: that came from it.
        cpu: seconds of its processors.
    """

    link: Link
    since: float
    versions: dict[str, str] = field(default_factory=dict)
    workers: dict[tuple[int, int], _Worker] = field(default_factory=dict)
    datapoints: int = 0
    failures: int = 0
    bytes: int = 0
    cpu: float = 0.0


@dataclass(eq=False)
class _Part:
    """A part of the chain that is being run."""

    hands: int
    slots: int
    stages: list[int]
    events: deque[tuple[Event, int]] | None = None
    bell: Bell | None = None


class Pool:
    """The trainer's `Party`.

    Args:
        program: what is run.
        limit: bytes of a message, at most.
        numbers: of workers.

    Attributes:
        wake: makes the exchange's thread look here.
    """

    role = "trainer"
    partner = "worker"

    def __init__(self, program: Program, limit: int, numbers: Iterator[int]) -> None:
        self._program = program
        self._limit = limit
        self._numbers = numbers
        self._lock = threading.RLock()
        self._machines: dict[Link, _Machine] = {}
        self._parts: dict[int, _Part] = {}
        self._homes: dict[int, tuple[_Machine, int, _Worker]] = {}
        self._outgoing: deque[tuple[Link, Sent]] = deque()
        self._failure: BaseException | None = None
        self.wake: Callable[[], None] = lambda: None

    # -- the loop's thread -------------------------------------------------------------------

    def describe(self, part: int, hands: int, slots: int, stages: Sequence[int]) -> None:
        """What workers need to know of a part, before it is opened."""
        with self._lock:
            self._parts[part] = _Part(hands, slots, list(stages))

    def open(self, part: int, events: deque[tuple[Event, int]], bell: Bell) -> None:
        """Have a part worked at; what happens goes into `events`."""
        with self._lock:
            known = self._parts[part]
            known.events, known.bell = events, bell
            for machine in self._machines.values():
                self._post(machine.link, self._start(part, known))

    def release(self, part: int) -> None:
        """Nobody works at a part any more."""
        with self._lock:
            known = self._parts.pop(part)
            known.events = known.bell = None
            for machine in self._machines.values():
                self._post(machine.link, (wire.pack(Kind.STOP, part=part), []))
                for key in [key for key in machine.workers if key[0] == part]:
                    self._homes.pop(machine.workers.pop(key).number)

    def send(self, part: int, number: int, message: Lease | str) -> int:
        """Hand a lease to a worker, or ask it to give back what it has not begun.

        Returns:
            How many bytes that were.
        """
        with self._lock:
            home = self._homes.get(number)
        if home is None:
            return 0  # it has just left, which will be told
        machine, there, worker = home
        if not isinstance(message, Lease):
            self._post(machine.link, (wire.pack(Kind.RECALL, part=part, worker=there), []))
            return 0
        sent = pack_lease(part, there, message, min(self._limit, machine.link.limit))
        with self._lock:
            worker.leases[message.number] = len(message.tasks)
            self._post(machine.link, sent)
        return len(sent[0]) + sum(map(size_of, sent[1]))

    def check(self) -> None:
        """Raise what ended the exchange's thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def kill(self, part: int, number: int) -> None:
        """End a worker process."""
        with self._lock:
            if (home := self._homes.get(number)) is not None:
                message = wire.pack(Kind.KILL, part=part, worker=home[1])
                self._post(home[0].link, (message, []))

    def in_progress(self, number: int) -> list[Held]:
        """What a worker's hands are at, as far as it was told."""
        with self._lock:
            if (home := self._homes.get(number)) is None:
                return []
            worker = home[2]
            since = monotonic() - worker.told
            return [held._replace(seconds=held.seconds + since) for held in worker.held]

    def peers(self) -> list[dict[str, Any]]:
        """The machines, for `stats`."""
        now = monotonic()
        with self._lock:
            return [
                {
                    "name": machine.link.name,
                    "versions": dict(machine.versions),
                    "heard": now - machine.link.heard,
                    "workers": len(machine.workers),
                    "datapoints": machine.datapoints,
                    "failures": machine.failures,
                    "rate": machine.datapoints / max(1e-9, now - machine.since),
                    "bytes": machine.bytes,
                    "link": machine.bytes / max(1e-9, now - machine.since),
                    "cpu": machine.cpu,
                    "leases": sum(len(worker.leases) for worker in machine.workers.values()),
                    "outstanding": sum(
                        sum(worker.leases.values()) for worker in machine.workers.values()
                    ),
                }
                for machine in self._machines.values()
            ]

    # -- the exchange's thread ---------------------------------------------------------------

    def joined(self, link: Link) -> None:
        """Nothing yet: the machine has to say what it can do."""

    def left(self, link: Link) -> None:
        self._part_with(link, "its connection broke")

    def received(self, link: Link, message: Message, frames: list[Any]) -> None:
        with self._lock:
            if message.kind is Kind.JOIN:
                self._join(link, message.fields)
            elif (machine := self._machines.get(link)) is None:
                bad("kind", f"{message.kind.name} before JOIN")
            elif message.kind is Kind.LEAVE:
                self._part_with(link, message.fields["reason"], orderly=True)
            else:
                self._heed(machine, message, frames)

    def tick(self, now: float) -> float:
        while self._outgoing:
            link, (head, frames) = self._outgoing.popleft()
            link.send(head, frames)
        return 1.0

    def refused(self, error: PeerError) -> None:
        """A machine does not want us; there are others."""

    def failed(self, error: BaseException) -> None:
        with self._lock:
            self._failure = error
            for part in self._parts.values():
                if part.bell is not None:
                    part.bell.ring()

    def closing(self) -> None:
        self.tick(0.0)
        for link in self._machines:
            link.send(wire.pack(Kind.LEAVE, reason="the trainer has finished"))

    def _join(self, link: Link, fields: dict[str, Any]) -> None:
        self._program.check(link.name, fields)
        self._machines[link] = _Machine(link, monotonic(), dict(fields.get("versions") or {}))
        text = f"{fields['procs']} process{'es'[: 2 * (fields['procs'] != 1)]}"
        logger.info("%s works here with %s", link.name, text)
        for number, part in self._parts.items():
            if part.events is not None:
                link.send(*self._start(number, part))

    def _heed(self, machine: _Machine, message: Message, frames: list[Any]) -> None:
        fields = message.fields
        part = self._parts.get(fields.get("part", -1))
        if part is None or part.events is None:
            return  # its end is on its way there
        key = fields["part"], fields["worker"]
        worker = machine.workers.get(key)
        if message.kind is Kind.UP:
            if worker is not None:
                return  # it came up just before the machine was told to begin, and was shown twice
            worker = _Worker(next(self._numbers), fields["part"], fields["pid"])
            machine.workers[key] = worker
            self._homes[worker.number] = machine, fields["worker"], worker
            self._tell(part, Started(worker.number, max(1, fields["hands"])))
        elif worker is None:
            return  # of before
        elif message.kind is Kind.REPORT:
            self._report(machine, part, worker, fields, frames)
        elif message.kind is Kind.HANDS:
            worker.held, worker.told = held_of(fields["held"]), monotonic()
        elif message.kind is Kind.DOWN:
            held = [one for one in held_of(fields["held"]) if one.lease in worker.leases]
            where = machine.link.name
            self._tell(part, Died(worker.number, worker.pid, fields["status"], held, where))
            del machine.workers[key], self._homes[worker.number]
        else:
            bad("kind", f"{message.kind.name} to a trainer")

    def _report(
        self,
        machine: _Machine,
        part: _Part,
        worker: _Worker,
        fields: dict[str, Any],
        frames: list[Any],
    ) -> None:
        report = read_report(fields, frames, part.stages)
        # Only what it was given counts: others' leases, and its own of an earlier life, do not.
        report.results = [run for run in report.results if run.lease in worker.leases]
        report.returned = [pair for pair in report.returned if pair[0] in worker.leases]
        for lease, count in [
            *((run.lease, len(run.outcomes)) for run in report.results),
            *((lease, 1) for lease, _ in report.returned),
        ]:
            if lease in worker.leases:
                worker.leases[lease] -= count
                if worker.leases[lease] <= 0:
                    del worker.leases[lease]
        size = sum(memoryview(frame).nbytes for frame in frames)
        machine.datapoints += report.items
        machine.failures += sum(
            isinstance(outcome, Failed) for run in report.results for outcome in run.outcomes
        )
        machine.bytes += size
        machine.cpu += report.cpu
        report.cpu = 0.0  # is not of this machine's processors
        self._tell(part, Reported(worker.number, report), size)

    def _part_with(self, link: Link, why: str, *, orderly: bool = False) -> None:
        with self._lock:
            machine = self._machines.pop(link, None)
            if machine is None:
                return
            had = sum(sum(worker.leases.values()) for worker in machine.workers.values())
            level = logging.INFO if orderly else logging.WARNING
            text = "%s does not work here any more: %s; the %d datapoints that it had go to others"
            logger.log(level, text, link.name, why, had)
            for worker in machine.workers.values():
                del self._homes[worker.number]
                self._tell(self._parts[worker.part], Left(worker.number))

    def _tell(self, part: _Part, event: Event, size: int = 0) -> None:
        if part.events is not None and part.bell is not None:
            part.events.append((event, size))
            part.bell.ring()

    def _start(self, number: int, part: _Part) -> Sent:
        return wire.pack(Kind.START, part=number, hands=part.hands, slots=part.slots), []

    def _post(self, link: Link, sent: Sent) -> None:
        self._outgoing.append((link, sent))
        self.wake()
