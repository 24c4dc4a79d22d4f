"""Workers that die, and datapoints that kill them: what it costs, and what it must not."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from patience import patient

import dataflow as df
from dataflow.engine.runners import ThreadRunner
from dataflow.randomness import datapoint_rng

# What a loaded machine may take to start a Python process; no part of what is promised.
STARTING = 8.0


def numbers(size: int) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


def segfault() -> None:
    ctypes.string_at(0)


def worker_pids() -> set[int]:
    pids: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/children") as file:
            pids.update(map(int, file.read().split()))
    return pids


@pytest.fixture(autouse=True)
def without_core_files() -> Iterator[None]:
    """Also in the workers, which inherit it."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.alone
def test_one_of_eight_workers_is_killed(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Everything once, one warning with pid and signal, and a successor within 2 s."""

    def work(dp):
        (tmp_path / str(os.getpid())).touch()
        # The first ones bring the others to life; the rest waits for them.
        while dp[0] >= 50 and len(os.listdir(tmp_path)) < 8:
            time.sleep(0.01)
        time.sleep(0.003)
        return [dp[0], os.getpid()]

    with (
        df.PrefetchDataZMQ(numbers(3000).map(work), 8, ordered=True) as ds,
        caplog.at_level(logging.WARNING),
    ):
        found, before, killed, replaced = [], set(), 0.0, 0.0
        for dp in ds:
            found.append(dp[0])
            if not killed and len(os.listdir(tmp_path)) == 8:
                before = worker_pids()
                killed, victim = time.monotonic(), dp[1]
                os.kill(victim, signal.SIGKILL)
            if killed and not replaced and worker_pids() - before:
                replaced = time.monotonic()
        assert killed and replaced and replaced - killed < patient(2.0)
    assert found == list(range(3000))
    assert ds.stats()["worker_restarts"] == 1
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"worker process {victim} was killed by SIGKILL" in warning


def test_one_worker_or_eight_of_which_one_is_killed() -> None:
    """With the same seed and in order, the streams are the same byte for byte."""

    def work(dp):
        time.sleep(0.002)
        return [dp[0], datapoint_rng().bytes(100)]

    def stream(workers: int, kill: bool) -> list:
        chain = df.DataFromList([[i] for i in range(400)], shuffle=True).map(work)
        with df.PrefetchDataZMQ(chain.map(lambda dp: [*dp, os.getpid()]), workers) as ds:
            ds.seed(5)
            found = []
            for dp in ds:
                found.append(dp[:2])
                if kill and len(found) == 50:
                    os.kill(dp[2], signal.SIGKILL)
            assert ds.stats()["worker_restarts"] == kill
        return found

    assert stream(8, True) == stream(1, False)


def test_a_failure_is_known_within_a_second() -> None:
    """While the others are busy with what takes much longer."""

    def work(dp):
        if dp[0] == 5:
            raise OSError(time.time())
        time.sleep(0.0 if dp[0] < 5 else 3.0)
        return dp

    with df.PrefetchDataZMQ(numbers(50).map(work), 2) as ds:
        with pytest.raises(df.WorkerError) as caught:
            list(ds)
        assert time.time() - float(caught.value.message) < patient(1.0)
        assert caught.value.type_name == "builtins.OSError"


def test_workers_that_die_beyond_the_budget() -> None:
    """As soon as they start, so that no datapoint can be to blame."""

    class Broken(df.MapData):
        def reset_state(self) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    ds = df.PrefetchDataZMQ(Broken(numbers(10), lambda dp: dp), 2, max_restarts=2)
    with ds, pytest.raises(df.WorkerDied, match="max_restarts=2"):
        list(ds)
    assert ds.stats()["worker_restarts"] == 3


@pytest.mark.alone
def test_the_run_ends_soon_after_the_last_death_of_the_budget() -> None:
    def work(dp):
        if dp[0] == 5:
            time.sleep(0.2)
        return [dp[0], os.getpid()]

    with df.PrefetchDataZMQ(numbers(100_000).map(work), 2, max_restarts=0) as ds:
        iterator = iter(ds)
        pid = next(iterator)[1]
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        with pytest.raises(df.WorkerDied, match="SIGKILL"):
            list(iterator)
        assert time.monotonic() - killed < patient(2.0)
        assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_datapoints_that_segfault_are_left_out(
    ordered: bool, threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Their neighbours come once; each is counted as poison, outside the restart budget."""

    def work(dp):
        if dp[0] in (7, 40):
            segfault()
        time.sleep(0.001)
        return dp

    below = ThreadRunner(numbers(60).map(work), threads, on_error="skip")
    with (
        df.PrefetchDataZMQ(below, 2, ordered=ordered, on_error="skip", max_restarts=2) as ds,
        caplog.at_level(logging.WARNING),
    ):
        found = [dp[0] for dp in ds]
    expected = [i for i in range(60) if i not in (7, 40)]
    assert found == expected if ordered else sorted(found) == expected
    stats = ds.stats()
    assert stats["errors"] == {"poison": 2}
    assert stats["worker_restarts"] == len(caplog.records)
    assert stats["worker_restarts"] in (5, 6), "three each; two may have been in progress together"
    assert sorted(f.datapoint for f in ds.errors()) == [[7], [40]]
    assert all("SIGSEGV" in r.getMessage() for r in caplog.records)
    assert any("datapoint 7 of epoch 0 ([7])" in r.getMessage() for r in caplog.records)


def test_a_datapoint_that_segfaults_is_raised() -> None:
    def work(dp):
        return segfault() if dp[0] == 3 else dp

    ds = df.PrefetchDataZMQ(numbers(10).map(work), 2)
    with ds, pytest.raises(df.PoisonedDatapoint, match=r"datapoint 3 of epoch 0 .*SIGSEGV") as e:
        list(ds)
    assert e.value.reason == "poison"
    assert ds.stats()["worker_restarts"] == 3


def test_a_function_replaces_what_kills_its_worker() -> None:
    def work(dp):
        return os._exit(7) if dp[0] == 2 else dp

    def replace(error, datapoint):
        assert isinstance(error, df.PoisonedDatapoint) and "exit status 7" in str(error)
        return [-datapoint[0]]

    with df.PrefetchDataZMQ(numbers(5).map(work), 2, ordered=True, on_error=replace) as ds:
        assert [dp[0] for dp in ds] == [0, 1, -2, 3, 4]


def test_who_was_only_there_is_cleared(tmp_path) -> None:
    """A datapoint in progress as somebody kills the worker, twice, comes all the same."""
    deaths = tmp_path / "deaths"
    deaths.mkdir()

    def work(dp):
        if dp[0] == 4 and len(os.listdir(deaths)) < 2:
            (deaths / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return dp

    with df.PrefetchDataZMQ(numbers(9).map(work), 2) as ds:
        assert sorted(dp[0] for dp in ds) == list(range(9))
    assert ds.stats()["worker_restarts"] == 2 and not ds.stats()["errors"]


@pytest.mark.parametrize("how", ["loops", "stops"])
def test_a_datapoint_beyond_its_time(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its worker is killed at the timeout + 1 s, stopped or not; the others come once."""
    timeout = 1.0

    def work(dp):
        if dp[0] == 11:
            if how == "stops":
                os.kill(os.getpid(), signal.SIGSTOP)
            while True:
                pass
        return dp

    began = time.monotonic()
    with (
        df.PrefetchDataZMQ(
            numbers(50).map(work), 2, on_error="skip", task_timeout=timeout, max_restarts=0
        ) as ds,
        caplog.at_level(logging.WARNING),
    ):
        assert sorted(dp[0] for dp in ds) == [i for i in range(50) if i != 11]
    assert time.monotonic() - began < patient(2 * (timeout + 1.0 + STARTING))
    assert ds.stats()["errors"] == {"timeout": 1} and ds.stats()["worker_restarts"] == 2
    assert [f.datapoint for f in ds.errors()] == [[11]]
    assert all("took longer than task_timeout" in r.getMessage() for r in caplog.records)


def test_beyond_its_time_once() -> None:
    """Stopped from outside: the datapoint is tried again, and comes."""

    def work(dp):
        time.sleep(0.002)
        return [dp[0], os.getpid()]

    with df.PrefetchDataZMQ(numbers(200).map(work), 2, task_timeout=patient(1.0)) as ds:
        iterator = iter(ds)
        found = [next(iterator)]
        os.kill(found[0][1], signal.SIGSTOP)
        found += list(iterator)
    assert sorted(dp[0] for dp in found) == list(range(200))
    assert ds.stats()["worker_restarts"] == 1 and not ds.stats()["errors"]


def test_a_consumer_that_takes_its_time_times_nobody_out() -> None:
    import numpy as np

    def work(dp):
        return [dp[0], np.zeros((300, 300, 3), np.uint8)]

    with df.PrefetchDataZMQ(numbers(60).map(work), 2, hwm=4, task_timeout=patient(0.5)) as ds:
        found = []
        for dp in ds:
            found.append(dp[0])
            if len(found) in (10, 30):
                time.sleep(0.8)  # longer than a datapoint may take
    assert sorted(found) == list(range(60)) and ds.stats()["worker_restarts"] == 0


class HangsOnArrival:
    """A key at which a worker hangs before it has anything in progress."""

    def __reduce__(self):
        return time.sleep, (1000,)


def test_workers_that_hang_with_nothing_in_hand_are_not_killed_for_ever() -> None:
    ds = df.DataFromList([[HangsOnArrival()]]).map(list)
    ds = df.PrefetchDataZMQ(ds, 1, task_timeout=patient(0.5), max_restarts=1)
    with ds, pytest.raises(df.WorkerDied, match="with no datapoint in progress"):
        list(ds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_restarts": -1}, "max_restarts=-1"),
        ({"task_timeout": 0}, "task_timeout=0"),
        ({"task_timeout": float("nan")}, "task_timeout=nan"),
    ],
)
def test_arguments_about_deaths_are_checked(arguments, message) -> None:
    with pytest.raises(df.ConfigError, match=message):
        df.PrefetchDataZMQ(numbers(3), **arguments)


def test_the_memory_of_workers_that_died_is_given_back() -> None:
    """It goes with the last array from it, however long the consumer lives."""

    def large(dp):
        return [np.full(1 << 20, dp[0] % 256, np.uint8), os.getpid()]

    def memory_files() -> int:
        with open("/proc/self/maps") as maps:
            return sum("memfd:dataflow " in line for line in maps)

    ds = df.PrefetchDataZMQ(df.RepeatedData(numbers(100).map(large), -1), 1, max_restarts=9)
    with ds:
        iterator, killed, kept, survivors = iter(ds), set[int](), None, 0
        for image, pid in iterator:
            if kept is None:
                kept = image
            if len(killed) < 3 and pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            survivors += len(killed) == 3 and pid not in killed
            if survivors == 200:  # so nothing waits any more that came from the others
                del image
                break
        assert ds.stats()["worker_restarts"] == 3
        assert (kept == kept[0]).all()
        assert memory_files() <= 2  # the last worker's, and the first one's for what was kept
        del kept
        assert memory_files() <= 1
