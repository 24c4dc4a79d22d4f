"""Who is asked for tasks that it has not begun, and who is killed for the one it has."""

from __future__ import annotations

from dataflow.engine.deadlines import Deadlines
from dataflow.engine.stealing import WorkStealing
from dataflow.transport.in_progress import Held


def test_only_a_silent_worker_with_more_than_it_has_begun_is_asked() -> None:
    stealing = WorkStealing(threads=2)
    for worker in (0, 1, 2):
        stealing.heard(worker, 10.0)
    held = {0: 5, 1: 2}
    assert stealing.due([0, 1], held, 20.0) == ([], None), "nobody is idle"
    late, wait = stealing.due([0, 1, 2], held, 10.01)
    assert late == [] and wait is not None and 0 < wait < 0.1
    assert stealing.due([0, 1, 2], held, 10.2) == ([0], None)
    assert stealing.due([0, 1, 3], held, 10.2) == ([0], None), "3 has not started, and is idle"
    assert stealing.due([0, 3], {3: 9}, 10.2) == ([], None), "3 has not started"


def test_one_who_was_asked_is_asked_again_only_after_it_got_something_done() -> None:
    stealing = WorkStealing(threads=1)
    stealing.heard(0, 1.0)
    stealing.ask(0)
    assert stealing.asked(0)
    assert stealing.due([0, 1], {0: 5}, 2.0) == ([], None)
    stealing.heard(0, 2.0)
    assert stealing.asked(0), "it only answered"
    stealing.heard(0, 2.0, done=True)
    assert stealing.due([0, 1], {0: 5}, 3.0) == ([0], None)
    stealing.forget(0)
    assert stealing.due([0, 1], {0: 5}, 3.0) == ([], None)


def test_what_was_given_to_an_idle_worker_is_given_time() -> None:
    stealing = WorkStealing(threads=1)
    stealing.given(0, 1.0)
    assert stealing.silence(0, 5.0) == 0.0, "it has not even started"
    stealing.heard(0, 1.0)
    stealing.given(0, 5.0)
    assert stealing.silence(0, 6.0) == 1.0


def test_a_worker_is_killed_for_what_is_awaited_only() -> None:
    deadlines = Deadlines(2.0, silence=True)
    held = {0: [Held(1, 0, 3.0), Held(1, 1, 0.5)], 1: [Held(2, 0, 9.0)], 2: [Held(3, 0, 1.5)]}
    late, wait = deadlines.overdue(held, {}, lambda lease, _: lease != 2)
    assert late == [0] and wait == 0.5
    assert deadlines.overdue(held, {}, lambda *_: True)[0] == [1], "0 is dying already"
    assert deadlines.killed(0) == [(1, 0)] and deadlines.killed(2) is None


def test_a_worker_that_has_tasks_and_says_nothing_is_killed_for_none() -> None:
    for silence in (True, False):
        deadlines = Deadlines(2.0, silence=silence)
        late, _ = deadlines.overdue({0: [], 1: []}, {0: 2.5, 1: 1.0}, lambda *_: True)
        assert late == ([0] if silence else [])
        assert deadlines.killed(0) == ([] if silence else None)
