"""Actors of a real Ray, with real deaths."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optional import how_to_get
from patience import patient

import dataflow as df
from dataflow.engine.runners import ThreadRunner
from dataflow.randomness import datapoint_rng

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=how_to_get("ray"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray with two CPUs; the names of its sockets have no room for a long folder."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", "/tmp")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init("local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
        yield
        ray.shutdown()


def numbers(size: int, shuffle: bool = False) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(size)], shuffle=shuffle)


def with_pid(dp: list[Any]) -> list[Any]:
    return [*dp, os.getpid()]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def deaths_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """On a busy machine there are warnings, too, that no actor starts for long."""
    return [text for text in warnings_of(caplog) if text.startswith("worker process")]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def comes_true(condition: Callable[[], bool], within: float = 10.0) -> bool:
    end = time.monotonic() + patient(within)
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@with_ray
def test_the_same_bytes_as_without_runners_in_every_epoch(cluster: None) -> None:
    def noisy(dp):
        return [dp[0], datapoint_rng().randint(0, 256, (40, 50)), np.full(5000, dp[0])]

    def chain() -> df.DataFlow:
        return numbers(150, shuffle=True).map(noisy)

    def epochs(ds: df.DataFlow) -> list[list[list[bytes]]]:
        with ds.seed(3):
            return [[[part.tobytes() for part in dp] for dp in ds] for _ in range(2)]

    expected = epochs(df.BatchData(chain(), 7))
    assert expected[0] != expected[1]
    assert epochs(df.PrefetchDataRay(df.BatchData(chain(), 7), 2)) == expected
    assert epochs(df.BatchData(df.PrefetchDataRay(chain(), 2), 7)) == expected


def plus(dp: list[Any]) -> list[Any]:
    return [dp[0] + 1, *dp[1:]]


AROUND: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "threads above": lambda run: df.MultiThreadMapData(run(numbers(40)), 2, plus),
    "processes above batches": lambda run: df.PrefetchDataZMQ(
        run(numbers(40).batch(4)).map(plus), 1
    ),
    "a flow beside": lambda run: df.ConcatData([run(numbers(40)), numbers(9)]).map(plus),
}


@with_ray
@pytest.mark.parametrize("name", AROUND)
def test_in_a_chain(cluster: None, name: str) -> None:
    """Whatever is around them, the work below is the actors'."""

    def here(run: Callable[[Any], Any]) -> Any:
        return AROUND[name](lambda ds: run(ds.map(with_place)))

    def run(ds: Any) -> Any:
        return df.PrefetchDataRay(ds, 1)

    expected = [dp[0] for dp in here(lambda ds: ds).seed(5)]
    with here(run).seed(5) as ds:
        iterator = iter(ds)
        found = [next(iterator) for _ in range(len(expected) // 2)]
        state = ds.state_dict()
        assert found[0][1] == "in an actor"
        found += iterator
        assert np.array_equal(np.concatenate([np.ravel(dp[0]) for dp in found]), np.ravel(expected))
    with here(run) as ds:
        ds.load_state_dict(state)
        left = [dp[0] for dp in ds]
        assert np.array_equal(np.ravel(left), np.ravel(expected[len(expected) // 2 :]))


def with_place(dp: list[Any]) -> list[Any]:
    return [dp[0], "in an actor" if "ray._private.worker" in sys.modules else "here"]


@with_ray
def test_each_once_in_two_actors_that_go_on_with_the_next_epoch(cluster: None) -> None:
    with df.PrefetchDataRay(numbers(300).map(with_pid), 2, ordered=False) as ds:
        first = list(ds)
        second = list(ds)
        assert sorted(dp[0] for dp in first) == sorted(dp[0] for dp in second) == list(range(300))
        pids = {dp[1] for dp in [*first, *second]}
        assert len(pids) == 2 and os.getpid() not in pids
        (row,) = [row for row in ds.stats()["stages"] if row["kind"] == "runner"]
        assert row["items"] == 600 and row["workers"] == 2 and row["bytes"] > 0
        assert "PrefetchDataRay" in ds.explain()
    assert comes_true(lambda: not any(map(alive, pids)))


@with_ray
def test_a_loop_left_early_keeps_its_actors_for_the_next(cluster: None) -> None:
    ds = df.PrefetchDataRay(numbers(10_000).map(with_pid), 2)
    pids = set()
    for dp in ds:
        pids.add(dp[1])
        if len(pids) == 2:
            break
    rest = list(ds)
    assert sorted(dp[0] for dp in rest) == list(range(10_000)), "and the next one is whole"
    assert {dp[1] for dp in rest} <= pids
    ds.close()
    assert comes_true(lambda: not any(map(alive, pids)))
    ds.close()


@with_ray
def test_an_actor_is_killed(cluster: None, caplog: pytest.LogCaptureFixture) -> None:
    """The same stream as without; one warning; a successor."""

    def work(dp):
        time.sleep(0.002)
        return [dp[0], datapoint_rng().bytes(100), os.getpid()]

    def stream(kill: bool) -> list[Any]:
        with df.PrefetchDataRay(numbers(300, shuffle=True).map(work), 2).seed(5) as ds:
            found = []
            for dp in ds:
                found.append(dp[:2])
                if kill and len(found) == 40:
                    os.kill(dp[2], signal.SIGKILL)
                    killed.append(dp[2])
            assert ds.stats()["worker_restarts"] == kill
        return found

    killed: list[int] = []
    with caplog.at_level(logging.WARNING):
        assert stream(True) == stream(False)
    (warning,) = deaths_of(caplog)
    assert f"worker process {killed[0]} on " in warning and "died (" in warning


@with_ray
@pytest.mark.parametrize("threads", [1, 3])
def test_a_datapoint_that_kills_its_actor_is_left_out(
    cluster: None, threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    def work(dp):
        if dp[0] == 17:
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            ctypes.string_at(0)
        return dp

    below = ThreadRunner(numbers(40).map(work), threads, on_error="skip")
    with (
        df.PrefetchDataRay(below, 2, ordered=True, on_error="skip", max_restarts=1) as ds,
        caplog.at_level(logging.WARNING),
    ):
        assert [dp[0] for dp in ds] == [i for i in range(40) if i != 17]
    assert ds.stats()["errors"] == {"poison": 1}
    assert [failed.datapoint for failed in ds.errors()] == [[17]]
    assert ds.stats()["worker_restarts"] == len(deaths_of(caplog)) == 3


@with_ray
@pytest.mark.parametrize("how", ["loops", "stops"])
def test_a_datapoint_beyond_its_time(
    cluster: None, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One that stops its process keeps it from saying what is in progress."""

    def work(dp):
        if dp[0] == 11:
            if how == "stops":
                os.kill(os.getpid(), signal.SIGSTOP)
            while True:
                pass
        return dp

    with (
        df.PrefetchDataRay(
            numbers(30).map(work), 2, on_error="skip", task_timeout=patient(1.0), max_restarts=0
        ) as ds,
        caplog.at_level(logging.WARNING),
    ):
        assert sorted(dp[0] for dp in ds) == [i for i in range(30) if i != 11]
    assert ds.stats()["errors"] == {"timeout": 1} and ds.stats()["worker_restarts"] == 2
    assert all("took longer than task_timeout" in text for text in deaths_of(caplog))


@with_ray
def test_a_consumer_that_takes_its_time_times_nobody_out(cluster: None) -> None:
    def work(dp):
        return [dp[0], np.zeros((300, 300, 3), np.uint8)]

    with df.PrefetchDataRay(numbers(60).map(work), 2, hwm=4, task_timeout=patient(0.5)) as ds:
        found = []
        for dp in ds:
            found.append(dp[0])
            if len(found) in (10, 30):
                time.sleep(0.8)  # longer than a datapoint may take
        time.sleep(0.8)  # and between epochs
        again = [dp[0] for dp in ds]
    assert sorted(found) == sorted(again) == list(range(60))
    assert ds.stats()["worker_restarts"] == 0


@with_ray
def test_actors_that_die_beyond_the_budget(cluster: None) -> None:
    class Broken(df.MapData):
        def reset_state(self) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    ds = df.PrefetchDataRay(Broken(numbers(10), lambda dp: dp), 2, max_restarts=1)
    with ds, pytest.raises(df.WorkerDied, match="max_restarts=1"):
        list(ds)


@with_ray
def test_errors_come_with_the_remote_traceback(cluster: None) -> None:
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    def divide(dp):
        if dp[0] == 5:
            raise Odd("this", "that")
        return dp

    ds = df.PrefetchDataRay(numbers(20).map(divide), 2)
    with ds, pytest.raises(df.WorkerError, match="this and that") as caught:
        list(ds)
    assert "in divide" in caught.value.traceback
    assert caught.value.type_name.endswith("Odd")


@with_ray
def test_what_cannot_start_and_what_cannot_travel(cluster: None) -> None:
    class Broken(df.MapData):
        def reset_state(self) -> None:
            raise OSError("no such device")

    ds = df.PrefetchDataRay(Broken(numbers(3), lambda dp: dp), 1)
    with ds, pytest.raises(df.WorkerError, match="no such device"):
        list(ds)
    unsent = numbers(5).map(lambda dp: [threading.Lock()] if dp[0] == 2 else dp)
    with df.PrefetchDataRay(unsent, 1, on_error="skip") as ds:
        assert sorted(dp[0] for dp in ds) == [0, 1, 3, 4]
    assert "cannot be pickled" in ds.errors()[0].message


@with_ray
def test_a_state_goes_on_with_the_rest(cluster: None) -> None:
    def flow(actors: int) -> df.PrefetchDataRay:
        noisy = numbers(60, shuffle=True).map(lambda dp: [dp[0], datapoint_rng().bytes(9)])
        return df.PrefetchDataRay(noisy, actors)

    with flow(2).seed(8) as ds:
        iterator = iter(ds)
        before = [next(iterator) for _ in range(23)]
        state = ds.state_dict()
        rest = list(iterator)
    with flow(1) as ds:
        ds.load_state_dict(state)
        assert list(ds) == rest
    assert sorted(dp[0] for dp in [*before, *rest]) == list(range(60))


@with_ray
def test_arrays_can_be_written_on_both_sides(cluster: None) -> None:
    """Large ones pass through the store, which is read-only; small ones do not."""

    def add(dp):
        for part in dp:
            part += 1
        return dp

    datapoints = [[np.full(n, i, np.int64) for n in (3, 1000, 100_000)] for i in range(8)]
    source = df.DataFromGenerator(lambda: ([part.copy() for part in dp] for dp in datapoints))
    with df.PrefetchDataRay(df.MapData(source, add), 2, ordered=True) as ds:
        kept = [add(dp) for dp in ds]
    assert all((part == i + 2).all() for i, dp in enumerate(kept) for part in dp)


@with_ray
def test_a_flow_that_can_only_be_iterated_runs_whole(cluster: None) -> None:
    class Counting(df.DataFlow):
        def __iter__(self):
            yield from ([i, os.getpid()] for i in range(400))

        def __len__(self):
            return 400

    with df.PrefetchDataRay(Counting(), 2, ordered=True) as ds:
        found = list(ds)
    assert [dp[0] for dp in found] == list(range(400)) and len({dp[1] for dp in found}) == 1
    with df.PrefetchDataRay(Counting(), 2, replicate=True) as ds:
        assert len(ds) == 800
        found = list(ds)
    assert sorted(dp[0] for dp in found) == sorted([*range(400)] * 2)
    assert len({dp[1] for dp in found}) == 2


@with_ray
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_actors": 0}, "num_actors=0"),
        ({"actor_options": {"num_cpu": 1}}, "num_cpu"),
        ({"actor_options": {"max_restarts": 1}}, "max_restarts is not"),
        ({"address": "ray://head:10001"}, "Ray Client"),
        ({"task_timeout": -1}, "task_timeout=-1"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(df.ConfigError, match=message):
        df.PrefetchDataRay(numbers(3), **arguments)


@with_ray
def test_somebody_who_waits_for_actors_in_vain_is_told(
    cluster: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataflow.engine.actor import RayWorker
    from dataflow.executor import ray as executor

    monkeypatch.setattr(executor, "_LATE_SECONDS", 0.3)
    nowhere = executor.actor_class(RayWorker, {"resources": {"moon": 1}})
    executor = executor.RayExecutor(
        nowhere, wants={"moon": 1}, address=None, chains=b"", threads=1, timeout=None
    )
    with contextlib.closing(executor), caplog.at_level(logging.WARNING):
        executor.start()
        assert comes_true(lambda: executor.poll(None) == [] and bool(warnings_of(caplog)))
    assert warnings_of(caplog)[0].startswith("0 of 1 actors run, 1 waits for {'moon': 1}: ")
    assert "actor_options" in warnings_of(caplog)[0]


@with_ray
@pytest.mark.parametrize("ordered", [True, False])
def test_where_there_is_room_for_fewer_they_do_the_work(
    cluster: None, ordered: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is kept for actors that may never start."""
    from dataflow.executor import ray as executor

    def work(dp):
        time.sleep(0.003)
        return with_pid(dp)

    monkeypatch.setattr(executor, "_LATE_SECONDS", 0.3)
    options = {"num_cpus": 1}
    ds = df.PrefetchDataRay(numbers(500).map(work), 3, actor_options=options, ordered=ordered)
    with ds, caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = list(ds)
            assert sorted(dp[0] for dp in found) == list(range(500))
            assert len({dp[1] for dp in found}) == 2
    assert any(
        text.startswith("2 of 3 actors run, 1 waits for {'CPU': 1}: ")
        for text in warnings_of(caplog)
    )


@with_ray
def test_an_actor_that_starts_late_joins(cluster: None) -> None:
    """When somebody else gives back what it waited for."""
    import ray

    class Somebody:
        def here(self) -> bool:
            return True

    somebody = ray.remote(num_cpus=1)(Somebody).remote()
    ray.get(somebody.here.remote())
    ds = df.PrefetchDataRay(numbers(10_000).map(with_pid), 2, actor_options={"num_cpus": 1})
    with ds:
        pids, found = set(), []
        for dp in ds:
            found.append(dp[0])
            pids.add(dp[1])
            if len(found) == 100:
                assert len(pids) == 1
                ray.kill(somebody)
            if len(found) > 100 and len(pids) == 1:
                time.sleep(0.005)
        assert len(pids) == 2
    assert sorted(found) == list(range(10_000))


@with_ray
def test_a_script_without_a_ray_of_its_own(tmp_path: Path) -> None:
    """It is started and ended; lambdas and modules beside the script work; warnings are seen."""
    (tmp_path / "beside.py").write_text("def triple(x):\n    return 3 * x\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import logging, os, sys\n"
        "import dataflow as df, beside\n"
        "assert 'ray' not in sys.modules\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "def work(dp):\n"
        "    if dp[0] == 2: logging.warning('two is odd')\n"
        "    return [Point(beside.triple(dp[0]))]\n"
        "with df.PrefetchDataRay(df.DataFromList([[1], [2], [3]]).map(work), 1) as ds:\n"
        "    print(sorted(dp[0].x for dp in ds), flush=True)\n"
        "    import ray, time\n"
        "    time.sleep(1)  # until what the actor wrote has come\n"
        "print(ray.is_initialized())\n"
    )
    environ = {k: v for k, v in os.environ.items() if k not in ("TMPDIR", "RAY_ADDRESS")}
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=environ,
        timeout=patient(60),
    )
    told = [line for line in done.stderr.splitlines() if "two is odd" not in line]
    assert done.returncode == 0 and not told, done.stderr
    out = [line for line in done.stdout.splitlines() if "two is odd" not in line]
    assert out == ["[3, 6, 9]", "False"]
    assert "two is odd" in done.stderr + done.stdout


@with_ray
def test_a_ray_that_a_thread_started_outlives_it(tmp_path: Path) -> None:
    """A batch is filled by a thread behind the loop, which ends where the loop is left."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import time
import dataflow as df

def slow(dp):
    time.sleep(0.005)
    return dp

if __name__ == "__main__":
    ds = df.PrefetchDataRay(df.DataFromList([[i] for i in range(5000)]).map(slow), 2)
    with df.BatchData(ds, 32) as ds:
        for number, batch in enumerate(ds):
            if number == 3:
                break
        time.sleep(0.5)
        assert sum(len(batch[0]) for batch in ds) == 4992
    print("through")
"""
    )
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        env={**os.environ, "RAY_TMPDIR": "/tmp", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=patient(100),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("through")


def test_without_ray_the_error_says_how_to_get_it() -> None:
    script = (
        "import sys; sys.modules['ray'] = None\n"  # which is how Python says: not to be imported
        "import dataflow as df\n"
        "df.PrefetchDataRay(df.DataFromList([[1]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "MissingExtra: ray cannot be imported" in done.stderr
    assert "pip install ray" in done.stderr
