"""The worker: takes leases, runs the loader and the stages, reports.

The same loop runs in threads of the consumer and in worker processes (`dataflow.engine.process`);
only the way in and out differs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from time import perf_counter, sleep
from typing import Any, NamedTuple

import numpy as np

from dataflow.chance import Chance
from dataflow.codec.flawed import Flawed
from dataflow.engine.apply import PENDING, OpExecutor, Raised
from dataflow.engine.counters import Counters
from dataflow.engine.messages import RECALL, Failed, Lease, Loose, Report, Whole
from dataflow.engine.partial_batch import BLOCK_BYTES, Blocks, PartialBatch, bytes_of
from dataflow.engine.results import Results
from dataflow.engine.unread import readable
from dataflow.epoch import DROPPED
from dataflow.node import reset
from dataflow.ownership import own
from dataflow.plan.ops import BatchChain, OpChain
from dataflow.plan.tasks import EXHAUSTED
from dataflow.randomness import place
from dataflow.stages.item import AsyncStage
from dataflow.transport.in_progress import InProgress, Untimed
from dataflow.transport.slots import Block

__all__ = ["Worker"]

# Results are gathered this long at most, so that cheap ones share a message.
_GATHER_SECONDS = 0.015
_GATHER_ITEMS = 512
_GATHER_ENOUGH = 64
_GATHER_BYTES = 4 << 20
_FEW = _GATHER_BYTES // BLOCK_BYTES  # in a message, where each is worth a place of its own
# How often the watcher looks, while a thread has something that could be kept waiting.
_WATCH_SECONDS = 0.008


class _Part(NamedTuple):
    """Tasks of a lease, those at `pending` not begun. Whoever takes an index out has the task."""

    lease: Lease
    pending: deque[int]


class _Arrived(NamedTuple):
    """An asynchronous stage is through with a datapoint."""

    lease: Lease | PartialBatch
    task: int
    stage: int
    result: Any


class Worker:
    """Runs chains for whoever sends leases.

    One or more threads call `work`, and one calls `watch`. Asynchronous stages occupy no thread.

    Args:
        chains: what to do, by the number in a task.
        emit: takes a `Report`, and the block that some of its arrays lie in; called by any thread.
        in_progress: where the threads write what they are at; it says how many they are.
        blocks: memory to build batches in, if that is not this process's own.
    """

    def __init__(
        self,
        chains: list[OpChain],
        emit: Callable[..., None],
        in_progress: InProgress | Untimed,
        blocks: Blocks | None = None,
    ) -> None:
        self.chains = chains
        # Asynchronous stages begin on the datapoint that their thread is at.
        self.begins = [chain.transfers > 0 for chain in chains]
        self.blocks = blocks
        self.emit = emit
        self.in_progress = in_progress
        self.todo: SimpleQueue[_Part | _Arrived | None] = SimpleQueue()
        # Set where a thread has something that must not wait for what else it does.
        self.watched = threading.Event()
        self.stopped = False
        self._threads: list[_Thread] = []
        self._joining = threading.Lock()
        self._float_errors = np.geterr()  # which each thread has its own of
        for chain in chains:
            for stage in chain.stages:
                reset(stage)

    def take(self, message: Lease | Flawed | str) -> None:
        """Accept a lease, or give back what was not begun; any thread may call this."""
        message = readable(message)
        if isinstance(message, Lease):
            self.todo.put(_Part(message, deque(range(len(message.tasks)))))
        else:
            assert message == RECALL, message
            self._give_back()

    def _give_back(self) -> None:
        """Report the tasks that no thread has begun as returned."""
        parts, others = [thread.part for thread in self._threads if thread.part is not None], []
        try:
            while True:
                unit = self.todo.get_nowait()
                if isinstance(unit, _Part):
                    parts.append(unit)
                else:
                    others.append(unit)
        except Empty:
            pass
        for unit in others:
            self.todo.put(unit)
        returned = [(part.lease.number, index) for part in parts for index in _taken(part)]
        self.emit(Report([], returned=returned))

    def arrived(self, lease: Lease | PartialBatch, task: int, stage: int, result: Any) -> None:
        """An asynchronous stage is through with a datapoint; a thread goes on with it."""
        self.todo.put(_Arrived(lease, task, stage, result))

    def stop(self, threads: int) -> None:
        """Let each thread finish the datapoint that it is at, and end."""
        self.stopped = True
        self.watched.set()
        for _ in range(threads):
            self.todo.put(None)

    def work(self) -> None:
        """Be a thread, until `stop`."""
        with self._joining:
            thread = _Thread(self, len(self._threads))
            self._threads.append(thread)
        np.seterr(**self._float_errors)
        while True:
            try:
                unit = self.todo.get_nowait()
            except Empty:
                thread.report()
                unit = self.todo.get()
            if unit is None or self.stopped:
                return
            if isinstance(unit, _Part):
                thread.work_on(unit)
            else:
                thread.resume(unit)

    def watch(self) -> None:
        """Until `stop`: where a thread is long at a datapoint, see to what it leaves lying.

        What it has finished is reported; what it has not begun goes to the other threads.
        """
        while not self.stopped:
            self.watched.wait()
            sleep(_WATCH_SECONDS)
            self.watched.clear()  # what is set from here on, `stop` too, is seen below or above
            for thread in tuple(self._threads):
                if thread.relieve():
                    self.watched.set()

    def close(self) -> None:
        """End the asynchronous stages' own threads."""
        for chain in self.chains:
            for stage in chain.stages:
                stage.close()


class _Thread:
    """One thread's part of a worker: its results and counters, until they are reported.

    All but `relieve` is called by that thread.
    """

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._number = number
        self._in_progress = worker.in_progress
        self.part: _Part | None = None
        self._results = Results()
        self._reported = perf_counter()
        self._reporting = threading.Lock()
        self._finished = 0  # since the last report of the tally
        self._counters = Counters([len(chain.stages) for chain in worker.chains])
        # The user's code may raise anything, `SystemExit` too, and the thread must go on.
        self._ops = OpExecutor(
            worker.chains,
            self._counters,
            catches=BaseException,
            begin=self._begin,
            keeps=True,
            here=place(),
        )
        self._block: Block | None = None  # where arrays of results lie
        self._at: tuple[Lease | PartialBatch, int]  # the datapoint that is being made
        self._enough = _GATHER_ITEMS  # results that make a message, those of one size
        self._seen = 0  # what the watcher saw in progress at its last look

    def work_on(self, part: _Part) -> None:
        """Work on tasks, until none is left or the worker is stopped."""
        lease, pending = part
        self.part = part
        self._counters.timed = True
        worker = self._worker
        if len(pending) > 1 and worker.in_progress.threads > 1:
            worker.watched.set()
        whole = any(isinstance(chain, BatchChain) for chain in worker.chains)
        start = self._start if whole else self._make
        mark = self._in_progress.marker(self._number, lease.number)
        while not worker.stopped:
            try:
                index = pending.popleft()
            except IndexError:
                break
            mark(index)
            start(lease, index)
            if not (self._counters.timed or whole):
                self._go_on(part, index + 1, mark)
        self.part = None
        # Many make a message worth it. If they waited for the next lease to be done, the consumer
        # could not send the one after it in time.
        if len(self._results) >= min(_GATHER_ENOUGH, self._enough) or (
            self._results and self._due()
        ):
            self.report()

    def _go_on(self, part: _Part, following: int, mark: Callable[[int], None]) -> None:
        """Work on cheap datapoints that follow others, until one needs a closer look.

        What is the same for all of them is looked up once, and for each only the least is done.
        """
        (lease, pending), worker, results = part, self._worker, self._results
        seed, (tags, chains, keys) = lease.seed, lease.tasks.columns
        if results.following(lease.number) != following:
            return
        outcomes, room = results.outcomes, self._enough - len(results)
        few = worker.blocks is not None and self._enough <= _FEW  # results make a message
        latest, make = -1, None
        done = 0
        while outcomes and not worker.stopped:
            try:
                index = pending.popleft()
            except IndexError:
                break
            mark(index)
            chain = chains[index]
            if make is None or chain != latest:
                latest, make = chain, self._ops.maker(chain)
            if worker.begins[chain]:
                self._at = lease, index
            outcome = make(seed, tags[index], keys[index])
            room -= 1
            odd = type(outcome) is Raised or outcome is PENDING
            if odd or room <= 0 or index != following:
                made, outcome = [outcome], None
                self._add(done)
                self._put(lease, index, made)
                return
            following += 1
            if few and not _is_ours(outcome):
                made, outcome = [outcome], None
                self._place(lease.number, index, made)
                continue
            if outcome is not DROPPED:
                outcome = own(outcome)
            outcomes.append(outcome)
            if len(outcomes) == 1:  # the watcher has just taken those before
                worker.watched.set()
            if few:
                self._add(1)
            else:
                done += 1
        self._add(done)

    def _add(self, done: int) -> None:
        """So many outcomes were appended to the last run."""
        self._results.added(done)
        self._finished += done

    def _start(self, lease: Lease, index: int) -> None:
        """Work on a task, which may be a whole batch."""
        chain = self._worker.chains[lease.tasks[index].chain]
        if not isinstance(chain, BatchChain):
            self._make(lease, index)
            return
        group = PartialBatch((lease, index), chain, self._room)
        mark = self._in_progress.marker(self._number, lease.number)
        make = [self._ops.maker(number) for number in range(len(self._worker.chains))]
        for number, (tag, of, key) in enumerate(group.tasks):
            if number:
                mark(index)  # each has its own time
            self._at = group, number
            self._put_member(group, number, make[of](lease.seed, tag, key))

    def _room(self) -> Block | None:
        """Memory for a batch that is carried to the consumer in it, if there is any."""
        blocks = self._worker.blocks
        if blocks is None:
            return None
        if any(chain.transfers for chain in self._worker.chains):
            # Many batches may be begun. The results of every thread need some, too.
            return blocks.spare(self._in_progress.threads + 1)
        self.report()  # before it may have to wait
        return blocks.block()

    def _make(self, lease: Lease | PartialBatch, index: int) -> None:
        """Load, and run the stages."""
        self._at = lease, index
        self._put(lease, index, [self._ops.make(lease.seed, lease.tasks[index])])

    def resume(self, arrived: _Arrived) -> None:
        """Go on with what an asynchronous stage was at."""
        lease, index, stage, result = arrived
        place = lease.outer[1] if isinstance(lease, PartialBatch) else index
        self._in_progress.begin(self._number, lease.number, place)
        self._counters.timed = True
        counts = self._counters.counts[lease.tasks[index].chain][stage + 1]
        counts[0] += 1  # its seconds are among the stage's own figures
        counts[1] += 1
        if isinstance(result, BaseException):
            self._put(lease, index, [Raised(result, stage)])
        elif result is None:
            self._put(lease, index, [DROPPED])
        else:
            self._advance(lease, index, stage + 1, result)

    def _advance(self, lease: Lease | PartialBatch, index: int, first: int, value: Any) -> None:
        """Run the stages from number `first` on, up to the end or to one that takes its time."""
        self._at = lease, index
        self._put(lease, index, [self._ops.make(lease.seed, lease.tasks[index], first, value)])

    def _begin(self, stage: AsyncStage, value: Any, number: int) -> None:
        """Have an asynchronous stage begin on the datapoint that is being made."""
        lease = self._at[0]
        chance = Chance.ONLY if isinstance(lease, PartialBatch) else lease.chance
        stage.begin_with(value, partial(self._worker.arrived, *self._at, number), chance)

    def _put(self, lease: Lease | PartialBatch, index: int, made: list[Any]) -> None:
        """Enter an outcome, which is in a list, so that nothing else holds it."""
        if isinstance(lease, PartialBatch):
            self._put_member(lease, index, made.pop())
            return
        if type(made[0]) is Raised:
            made = [Failed.of(*made[0])]
        if made[0] is not PENDING:
            self._finish(lease, index, made)

    def _put_member(self, group: PartialBatch, index: int, outcome: Any) -> None:
        """The same of a member of a batch."""
        if type(outcome) is Raised:
            outcome = Failed.of(*outcome)
        if outcome is not PENDING and group.put(index, outcome):
            self._build(group)

    def _finish(self, lease: Lease, index: int, made: list[Any]) -> None:
        size = bytes_of(made[0])
        if not self._results:
            self._enough = max(1, min(_GATHER_ITEMS, _GATHER_BYTES // size))
        # After cheap ones the clock is read once a lease; the watcher sees to what takes longer.
        last = (self._counters.timed and self._due()) or len(self._results) + 1 >= self._enough
        # Arrays go where those of the message will lie: the user's code may refill its own.
        shared = self._worker.blocks is not None
        if shared and not last and size >= BLOCK_BYTES and not _is_ours(made[0]):
            self._place(lease.number, index, made)
            return
        outcome = made.pop()
        # What is sent at once, to another process, nobody holds any longer.
        if not (_is_ours(outcome) or (last and shared)):
            outcome = own(outcome)
        self._finished += 1
        if last:
            self._in_progress.end(self._number)
            # Under the lock, so that the watcher does not take it away from its figures.
            with self._reporting:
                self._results.add(lease.number, index, outcome)
                self._tell()
            return
        self._results.add(lease.number, index, outcome)
        if not self._worker.watched.is_set():
            self._worker.watched.set()

    def _place(self, lease: int, index: int, made: list[Any]) -> None:
        """Enter an outcome with arrays that others may hold as well.

        Those are copied at once, to memory that carries them to the consumer.
        """
        blocks = self._worker.blocks
        assert blocks is not None, "who calls this looked"
        while made:
            if self._block is None:
                self.report()  # before it may have to wait
                self._block = blocks.block()
            begun = perf_counter()
            with self._reporting:
                block = self._block
                # The watcher may have sent it just now. There may be none at all.
                if block is not None or not blocks.shared:
                    outcome = made.pop()
                    outcome = own(outcome, None if block is None else block.empty)
                    self._results.add(lease, index, outcome)
            blocks.spent(perf_counter() - begun)
        self._finished += 1
        if not self._worker.watched.is_set():
            self._worker.watched.set()

    def _due(self) -> bool:
        return perf_counter() - self._reported > _GATHER_SECONDS

    def _build(self, group: PartialBatch) -> None:
        """All members are there."""
        lease, index = group.outer
        number = lease.tasks[index].chain
        begun = perf_counter()
        outcome, block = group.build()
        counts = self._counters.counts[number][0]
        counts[0] += isinstance(outcome, Whole)
        counts[1] += 1
        counts[2] += perf_counter() - begun
        if block is not None:
            with self._reporting:
                if self._results:
                    self._tell()  # by themselves, as they lie elsewhere
                self._finished += 1
                self._results.add(lease.number, index, outcome)
                self._tell(block)
        elif isinstance(outcome, Whole) and self._worker.chains[number].stages:
            self._advance(lease, index, 0, outcome.batch)
        else:
            self._finish(lease, index, [outcome])

    def report(self) -> None:
        """Send what was gathered; while this waits for the consumer, nothing is in progress."""
        self._in_progress.end(self._number)
        with self._reporting:
            self._tell()

    def _tell(self, block: Block | None = None) -> None:
        self._reported = perf_counter()
        if not self._finished:
            return
        gauges = []
        for number, chain in enumerate(self._worker.chains):
            for at, stage in enumerate(chain.stages):
                if figures := stage.gauges():
                    gauges.append((number, at, figures))
        finished, self._finished = self._finished, 0
        work = self._counters.take(finished)
        if block is None:
            block, self._block = self._block, None
        self._worker.emit(Report(self._results.take(), work, gauges, finished=finished), block)

    def relieve(self) -> bool:
        """Take from the thread what should not wait; returns whether to look again soon.

        The results go without figures, which only the thread itself can take.
        """
        if self._results and self._due():
            with self._reporting:
                results, block = self._results.take(), self._block
                self._block = None
            # Not under the lock: it may wait for a slot, and the thread may be about to send one.
            if results or block is not None:
                self._worker.emit(Report(results), block)
        task = self._in_progress.task(self._number)
        stuck, self._seen = task == self._seen != 0, task
        part = self.part
        shared = part is not None and part.pending and self._in_progress.threads > 1
        if stuck and shared:
            assert part is not None
            self._worker.todo.put(_Part(part.lease, deque(_taken(part))))
        return bool(self._results or (shared and not stuck))


def _is_ours(outcome: Any) -> bool:
    """Whether it is nothing that the user's code may hold."""
    return outcome is DROPPED or outcome is EXHAUSTED or isinstance(outcome, (Whole, Loose, Failed))


def _taken(part: _Part) -> list[int]:
    """All of the part's tasks that nobody has begun; they are the caller's now."""
    taken = []
    try:
        while True:
            taken.append(part.pending.popleft())
    except IndexError:
        return taken
