"""The book: every task exactly one outcome, whatever the workers do."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from dataflow.chance import Chance
from dataflow.engine import postponed
from dataflow.engine.ledger import Ledger
from dataflow.engine.messages import Failed, Lease
from dataflow.errors import FetchError
from dataflow.plan.tasks import EXHAUSTED, Feed, Task


def tasks(size: int):
    return Feed(Task((0, i), 0, i) for i in range(size))


def taken(ledger: Ledger, most: int = 100) -> list:
    """Number, task and outcome of what may be delivered now, taken so many at a time."""
    found: list = []
    while (done := ledger.take(most)) is not None:
        assert 0 < len(done) <= most
        found += done.drained()
        assert not len(done)
    return found


@given(
    size=st.integers(0, 60),
    window=st.integers(1, 20),
    lease=st.integers(1, 9),
    workers=st.integers(1, 4),
    ordered=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_every_task_once_under_any_schedule(size, window, lease, workers, ordered, seed) -> None:
    rng = random.Random(seed)
    ledger = Ledger(tasks(size), seed=0, window=window, ordered=ordered)
    out: dict[int, list[tuple[Lease, int]]] = {w: [] for w in range(workers)}
    late: list[tuple[Lease, int]] = []
    delivered = []
    while not ledger.finished:
        worker = rng.randrange(workers)
        action = rng.random()
        if action < 0.4 and (given_out := ledger.lease(worker, lease)):
            assert len(given_out.tasks) <= lease
            out[worker] += [(given_out, i) for i in range(len(given_out.tasks))]
        elif action < 0.5 and not out[worker] and (given_out := ledger.lease_alone(worker)):
            assert len(given_out.tasks) == 1
            out[worker] = [(given_out, 0)]
        elif action < 0.75 and out[worker]:
            done, index = out[worker].pop(rng.randrange(len(out[worker])))
            assert ledger.open(done.number, index)
            assert ledger.settle(done.number, index, [done.tasks[index].key]) == (worker, 1)
            late.append((done, index))
        elif action < 0.8 and out[worker]:  # it had not begun with one, and gives it back
            done, index = out[worker].pop()
            assert ledger.take_back(done.number, index) == worker
            late.append((done, index))
        elif action < 0.85:  # the worker dies; some of its results arrive later all the same
            in_progress = [(lease.number, i) for lease, i in out[worker][: rng.randrange(3)]]
            lost = ledger.revoke(worker, in_progress)
            assert sorted(e.task.key for e in lost.returned + lost.suspects + lost.convicted) == (
                sorted(lease.tasks[i].key for lease, i in out[worker])
            )
            for entry in lost.convicted:
                ledger.condemn(entry, entry.task.key)
            late += out[worker]
            out[worker] = []
        elif late:
            done, index = rng.choice(late)
            assert not ledger.open(done.number, index)
            assert ledger.settle(done.number, index, ["twice"]) is None
            assert ledger.take_back(done.number, index) is None
        delivered += taken(ledger, rng.randint(1, 9))
        held = sum(map(len, out.values()))
        assert held + len(delivered) <= size and held <= window + lease
    keys = [outcome for _, _, outcome in delivered]
    assert sorted(keys) == list(range(size))
    assert all(task.key == outcome for _, task, outcome in delivered)
    if ordered:
        assert keys == list(range(size))


def test_a_slow_task_does_not_stop_the_others_within_the_window() -> None:
    ledger = Ledger(tasks(100), seed=0, window=10, ordered=True)
    slow = ledger.lease(0, 1)
    others = [ledger.lease(1, 1) for _ in range(9)]
    assert all(others) and ledger.lease(1, 1) is None, "ten are out"
    for lease in others:
        ledger.settle(lease.number, 0, ["done"])
    assert not taken(ledger) and ledger.lease(1, 1) is None, "the window is bounded"
    ledger.settle(slow.number, 0, ["done"])
    assert len(taken(ledger)) == 10
    assert ledger.lease(1, 100).tasks[0].key == 10


def test_the_feed_is_read_no_further_than_the_window() -> None:
    read = []
    feed = Feed(read.append(i) or Task((0, i), 0, i) for i in count())
    ledger = Ledger(feed, seed=0, window=7, ordered=False)
    while ledger.lease(0, 3):
        pass
    assert len(read) == 7


def test_of_a_run_of_outcomes_only_those_count_that_are_awaited() -> None:
    ledger = Ledger(tasks(6), seed=0, window=6, ordered=False)
    lease = ledger.lease(3, 6)
    assert ledger.settle(lease.number, 1, ["b"]) == (3, 1)
    assert ledger.take_back(lease.number, 4) == 3
    assert ledger.settle(lease.number, 0, list("abcde")) == (3, 3)
    assert ledger.settle(lease.number, 0, list("abcde")) is None
    assert ledger.settle(lease.number, 5, ["f"]) == (3, 1)
    assert [place for place, _, _ in taken(ledger)] == [1, 0, 2, 3, 5]
    again = ledger.lease(4, 6)
    assert [task.key for task in again.tasks] == [4] and not ledger.finished
    assert ledger.settle(again.number, 0, ["e"]) == (4, 1)
    assert taken(ledger) == [(4, again.tasks[0], "e")] and ledger.finished


def test_exhausted_ends_an_endless_feed() -> None:
    for ordered in (False, True):
        feed = Feed(Task((0, i), 0, i) for i in count())
        ledger = Ledger(feed, seed=0, window=8, ordered=ordered)
        lease = ledger.lease(0, 8)
        outcomes = ["a", "b", EXHAUSTED, EXHAUSTED, EXHAUSTED, EXHAUSTED, EXHAUSTED, EXHAUSTED]
        for index in (7, 3, 0, 2, 1, 4, 5, 6):
            ledger.settle(lease.number, index, [outcomes[index]])
        assert sorted(outcome for _, _, outcome in taken(ledger)) == ["a", "b"]
        assert ledger.finished


def failed(passing: bool) -> Failed:
    error = FetchError("no answer", reason="timeout")
    error.passing = passing
    return Failed.of(error, 0)


@given(
    size=st.integers(0, 40),
    dead=st.sets(st.integers(0, 39)),
    window=st.integers(1, 20),
    lease=st.integers(1, 9),
    seed=st.integers(0, 1 << 30),
)
def test_what_may_go_better_later_comes_once_more(size, dead, window, lease, seed) -> None:
    rng = random.Random(seed)
    ledger = Ledger(tasks(size), seed=0, window=window, ordered=False)
    out: list[tuple[Lease, int]] = []
    tried: Counter = Counter()
    delivered: dict = {}
    while not ledger.finished:
        if rng.random() < 0.5 and (given_out := ledger.lease(0, lease)):
            out += [(given_out, i) for i in range(len(given_out.tasks))]
        elif rng.random() < 0.1 and out:
            given_back, index = out.pop()
            ledger.take_back(given_back.number, index)
        elif rng.random() < 0.05:
            out.clear()
            ledger.revoke(0)
        elif out:
            done, index = out.pop(rng.randrange(len(out)))
            key = done.tasks[index].key
            tried[key] += 1
            assert done.chance is (Chance.FIRST if tried[key] == 1 else Chance.LAST)
            ledger.settle(done.number, index, [failed(True) if key in dead else key])
        delivered |= {number: outcome for number, _, outcome in taken(ledger)}
    assert sorted(delivered) == list(range(size))
    for key, outcome in delivered.items():
        assert tried[key] == 1 + (key in dead)
        assert isinstance(outcome, Failed) if key in dead else outcome == key


def test_in_a_fixed_order_nothing_comes_again() -> None:
    ledger = Ledger(tasks(3), seed=0, window=9, ordered=True)
    lease = ledger.lease(0, 4)
    assert lease.chance is Chance.ONLY
    ledger.settle(lease.number, 0, [failed(True), 1, 2])
    assert len(taken(ledger)) == 3 and ledger.finished


def test_what_will_not_go_better_does_not_come_again() -> None:
    ledger = Ledger(tasks(1), seed=0, window=9, ordered=False)
    lease = ledger.lease(0, 4)
    ledger.settle(lease.number, 0, [failed(False)])
    assert len(taken(ledger)) == 1 and ledger.finished


def test_where_nothing_works_the_news_comes_soon() -> None:
    ledger = Ledger(tasks(1000), seed=0, window=1000, ordered=False)
    lease = ledger.lease(0, 200)
    ledger.settle(lease.number, 0, [failed(True) for _ in range(200)])
    assert len(taken(ledger)) == 72, "all but 128"


def test_what_waits_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(postponed, "_MOST", 3)
    monkeypatch.setattr(postponed, "_SPAN", 20)
    ledger = Ledger(tasks(100), seed=0, window=1000, ordered=False)
    lease = ledger.lease(0, 5)
    ledger.settle(lease.number, 0, [0] + [failed(True) for _ in range(4)])
    lease = ledger.lease(0, 5)
    assert (lease.chance, [task.key for task in lease.tasks]) == (Chance.LAST, [1])
    lease = ledger.lease(0, 30)
    assert (lease.chance, len(lease.tasks)) == (Chance.FIRST, 30)
    assert [task.key for task in ledger.lease(0, 5).tasks] == [2, 3, 4]
