"""A run as the state machine that it is: events in, messages out, and no process or thread."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as df
from dataflow.engine.deliveries import Deliveries
from dataflow.engine.drive import drive
from dataflow.engine.messages import RECALL, Lease, Outcomes, Report
from dataflow.engine.options import RunnerOptions
from dataflow.engine.run import Run
from dataflow.epoch import Epoch
from dataflow.executor.events import Died, Event, Left, Reported, Started
from dataflow.meter import Meter
from dataflow.plan.planner import Site, fragment_of, lower
from dataflow.plan.tasks import Feed, Task
from dataflow.transport.in_progress import Held
from dataflow.transport.traffic import Traffic


class Workers:
    """An executor of workers who do nothing by themselves: the test says what they do."""

    def __init__(self, ready: int = 0) -> None:
        self.workers = list(range(ready))
        self.ready = set(self.workers)
        self.guests: set[int] = set()
        self.hesitant = False
        self.distance = 0.0
        self.traffic = Traffic()
        self.interrupted = False
        self.closed = False
        self.leases: dict[int, list[Lease]] = {worker: [] for worker in self.workers}
        self.recalled: list[int] = []
        self.killed: list[int] = []
        self.coming: list[Event] = []

    def start(self) -> int:
        number = len(self.leases)
        self.workers.append(number)
        self.leases[number] = []
        return number

    def send(self, worker: int, message: Any) -> None:
        if message == RECALL:
            self.recalled.append(worker)
        else:
            self.leases[worker].append(message)

    def threads_of(self, worker: int) -> int:
        return 1

    def in_progress(self, worker: int) -> list[Held]:
        return []

    def resident(self) -> int:
        return 0

    def kill(self, worker: int) -> None:
        self.killed.append(worker)

    def poll(self, timeout: float | None) -> list[Event]:
        coming, self.coming = self.coming, []
        return coming

    def interrupt(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def held(self, worker: int) -> int:
        return sum(len(lease.tasks) for lease in self.leases[worker])

    def does(self, worker: int, count: int = 1) -> Reported:
        """It reports the first tasks of what it has; each datapoint is its key."""
        lease = self.leases[worker][0]
        done, rest = lease.tasks[:count], lease.tasks[count:]
        first = DONE.get(lease.number, 0)
        DONE[lease.number] = first + len(done)
        if rest:
            lease.tasks = rest
        else:
            self.leases[worker].pop(0)
        outcomes = [task.key for task in done]
        work = [(0, -1, len(done), 0.001 * len(done))]
        report = Report([Outcomes(lease.number, first, outcomes)], work, finished=len(done))
        return Reported(worker, report)

    def does_all(self, worker: int) -> list[Event]:
        """It reports all that it has."""
        return [self.does(worker, len(lease.tasks)) for lease in list(self.leases[worker])]

    def dies(self, worker: int, *, in_progress: bool = False) -> Died:
        held = []
        if in_progress:
            lease = self.leases[worker][0]
            held = [Held(lease.number, DONE.get(lease.number, 0), 0.0)]
        self.workers.remove(worker)
        self.ready.discard(worker)
        self.leases[worker].clear()
        return Died(worker, 1000 + worker, -9, held)


DONE: dict[int, int] = {}  # tasks of each lease that were reported


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run_of(
    size: int, executor: Workers, *, ordered: bool = True, workers: int = 2, **options: Any
) -> tuple[Run, Clock]:
    source = df.DataFromList([[i] for i in range(size)], shuffle=False).map(lambda dp: dp)
    runner = df.PrefetchDataZMQ(source, workers)
    fragment = fragment_of(lower(runner), Site())
    assert fragment is not None
    tasks = Feed(Task((0, number), 0, number) for number in range(size))
    clock = Clock()
    given_options: dict[str, Any] = {
        "ordered": ordered,
        "workers": workers,
        "threads": 1,
        "buffer_size": 10,
        "most_bytes": float("inf"),
        "meter": Meter(),
        "gauges": {},
        "clock": clock,
    }
    told = RunnerOptions(**options)
    run = Run(fragment, executor, Epoch(1, 0), [tasks], options=told, **given_options)
    return run, clock


def numbers(delivered: Deliveries | None) -> list[int]:
    return [] if delivered is None else delivered.outcomes


def test_workers_are_started_and_each_gets_its_share() -> None:
    workers = Workers()
    run, _ = run_of(100, workers)
    assert not run.hand_out() and not run.finished
    assert workers.workers == [0, 1]
    assert workers.held(0) > 0 and abs(workers.held(0) - workers.held(1)) <= 1
    assert workers.held(0) + workers.held(1) <= 10 + 2 * 4, "what may wait, and what they hold"
    run.receive([Started(0), *workers.does_all(0)])
    assert workers.held(0) == 0
    run.receive(workers.does_all(1))
    assert run.take(100), "some of it may go"
    run.hand_out()
    assert workers.held(0) > 0, "and there is more"


def test_in_order_nothing_overtakes() -> None:
    workers = Workers(2)
    run, _ = run_of(100, workers)
    run.hand_out()
    first = next(one for one in workers.workers if workers.leases[one][0].tasks[0].key == 0)
    run.receive(workers.does_all(1 - first))
    assert run.take(10) is None
    run.receive([workers.does(first)])
    assert numbers(run.take(10))[:1] == [0]


def test_without_an_order_what_comes_goes() -> None:
    workers = Workers(2)
    run, _ = run_of(100, workers, ordered=False)
    run.hand_out()
    held = workers.held(1)
    run.receive(workers.does_all(1))
    found = []
    while (done := run.take(100)) is not None:
        found += numbers(done)
    assert len(found) == held > 0


def test_what_a_dead_worker_had_goes_to_others() -> None:
    workers = Workers(2)
    run, _ = run_of(6, workers, ordered=False)
    run.hand_out()
    run.receive([workers.dies(0, in_progress=True)])
    run.hand_out()
    found: list[int] = []
    while not run.finished:
        for worker in workers.workers:
            while workers.leases[worker]:
                run.receive([workers.does(worker)])
        found += numbers(run.take(10))
        run.hand_out()
    assert sorted(found) == list(range(6))
    assert len(workers.leases) == 3, "one took its seat"


def test_too_many_deaths_end_the_run() -> None:
    workers = Workers()
    run, _ = run_of(50, workers, workers=1, max_restarts=2)
    with pytest.raises(df.WorkerDied, match="max_restarts=2"):
        for _ in range(9):
            run.hand_out()
            run.receive([workers.dies(workers.workers[0])])


def test_a_guest_that_leaves_costs_nothing() -> None:
    workers = Workers(2)
    run, _ = run_of(50, workers, max_restarts=0)
    run.hand_out()
    workers.workers.remove(1)
    run.receive([Left(1)])
    run.hand_out()
    assert workers.workers == [0, 2]


def test_a_worker_that_is_behind_gives_back_what_it_has_not_begun() -> None:
    workers = Workers(2)
    run, clock = run_of(12, workers, ordered=False)
    run.hand_out()
    run.receive(workers.does_all(1))
    run.hand_out()
    while workers.leases[1]:
        run.receive([workers.does(1)])
        run.take(10)
        run.hand_out()
    clock.now += 0.05
    run.patience()
    assert workers.recalled == [0]


def test_a_loop_that_is_left_asks_for_everything_back() -> None:
    workers = Workers(2)
    run, _ = run_of(50, workers)
    run.hand_out()
    run.leave()
    assert workers.recalled == [0, 1]


def test_one_that_is_over_its_time_is_killed() -> None:
    workers = Workers(1)
    run, clock = run_of(5, workers, workers=1, task_timeout=2.0)
    run.hand_out()
    lease = workers.leases[0][0]
    workers.in_progress = lambda worker: [Held(lease.number, 0, clock.now - 100.0)]  # type: ignore[method-assign]
    run.was_away()
    for _ in range(4):
        run.patience()
        clock.now += 1.0
    assert workers.killed == [0]


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(1, 4), st.booleans(), st.integers(0, 1 << 32))
def test_everything_comes_once_whatever_happens(
    size: int, count: int, ordered: bool, seed: int
) -> None:
    rng = random.Random(seed)
    workers = Workers()
    run, clock = run_of(size, workers, ordered=ordered, workers=count, max_restarts=1000)

    def something(timeout: float | None) -> list[Event]:
        clock.now += rng.choice([0.0, 0.001, 0.05])
        busy = [worker for worker in workers.workers if workers.leases[worker]]
        if not busy:
            return []
        worker = rng.choice(busy)
        if rng.random() < 0.05:
            return [workers.dies(worker)]
        return [workers.does(worker, rng.randint(1, 5))]

    workers.poll = something  # type: ignore[method-assign]
    found = [number for delivered in drive(run, workers, []) for number in numbers(delivered)]
    assert sorted(found) == list(range(size))
    assert not ordered or found == sorted(found)
