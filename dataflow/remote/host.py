"""The worker's side of a pool: processes of this machine that work for trainers on others.

The exchange's thread talks to the trainers. Each part of the chain has a bench: a thread with the
processes that work at it, which are the same as those of `PrefetchDataZMQ`. Their deaths, and what
they had in hand, are told to the trainer, who decides what becomes of the datapoints.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from dataflow.codec import wire
from dataflow.codec.wire import Kind, Message
from dataflow.engine.messages import RECALL, Failed, Report
from dataflow.engine.options import RunnerOptions
from dataflow.engine.runner import Runner
from dataflow.engine.runners import start_processes
from dataflow.errors import PeerError
from dataflow.executor.events import Died, Event, Reported, Started
from dataflow.node import walk
from dataflow.plan.fragment import Fragment
from dataflow.plan.planner import fragments_of_pool
from dataflow.remote.forms import Sent, pack_held, pack_report, read_lease
from dataflow.remote.program import Program
from dataflow.remote.runner import PrefetchDataRemote
from dataflow.transport.bell import Bell
from dataflow.transport.link import Link

if TYPE_CHECKING:  # it imports ZeroMQ
    from dataflow.executor.process import ProcessExecutor

__all__ = ["Host"]

logger = logging.getLogger(__name__)

_PROGRESS_SECONDS = 0.25  # between two words about what is in hand
_MOST_SLOTS = 64


@dataclass
class Tally:
    """What was done so far.

    Attributes:
        datapoints: that were made.
        bytes: that were sent.
        failures: datapoints that failed, here.
        restarts: processes that died.
    """

    datapoints: int = 0
    bytes: int = 0
    failures: int = 0
    restarts: int = 0


@dataclass(eq=False)
class _Served:
    """What is done for the trainer at one address.

    Attributes:
        link: to it; None: there is none now.
        benches: by part. They outlive a connection, and mostly a trainer.
        outgoing: what it is to be sent.
        finished: it had no more work.
    """

    link: Link | None = None
    benches: dict[int, _Bench] = field(default_factory=dict)
    outgoing: deque[Sent] = field(default_factory=deque)
    finished: bool = False


class Host:
    """The worker's `Party`.

    It works for the trainers at all its addresses together, for each with processes of its own.

    Args:
        flow: the chain; where there is a `PrefetchDataRemote` in it, the chain upstream of that.
        procs: processes for each part.
        threads: in each of them; None: as many as the chain says.
        limit: bytes of a message, at most.
        places: how many addresses there are.
        stay: wait for the next trainer when one has finished.
        different: its code may differ from the trainer's.

    Attributes:
        wake: makes the exchange's thread look here.
        tally: what was done.
        ended: set when it is over: the trainers have finished, or something makes it impossible.
        error: what does.
    """

    role = "worker"
    partner = "trainer"

    def __init__(
        self,
        flow: Any,
        *,
        procs: int,
        threads: int | None,
        limit: int,
        places: int = 1,
        stay: bool = False,
        different: bool = False,
    ) -> None:
        for one in walk(flow):
            if isinstance(one, PrefetchDataRemote):
                flow = one.ds
                break
        runner = Runner(flow, RunnerOptions())
        self._program = Program.of(flow, lenient=different)
        self._parts = fragments_of_pool(runner)
        self._procs = procs
        self._threads = threads
        self._limit = limit
        self._stay = stay
        self._served = [_Served() for _ in range(places)]
        self._ending: list[_Bench] = []
        self.wake: Callable[[], None] = lambda: None
        self.tally = Tally()
        self.ended = threading.Event()
        self.error: BaseException | None = None

    @property
    def workers(self) -> int:
        """How many processes are up."""
        benches = [bench for served in self._served for bench in list(served.benches.values())]
        return sum(len(bench.up) for bench in benches)

    @property
    def trainers(self) -> list[str]:
        """Those that it works for now, for a person."""
        links = [served.link for served in self._served]
        return [link.name for link in links if link is not None]

    def close(self) -> None:
        """End all processes. Called when the exchange has stopped."""
        for served in self._served:
            self._end_all(served)
        for bench in self._ending:
            bench.join()

    # -- the benches' threads ----------------------------------------------------------------

    def start_executor(self, fragment: Fragment, threads: int, slots: int) -> ProcessExecutor:
        """What starts the processes that work at a part."""
        return start_processes(fragment, threads, slots)

    def say(self, served: _Served, sent: Sent) -> None:
        """Send a message to a trainer, if it is there."""
        served.outgoing.append(sent)
        self.wake()

    def give_up(self, error: BaseException) -> None:
        """It cannot go on."""
        self.error = self.error or error
        self.ended.set()

    # -- the exchange's thread ---------------------------------------------------------------

    def joined(self, link: Link) -> None:
        served = self._served[link.place]
        served.outgoing.clear()
        served.link, served.finished = link, False
        fields = {"procs": self._procs, "threads": self._threads or 0}
        link.send(wire.pack(Kind.JOIN, **self._program.said(), **fields))
        logger.info("works for %s", link.name)

    def left(self, link: Link) -> None:
        served = self._served[link.place]
        if link is served.link:
            served.link = None
            for bench in served.benches.values():
                bench.ask(("forget",))

    def received(self, link: Link, message: Message, frames: list[Any]) -> None:
        fields = message.fields
        served = self._served[link.place]
        part = fields.get("part", 0)
        if message.kind is Kind.LEAVE:
            logger.info("%s has no more work: %s", link.name, fields["reason"])
            self._end_all(served)
            served.finished = True
            if not self._stay and all(one.finished for one in self._served):
                self.ended.set()
        elif message.kind is Kind.START:
            self._start(served, part, fields)
        elif (bench := served.benches.get(part)) is None:
            return  # stopped meanwhile
        elif message.kind is Kind.STOP:
            self._end(served, part)
        elif message.kind is Kind.LEASE:
            lease = read_lease(fields, frames, len(self._parts[part].chains))
            bench.ask((fields["worker"], lease))
        elif message.kind is Kind.RECALL:
            bench.ask((fields["worker"], RECALL))
        elif message.kind is Kind.KILL:
            bench.ask(("kill", fields["worker"]))

    def _start(self, served: _Served, number: int, fields: dict[str, Any]) -> None:
        if number >= len(self._parts):
            raise PeerError(f"the trainer runs part {number}; there are {len(self._parts)} here")
        bench = served.benches.get(number)
        if bench is not None:
            bench.ask(("present",))
            return
        part = self._parts[number]
        threads = self._threads or max(1, min(fields["hands"], 1024))
        slots = max(4, min(fields["slots"], _MOST_SLOTS))
        served.benches[number] = _Bench(
            self, served, number, part, self._procs, threads, slots, self._limit
        )

    def _end_all(self, served: _Served) -> None:
        for number in list(served.benches):
            self._end(served, number)

    def _end(self, served: _Served, number: int) -> None:
        bench = served.benches.pop(number)
        bench.stop()
        self._ending = [one for one in self._ending if one.alive] + [bench]

    def tick(self, now: float) -> float:
        for served in self._served:
            while served.outgoing:
                head, frames = served.outgoing.popleft()
                if served.link is not None:
                    served.link.send(head, frames)
        return 1.0

    def refused(self, error: PeerError) -> None:
        self.give_up(error)

    def failed(self, error: BaseException) -> None:
        self.give_up(error)

    def closing(self) -> None:
        self.tick(0.0)
        text = f"{type(self.error).__name__}: {self.error}" if self.error else "it was stopped"
        for served in self._served:
            if served.link is not None:
                served.link.send(wire.pack(Kind.LEAVE, reason=wire.printable(text)))


class _Bench:
    """A thread with the processes that work at one part.

    Args:
        host: takes what is to be sent.
        served: whom for.
        number: the part's.
        part: what they run.
        procs: how many.
        threads: in each.
        slots: messages that each may have under way.
        limit: bytes of a message, at most.
    """

    def __init__(
        self,
        host: Host,
        served: _Served,
        number: int,
        fragment: Fragment,
        procs: int,
        threads: int,
        slots: int,
        limit: int,
    ) -> None:
        self._host = host
        self._served = served
        self._number = number
        self._fragment = fragment
        self._procs = procs
        self._threads_each = threads
        self._slots = slots
        self._limit = limit
        self._asked: deque[tuple[Any, ...]] = deque()
        self._bell = Bell()
        self._stopped = False
        self._told = 0.0
        self.up: dict[int, int] = {}
        self._holding: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="dataflow-bench", daemon=True)
        self._thread.start()

    def ask(self, command: tuple[Any, ...]) -> None:
        """What to do next; any thread may call this."""
        self._asked.append(command)
        self._bell.ring()

    def stop(self) -> None:
        """End the processes."""
        self._stopped = True
        self._bell.ring()

    @property
    def alive(self) -> bool:
        """Whether there are processes."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait until they have ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            executor = self._executor = self._host.start_executor(
                self._fragment, self._threads_each, self._slots
            )
            try:
                executor.listen(self._bell.ear)
                for _ in range(self._procs):
                    executor.start()
                while not self._stopped:
                    for event in executor.poll(_PROGRESS_SECONDS):
                        self._take(event)
                    self._bell.quiet()
                    while self._asked:
                        self._do(*self._asked.popleft())
                    self._tell_progress()
            finally:
                executor.close()
        except BaseException as error:  # whoever started this waits for it
            self._host.give_up(error)
        finally:
            self._bell.close()

    def _do(self, what: Any, *rest: Any) -> None:
        executor = self._executor
        if what == "present":
            for worker in executor.ready:
                self._present(worker)
        elif what == "forget":  # what they have is others' now
            for worker in executor.workers:
                executor.send(worker, RECALL)
        elif what == "kill":
            if rest[0] in executor.workers:
                executor.kill(rest[0])
        elif what in executor.workers:
            executor.send(what, rest[0])

    def _take(self, event: Event) -> None:
        if isinstance(event, Started):
            self._present(event.worker)
        elif isinstance(event, Reported):
            if isinstance(event.report, Failed):  # it could not even start
                raise event.report.exception()
            self._report(event.worker, event.report)
        elif isinstance(event, Died):
            self.up.pop(event.worker, None)
            self._host.tally.restarts += 1
            logger.warning(
                "worker process %d ended with status %d; another one takes its place",
                event.pid,
                event.status,
            )
            held = pack_held(event.in_progress)
            self._say(Kind.DOWN, event.worker, status=event.status, held=held)
            self._executor.start()

    def _present(self, worker: int) -> None:
        self.up[worker] = pid = self._executor.pid_of(worker)
        self._say(Kind.UP, worker, hands=self._threads_each, pid=pid)

    def _report(self, worker: int, report: Report) -> None:
        tally = self._host.tally
        tally.datapoints += report.items
        for run in report.results:
            tally.failures += sum(isinstance(outcome, Failed) for outcome in run.outcomes)
        for sent in pack_report(self._number, worker, report, self._limit):
            tally.bytes += len(sent[0]) + sum(getattr(f, "nbytes", len(f)) for f in sent[1])
            self._host.say(self._served, sent)

    def _tell_progress(self) -> None:
        """What the processes are at, for the trainer's `task_timeout`."""
        now = monotonic()
        if now - self._told < _PROGRESS_SECONDS:
            return
        self._told = now
        for worker in self.up:
            held = self._executor.in_progress(worker)
            if held or worker in self._holding:
                self._say(Kind.HANDS, worker, held=pack_held(held))
            (self._holding.add if held else self._holding.discard)(worker)

    def _say(self, kind: Kind, worker: int, **fields: Any) -> None:
        head = wire.pack(kind, part=self._number, worker=worker, **fields)
        self._host.say(self._served, (head, []))
