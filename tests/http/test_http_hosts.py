"""Hosts that do not answer: what their URLs cost, and when they are tried again."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import patient
from servers import JPEG, Server, ok, sequence, silence, status

from dataflow.chance import Chance
from dataflow.http import FetchPolicy
from dataflow.http.jobs import Job
from dataflow.http.retry import Schedule

FIRST, LAST, ONLY = Chance.FIRST, Chance.LAST, Chance.ONLY


class Plan:
    """A schedule with a clock of its own."""

    def __init__(self, *, slots: int = 64, **policy: Any) -> None:
        self.now = 1000.0
        self.schedule = Schedule(
            FetchPolicy(**{"backoff": 0.0, **policy}), slots=slots, clock=lambda: self.now
        )
        self.under_way: list[Job] = []

    def push(self, *urls: str, chance: Chance | None = FIRST) -> None:
        for url in urls:
            self.schedule.push(Job(url, lambda result: None, chance))

    def start(self) -> list[str]:
        """Begin with all that may begin; what failed by that, with a "!"."""
        told = []
        while (item := self.schedule.pop()) is not None:
            job, error = item
            if error is None:
                self.schedule.begin(job)
                self.under_way.append(job)
            else:
                assert self.schedule.settled(job) == []
            told.append(job.url.removeprefix("http://") + ("" if error is None else "!"))
        return told

    def end(self, reason: str | None = None, *, count: int = 1, reached: bool = False) -> list[str]:
        """End the oldest transfers; the URLs of those that are tried again are not told."""
        failed = []
        for _ in range(count):
            job = self.under_way.pop(0)
            self.schedule.ended(job, reason, reached)
            error = None
            if reason is not None:
                error = self.schedule.failed(job, job.error(reason, "nothing"))
                if error is not None:
                    failed.append(job.url.removeprefix("http://") + ("?" if error.passing else ""))
            if reason is None or error is not None:
                self.schedule.settled(job)
        return failed


def numbered(host: str, count: int) -> list[str]:
    return [f"http://{host}/{i}" for i in range(count)]


def test_a_host_that_has_not_answered_gets_four_transfers() -> None:
    plan = Plan()
    plan.push(*numbered("a", 7))
    assert plan.start() == ["a/0", "a/1", "a/2", "a/3"]
    plan.end(None)
    assert plan.start() == ["a/4", "a/5", "a/6"], "now it has"


def test_an_answer_that_says_no_is_one() -> None:
    plan = Plan()
    plan.push(*numbered("a", 6))
    plan.start()
    job = plan.under_way.pop(0)
    plan.schedule.ended(job)
    assert plan.schedule.failed(job, job.error("http_404", "gone", 404)) is not None
    assert plan.start() == ["a/4", "a/5"]


def test_the_others_of_a_dead_host_fail_untried() -> None:
    plan = Plan()
    plan.push(*numbered("a", 7), "http://b/0")
    assert plan.start() == ["a/0", "a/1", "a/2", "a/3", "b/0"]
    plan.now += 10
    assert plan.end("timeout", count=3) == ["a/0?", "a/1?", "a/2?"]
    assert plan.start() == [], "the fourth may still tell of life"
    assert plan.end("timeout") == ["a/3?"]
    assert plan.start() == ["a/4!", "a/5!", "a/6!"]
    plan.push("http://a/7")
    plan.now += 9
    assert plan.start() == ["a/7!"], "it is left alone for as long as it took"
    plan.now += 1
    plan.push("http://a/8", "http://a/9")
    assert plan.start() == ["a/8"], "then one may look again, for all"
    plan.under_way.pop(0)  # b
    plan.end(None)
    assert plan.start() == ["a/9"]


def test_a_last_chance_is_one_try_for_all_that_wait() -> None:
    plan = Plan()
    plan.push(*numbered("a", 4))
    plan.start()
    plan.end("refused", count=4)
    plan.push(*numbered("a", 3), chance=LAST)
    assert plan.start() == ["a/0"], "however short ago the first ones failed"
    assert plan.end("refused") == ["a/0?"]
    assert plan.start() == ["a/1!", "a/2!"]
    plan.push("http://a/5", chance=LAST)
    assert plan.start() == ["a/5!"]
    plan.now += 1
    plan.push(*numbered("a", 3), chance=LAST)
    assert plan.start() == ["a/0"]
    plan.end(None)
    assert plan.start() == ["a/1", "a/2"], "it is back"


def test_what_has_one_chance_only_is_tried_as_often_as_ever() -> None:
    plan = Plan(max_trials=5)
    plan.push("http://a/0", chance=ONLY)
    for _ in range(4):
        assert plan.start() == ["a/0"]
        assert plan.end("refused") == []
    assert plan.start() == ["a/0"]
    assert plan.end("refused") == ["a/0"]


def test_beside_others_that_failed_it_is_not() -> None:
    plan = Plan(max_trials=5)
    plan.push(*numbered("a", 9), chance=ONLY)
    assert plan.start() == ["a/0", "a/1", "a/2", "a/3"]
    assert plan.end("refused", count=4) == ["a/3?"]
    assert sorted(plan.start()) == [f"a/{i}!" for i in (0, 1, 2, 4, 5, 6, 7, 8)]


def test_a_host_that_answered_is_given_time() -> None:
    plan = Plan(timeout=1.0, max_trials=2)
    plan.push("http://a/x")
    plan.start()
    plan.end(None)
    for second in range(30):
        plan.now += 1
        plan.push(f"http://a/{second}")
        assert plan.start() == [f"a/{second}"]
        assert plan.end("refused") == []
        assert plan.start() == [f"a/{second}"], "a second trial"
        assert plan.end("refused") == [f"a/{second}"]
    plan.now += 1
    plan.push("http://a/30", "http://a/31")
    assert plan.start() == ["a/30"], "after 30 s without an answer, one looks for all"
    assert plan.end("refused") == ["a/30?"]
    assert plan.start() == ["a/31!"]


def test_a_host_that_answered_may_have_pages_that_hang() -> None:
    plan = Plan(timeout=1.0, max_trials=1)
    plan.push("http://a/x")
    plan.start()
    plan.end(None)
    for second in range(99):
        plan.now += 1
        plan.push(f"http://a/{second}", chance=ONLY)
        assert plan.start() == [f"a/{second}"]
        assert plan.end("timeout", reached=True) == [f"a/{second}"]


@pytest.mark.parametrize("chance", [ONLY, LAST])
def test_a_few_pages_that_hang_do_not_speak_for_their_host(chance: Chance) -> None:
    hanging = {f"http://a/{i}" for i in range(4)}
    delivered: set[str] = set()
    plan = Plan(max_trials=1)
    plan.push(*numbered("a", 40), chance=chance)
    while (started := plan.start()) or plan.under_way:
        assert not any(name.endswith("!") for name in started)
        plan.now += 10
        for job in list(plan.under_way):
            if job.url in hanging:
                plan.end("timeout", reached=True)
            else:
                delivered.add(job.url)
                plan.end(None)
    assert len(delivered) == 36


@pytest.mark.parametrize(("chance", "tried"), [(ONLY, 12), (LAST, 8)])
def test_many_of_them_do(chance: Chance, tried: int) -> None:
    plan = Plan(max_trials=1)
    if chance is LAST:
        plan.push(*numbered("a", 4))
        plan.start()
        plan.end("timeout", reached=True, count=4)
    plan.push(*numbered("a", 100), chance=chance)
    failed = 0
    begun = plan.now
    while (started := plan.start()) or plan.under_way:
        failed += sum(name.endswith("!") for name in started)
        if plan.under_way:
            plan.now += 10
            plan.end("timeout", reached=True, count=len(plan.under_way))
    assert failed == 100 - tried
    assert plan.now - begun == {ONLY: 30, LAST: 10}[chance]


def test_alone_everything_is_tried() -> None:
    plan = Plan(slots=1, max_trials=1)
    plan.push(*numbered("a", 30), chance=ONLY)
    for i in range(30):
        assert plan.start()[:1] == ["a/0"] or i
        plan.end("refused")
    assert not len(plan.schedule)


def test_who_asks_for_nothing_of_the_kind_gets_nothing() -> None:
    plan = Plan()
    plan.push(*numbered("a", 9), chance=None)
    assert len(plan.start()) == 9
    plan.end("refused", count=9)
    plan.push("http://a/9", chance=None)
    assert "a/9" in plan.start()


def test_strangers_leave_half_of_the_slots_to_others() -> None:
    plan = Plan(slots=4)
    plan.push("http://known/0")
    plan.start()
    plan.end(None)
    plan.push("http://a/0", "http://b/0", "http://c/0", "http://known/1", "http://d/0")
    assert plan.start()[:3] == ["a/0", "b/0", "known/1"]


def test_strangers_get_all_where_there_is_nobody_else() -> None:
    plan = Plan(slots=4)
    plan.push(*(f"http://{i}/a" for i in range(6)))
    assert len(plan.start()) == 6, "whoever asks counts the slots"


def test_what_comes_from_the_cache_lets_the_next_one_go() -> None:
    plan = Plan()
    plan.push(*numbered("a", 6))
    plan.start()
    plan.end("tls")
    job, error = plan.schedule.pop()  # one takes its place
    assert error is None
    plan.schedule.skipped(job)
    assert {job.url, "http://" + plan.start()[0]} == {"http://a/4", "http://a/5"}


@given(st.data())
def test_nothing_is_lost_or_waits_for_ever(data: Any) -> None:
    plan = Plan(slots=data.draw(st.integers(1, 8)), max_trials=3)
    waiting: set[str] = set()
    for step in range(data.draw(st.integers(1, 40))):
        host, chance = (
            data.draw(st.sampled_from("abc")),
            data.draw(st.sampled_from([*Chance, None])),
        )
        url = f"http://{host}/{step}"
        plan.push(url, chance=chance)
        waiting.add(url.removeprefix("http://"))
        plan.now += data.draw(st.sampled_from([0.0, 0.5, 5.0, 40.0]))
        for name in plan.start():
            if name.endswith("!"):
                waiting.remove(name[:-1])
        for _ in range(data.draw(st.integers(0, len(plan.under_way)))):
            reason = data.draw(st.sampled_from([None, "timeout", "refused", "reset", "tls"]))
            name = plan.under_way[0].url.removeprefix("http://")
            failed = plan.end(reason)
            if reason is None or failed:
                waiting.remove(name)
    while waiting:
        for name in plan.start():
            if name.endswith("!"):
                waiting.remove(name[:-1])
        if plan.under_way:
            waiting.remove(plan.under_way[0].url.removeprefix("http://"))
            plan.end(None)
        elif waiting:
            wait = plan.schedule.wait()
            assert wait is not None, f"these wait for nothing: {waiting}"
            plan.now += wait
    assert not len(plan.schedule)


def test_those_that_wait_can_be_cancelled() -> None:
    plan = Plan()
    plan.push(*numbered("a", 9))
    plan.start()
    assert len(plan.schedule.drain()) == 5
    assert not len(plan.schedule)
    plan.end("timeout", count=4)


# -- real ones --------------------------------------------------------------------------------


@pytest.fixture
def mute() -> Iterator[Server]:
    """A server that accepts connections and never says anything."""
    with Server("127.0.0.3") as running:
        for i in range(60):
            running.routes[f"/{i}"] = silence
        yield running


def results_of(fetcher: Any, urls: list[str], chance: Chance) -> list[Any]:
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for url in urls:
        fetcher.submit(url, answers.put, chance)
    return [answers.get(timeout=patient(30)) for _ in urls]


def test_a_silent_host_holds_few_transfers(make: Any, server: Server, mute: Server) -> None:
    for i in range(40):
        server.routes[f"/{i}"] = ok(JPEG)
    fetcher = make(concurrency=8, stall_timeout=1.0)
    urls = [mute.url(f"/{i}") for i in range(40)] + [server.url(f"/{i}") for i in range(40)]
    results = results_of(fetcher, urls, FIRST)
    assert results.count(JPEG) == 40
    assert results[:36].count(JPEG) >= 30, "they do not wait for the silent ones"
    failed = [result for result in results if result != JPEG]
    assert {error.reason for error in failed} == {"timeout"}
    assert all(error.passing for error in failed)
    assert len(mute.requests) <= 8, "four at first, and a look now and then"


def test_a_name_that_does_not_exist_is_asked_for_a_few_times(make: Any) -> None:
    fetcher = make(concurrency=8, max_trials=3)
    urls = [f"http://no-such-host.invalid/{i}" for i in range(40)]
    for chance in (FIRST, LAST, ONLY):
        results = results_of(fetcher, urls, chance)
        assert {error.reason for error in results} == {"dns"}
    assert fetcher.stats()["transfers"] < 20
    untried = [error for error in results if "not tried" in str(error)]
    assert untried and "no-such-host.invalid did not answer" in str(untried[0])
    assert untried[0].trials is None


def test_it_is_tried_again_when_it_is_back(make: Any, server: Server) -> None:
    server.routes["/a"] = sequence(silence, ok(JPEG))
    fetcher = make(stall_timeout=1.0)
    first = results_of(fetcher, [server.url("/a")], FIRST)[0]
    assert (first.reason, first.passing, first.trials) == ("timeout", True, 1)
    assert results_of(fetcher, [server.url("/a")], LAST) == [JPEG]


def test_an_answer_of_any_kind_is_no_silence(make: Any, server: Server) -> None:
    server.routes["/busy"] = sequence(status(503), ok(JPEG))
    assert results_of(make(), [server.url("/busy")], FIRST) == [JPEG]


def test_what_is_silent_gives_way(server: Server) -> None:
    """Hosts that say nothing leave their slots to those that answer."""
    from dataflow.http import make_fetcher

    deaf = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
    for i in range(200):
        server.routes[f"/{i}"] = ok(JPEG)
    urls = [f"http://127.0.0.1:{sock.getsockname()[1]}/a" for sock in deaf]
    try:
        with make_fetcher(FetchPolicy(stall_timeout=20.0), concurrency=4) as fetcher:
            results_of(fetcher, [server.url("/0")], FIRST)
            answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
            for url in (*urls, *map(server.url, server.routes)):
                fetcher.submit(url, answers.put, FIRST)
            results = [answers.get(timeout=patient(15)) for _ in range(201)]
    finally:
        for sock in deaf:
            sock.close()
    failed = [result for result in results if result != JPEG]
    assert len(failed) == 1
    assert "while others waited" in str(failed[0])
