"""Runners: exactly once, in order where asked, failures where they belong, nothing left behind."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

import numpy as np
import pytest
from forked import exit_status_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import patient

import dataflow as df
from dataflow.engine.runners import ThreadRunner

RUNNERS = {
    "threads": lambda ds, **kw: ThreadRunner(ds, 3, **kw),
    "processes": lambda ds, **kw: df.PrefetchDataZMQ(ds, 2, **kw),
    "threads in processes": lambda ds, **kw: df.PrefetchDataZMQ(
        # The runner nearest to a failure decides about it.
        ThreadRunner(ds, 2, on_error=kw.get("on_error", "raise")),
        2,
        **kw,
    ),
}


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest):
    return RUNNERS[request.param]


def numbers(size: int, shuffle: bool = False) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(size)], shuffle=shuffle)


def firsts(flow) -> list[int]:
    return [int(dp[0]) for dp in flow]


def add_noise(dp):
    from dataflow.randomness import datapoint_rng

    return [dp[0], datapoint_rng().rand(3).tobytes()]


# -- exactly once -----------------------------------------------------------------------------


def test_every_datapoint_once_in_every_epoch(runner) -> None:
    with runner(numbers(100, shuffle=True).map(lambda dp: [dp[0] * 2])) as ds:
        first, second = firsts(ds), firsts(ds)
    assert sorted(first) == sorted(second) == list(range(0, 200, 2))
    assert len(ds) == 100


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_tiny_epochs(runner, size: int) -> None:
    with runner(numbers(size).map(lambda dp: dp)) as ds:
        assert sorted(firsts(ds)) == list(range(size))


def test_generators_are_read_here_and_mapped_there(runner) -> None:
    def generate():
        here = os.getpid()
        yield from ([i, here] for i in range(40))

    source = df.DataFromGenerator(generate)
    with runner(source.map(lambda dp: [*dp, os.getpid()])) as ds:
        found = sorted(tuple(dp) for dp in ds)
    assert [dp[0] for dp in found] == list(range(40))
    assert {dp[1] for dp in found} == {os.getpid()}


def test_drops_and_batches_below_the_runner(runner) -> None:
    chain = numbers(50).map(lambda dp: None if dp[0] % 3 == 0 else dp).batch(5, remainder=True)
    with runner(chain, ordered=True) as ds:
        found = [batch[0].tolist() for batch in ds]
    assert found == [batch[0].tolist() for batch in chain]


def test_the_outermost_runner_runs_what_is_below_a_batch_below_a_runner() -> None:
    def work(dp):
        if dp[0] == 7:
            raise ValueError("seven")
        time.sleep(0.005)
        return [dp[0], os.getpid(), np.int64(threading.get_ident())]

    batches = ThreadRunner(numbers(40).map(work).batch(3), 3, on_error="skip")
    with df.PrefetchDataZMQ(batches.map(lambda b: [*b, 1]), 2, ordered=True) as ds:
        found = list(ds)
    assert [i for b in found for i in b[0]] == [i for i in range(40) if i != 7]
    pids = {pid for b in found for pid in b[1].tolist()}
    assert os.getpid() not in pids and ds.stats()["errors"] == {"ValueError": 1}
    threads = {(p, t) for b in found for p, t in zip(b[1].tolist(), b[2].tolist(), strict=True)}
    assert len(threads) > len(pids), "the inner runner's threads are in the workers"


def test_order_stages_below_the_runner(runner) -> None:
    def chain():
        return numbers(20, shuffle=True).map(add_noise).shuffled(5).repeat(2)

    plain = list(chain().seed(3))
    with runner(chain()) as ds:
        ds.seed(3)
        assert list(ds) == plain


def test_endless_repetition_below_the_runner(runner) -> None:
    with runner(numbers(5).map(lambda dp: dp).repeat(-1), ordered=True) as ds:
        assert [dp[0] for _, dp in zip(range(23), ds, strict=False)] == [i % 5 for i in range(23)]


def test_taking_the_first_below_the_runner(runner) -> None:
    with runner(numbers(50).map(lambda dp: dp).take(7)) as ds:
        assert sorted(firsts(ds)) == list(range(7))


def _same_bytes_as_sequentially(make, size: int, buffer: int, shuffle: bool) -> None:
    def chain():
        return numbers(size, shuffle).map(add_noise).map(add_noise)

    plain = chain().seed(11)
    with make(chain(), buffer_size=buffer) as ds:
        ds.seed(11)
        assert [list(ds), list(ds)] == [list(plain), list(plain)]


@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(size=st.integers(0, 60), buffer=st.integers(1, 30), shuffle=st.booleans())
def test_a_seeded_run_gives_the_same_bytes_on_threads(size, buffer, shuffle) -> None:
    _same_bytes_as_sequentially(RUNNERS["threads"], size, buffer, shuffle)


# Processes take a while to start, so fewer examples.
@settings(max_examples=3, suppress_health_check=list(HealthCheck), deadline=None)
@given(size=st.integers(0, 60), buffer=st.integers(1, 30), shuffle=st.booleans())
def test_a_seeded_run_gives_the_same_bytes_on_processes(size, buffer, shuffle) -> None:
    for name in ("processes", "threads in processes"):
        _same_bytes_as_sequentially(RUNNERS[name], size, buffer, shuffle)


def test_a_slow_datapoint_holds_up_nobody_unordered() -> None:
    release = threading.Event()

    def work(dp):
        if dp[0] == 0:
            release.wait(patient(30))
        return dp

    with ThreadRunner(numbers(50).map(work), 2, ordered=False) as ds:
        iterator = iter(ds)
        others = [next(iterator)[0] for _ in range(49)]
        release.set()
        assert sorted(others) == list(range(1, 50)) and firsts(iterator) == [0]


def test_nested_runners_flatten(runner) -> None:
    inner = ThreadRunner(numbers(30).map(lambda dp: [dp[0], os.getpid()]), 2)
    with runner(inner.map(lambda dp: [*dp, os.getpid()]), ordered=True) as ds:
        found = list(ds)
    assert [dp[0] for dp in found] == list(range(30))
    assert all(dp[1] == dp[2] for dp in found), "the inner runner's stages run in the same worker"


def test_a_flow_that_can_only_be_iterated_runs_whole_in_one_process(caplog) -> None:
    class Mine(df.RNGDataFlow):
        def __iter__(self):
            yield from ([i, os.getpid()] for i in range(20))

        def __len__(self):
            return 20

    with df.PrefetchDataZMQ(Mine(), 3) as ds, caplog.at_level(logging.WARNING):
        found = sorted(map(tuple, ds))
        again = sorted(map(tuple, ds))
    assert [dp[0] for dp in found] == [dp[0] for dp in again] == list(range(20))
    (pid,) = {dp[1] for dp in found}
    assert pid != os.getpid()
    assert caplog.text.count("runs whole in one worker") == 1


def test_replicate_runs_it_in_each_process() -> None:
    class Noise(df.RNGDataFlow):
        def __iter__(self):
            for i in range(10):
                yield [i, self.rng.rand(), os.getpid()]

        def __len__(self):
            return 10

    def run():
        with df.PrefetchDataZMQ(Noise(), 3, replicate=True) as ds:
            ds.seed(5)
            assert len(ds) == 30
            return sorted(map(tuple, ds))

    found = run()
    assert [dp[0] for dp in found] == [i // 3 for i in range(30)]
    assert len({dp[1] for dp in found}) == 30, "each draws its own random numbers"
    assert len({dp[2] for dp in found}) == 3
    assert [dp[:2] for dp in run()] == [dp[:2] for dp in found]


# -- arrays -----------------------------------------------------------------------------------


def test_arrays_arrive_whole_writable_and_stay_when_kept() -> None:
    def image(dp):
        return [np.full((100, 120, 3), dp[0], np.uint8), dp[0]]

    with df.PrefetchDataZMQ(numbers(200).map(image), 2, hwm=5) as ds:
        kept = list(ds)
    assert sorted(label for _, label in kept) == list(range(200))
    for array, label in kept:
        assert array.shape == (100, 120, 3) and array.flags.writeable and (array == label).all()


def test_results_of_every_kind_cross() -> None:
    def kinds(dp):
        crop = np.arange(90_000).reshape(300, 300)[10:200, 5:250]
        return {"crop": crop, "f": np.float32(1.5), "text": "é", "none": None, "deep": [[crop]]}

    with df.PrefetchDataZMQ(numbers(2).map(kinds)) as ds:
        for dp in ds:
            expected = kinds(None)
            np.testing.assert_array_equal(dp["crop"], expected["crop"])
            np.testing.assert_array_equal(dp["deep"][0][0], expected["crop"])
            assert (dp["f"], dp["text"], dp["none"]) == (1.5, "é", None)


def test_a_result_larger_than_a_slot() -> None:
    from dataflow.transport.slots import SLOT_BYTES

    with df.PrefetchDataZMQ(numbers(1).map(lambda dp: [np.ones(SLOT_BYTES + 10, np.uint8)])) as ds:
        ((array,),) = list(ds)
    assert array.nbytes == SLOT_BYTES + 10 and array.all()


# -- failures ---------------------------------------------------------------------------------


class Odd(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, one, two) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("raised", "name"),
    [
        (lambda: ValueError("bad 7"), "builtins.ValueError"),
        (lambda: Odd("this", "that"), "Odd"),
        (lambda: type("Local", (Exception,), {"lock": threading.Lock()})("unpicklable"), "Local"),
    ],
)
def test_an_exception_arrives_with_type_and_traceback(runner, raised, name) -> None:
    def work(dp):
        if dp[0] == 7:
            raise raised()
        return dp

    with runner(numbers(20).map(work)) as ds, pytest.raises(df.WorkerError) as caught:
        list(ds)
    error = caught.value
    assert error.type_name.endswith(name)
    assert "in work" in error.traceback and "raise raised()" in error.traceback
    if name == "builtins.ValueError":
        assert isinstance(error.__cause__, ValueError)


def test_skipping_failures(runner) -> None:
    def work(dp):
        if dp[0] % 10 == 3:
            raise KeyError(dp[0])
        return dp

    with runner(numbers(50).map(work), on_error="skip") as ds:
        assert sorted(firsts(ds)) == [i for i in range(50) if i % 10 != 3]
    assert ds.stats()["errors"] == {"KeyError": 5}
    assert sorted(f.datapoint[0] for f in ds.errors()) == [3, 13, 23, 33, 43]
    assert all(f.reason == "KeyError" and "KeyError" in f.message for f in ds.errors())


def test_skipping_failures_above_repeated_batches() -> None:
    def work(dp):
        if dp[0][0] == 4:
            raise ValueError("four")
        return dp

    ds = numbers(10).batch(2).repeat(2).map(work)
    with pytest.raises(ValueError, match="four"):
        list(ds)
    with ThreadRunner(ds, 2, on_error="skip") as ds:
        assert [int(batch[0]) for batch, *_ in ds.seed(1)] == [0, 2, 6, 8] * 2
        assert ds.stats()["errors"] == {"ValueError": 2}


def test_batches_that_cannot_be_built_where_they_stream() -> None:
    def work(dp):
        return [np.zeros(3 if dp[0] == 5 else 2)]

    with ThreadRunner(numbers(8).take(8).map(work).batch(2), 2, on_error="skip") as ds:
        assert len(list(ds.seed(1))) == 3


def test_replacing_failures_in_the_consumer(runner) -> None:
    def replace(error, datapoint):
        assert isinstance(error, df.WorkerError) and isinstance(error.__cause__, ZeroDivisionError)
        return [-1] if datapoint[0] == 5 else None

    def work(dp):
        return [100 // (dp[0] % 5)]

    with runner(numbers(10).map(work), on_error=replace, ordered=True) as ds:
        assert firsts(ds) == [100, 50, 33, 25, -1, 100, 50, 33, 25]


def test_retrying_what_failed(tmp_path) -> None:
    flag = tmp_path / "works"

    def work(dp):
        if dp[0] % 4 == 0 and not flag.exists():
            raise OSError("not yet")
        return dp

    with df.PrefetchDataZMQ(numbers(12).map(work), 2, on_error="skip") as ds:
        assert len(list(ds)) == 9
        flag.touch()
        with ds.retry_failed() as again:
            assert sorted(firsts(again)) == [0, 4, 8] and len(again) == 3


def test_functions_of_a_module_that_workers_cannot_import(tmp_path) -> None:
    import importlib.util
    import sys

    path = tmp_path / "loaded_by_hand.py"
    path.write_text("STEP = 3\ndef work(dp):\n    return [dp[0] + STEP]\n")
    spec = importlib.util.spec_from_file_location("loaded_by_hand", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["loaded_by_hand"] = module
    try:
        spec.loader.exec_module(module)
        with df.PrefetchDataZMQ(numbers(4).map(module.work)) as ds:
            assert sorted(firsts(ds)) == [3, 4, 5, 6]
    finally:
        del sys.modules["loaded_by_hand"]


def test_a_worker_that_cannot_start_says_why() -> None:
    class Broken(df.MapData):
        def reset_state(self):
            raise OSError("no such database")

    ds = df.PrefetchDataZMQ(Broken(numbers(5), lambda dp: dp), 2)
    with ds, pytest.raises(df.WorkerError, match="no such database") as caught:
        list(ds)
    assert "in reset_state" in caught.value.traceback
    assert isinstance(caught.value.__cause__, OSError)


def test_what_cannot_be_sent_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"MapData cannot be sent .*, because of 'lock', a var"):
        list(df.PrefetchDataZMQ(numbers(3).map(lambda dp: lock and dp)))


def test_a_result_that_cannot_be_pickled_is_a_failure_of_its_own() -> None:
    def work(dp):
        return [threading.Lock()] if dp[0] == 2 else dp

    with df.PrefetchDataZMQ(numbers(5).map(work), on_error="skip") as ds:
        assert sorted(firsts(ds)) == [0, 1, 3, 4]
    (failure,) = ds.errors()
    assert "cannot be pickled" in failure.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_proc": 0}, "num_proc=0"),
        ({"hwm": 0}, "buffer_size=0"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
    ],
)
def test_arguments_are_checked(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        df.PrefetchDataZMQ(numbers(3), **arguments)


# -- deaths -----------------------------------------------------------------------------------


def test_a_killed_worker_costs_a_warning(caplog) -> None:
    def work(dp):
        time.sleep(0.002)
        return [dp[0], os.getpid()]

    with df.PrefetchDataZMQ(numbers(400).map(work), 4) as ds, caplog.at_level(logging.WARNING):
        found = []
        for number, dp in enumerate(ds):
            found.append(dp)
            if number == 50:
                os.kill(dp[1], signal.SIGKILL)
    assert sorted(dp[0] for dp in found) == list(range(400))
    assert ds.stats()["worker_restarts"] == 1
    assert caplog.text.count("was killed by SIGKILL") == 1


def test_an_ordered_stream_is_the_same_when_a_worker_is_killed() -> None:
    def chain():
        return numbers(200, shuffle=True).map(add_noise).map(lambda dp: time.sleep(0.001) or dp)

    plain = list(chain().seed(2))
    with df.PrefetchDataZMQ(chain().map(lambda dp: [*dp, os.getpid()]), 3) as ds:
        ds.seed(2)
        found, killed = [], []
        for number, dp in enumerate(ds):
            found.append(dp[:2])
            # One that is alive: what a killed worker did before is delivered for a while.
            if number >= (40, 100, 200)[len(killed)] and dp[2] not in killed:
                os.kill(dp[2], signal.SIGKILL)
                killed.append(dp[2])
    assert found == plain and ds.stats()["worker_restarts"] >= 1


def test_a_whole_flow_continues_in_another_worker() -> None:
    class Mine(df.RNGDataFlow):
        def __iter__(self):
            for i in range(60):
                time.sleep(0.002)
                yield [i, os.getpid()]

    with df.PrefetchDataZMQ(Mine(), hwm=5) as ds:
        found = []
        for number, dp in enumerate(ds):
            found.append(dp[0])
            if number == 20:
                os.kill(dp[1], signal.SIGKILL)
    assert sorted(found) == list(range(60))


# -- endings ----------------------------------------------------------------------------------


def test_workers_survive_an_epoch_and_end_with_close() -> None:
    ds = df.PrefetchDataZMQ(numbers(10).map(lambda dp: [dp[0], os.getpid()]), 2)
    first = {dp[1] for dp in ds}
    second = {dp[1] for dp in ds}
    assert second & first
    ds.close()
    ds.close()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in first | second)
    assert len(list(ds)) == 10, "a closed flow can be iterated again"
    ds.close()


def test_workers_stay_when_the_loop_is_left_early(runner) -> None:
    """They drop what they have not begun, and every later epoch is as any other."""

    def work(dp):
        time.sleep(0.002)
        return [dp[0], np.full(3000, dp[0]), os.getpid()]

    with runner(numbers(300).map(work)) as ds:
        pids = set()
        for left_after in (1, 40, 150):
            for _, (number, array, pid) in zip(range(left_after), ds, strict=False):
                assert (array == number).all()
                pids.add(pid)
        for _ in range(2):
            epoch = list(ds)
            assert sorted(firsts(epoch)) == list(range(300))
            assert {dp[2] for dp in epoch} >= pids
        assert ds.stats()["worker_restarts"] == 0


def test_a_worker_that_hangs_in_an_epoch_that_was_left_is_not_waited_for(tmp_path) -> None:
    begun, release = tmp_path / "begun", tmp_path / "release"

    def work(dp):
        if dp[0] == 1:
            begun.touch()
        while dp[0] == 1 and not release.exists():
            time.sleep(0.01)
        return [dp[0], os.getpid()]

    deadline = time.monotonic() + patient(30)
    with df.PrefetchDataZMQ(numbers(4).map(work), 1) as ds:
        for _, pid in ds:  # noqa: B007 - what is left of the loop
            while not begun.exists():  # or the worker would give it back
                assert time.monotonic() < deadline
                time.sleep(0.01)
            break
        (executor,) = ds._executors.values()
        while not any(held.seconds > 1.2 for held in executor.in_progress(executor.workers[0])):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        iterator = iter(ds)
        assert next(iterator)[1] != pid
        release.touch()
        assert sorted(dp[0] for dp in iterator) == [1, 2, 3]


def test_a_flow_that_runs_whole_begins_anew_after_a_loop_was_left() -> None:
    flow = df.DataFromGenerator(lambda: ([i, os.getpid()] for i in range(50)))
    with df.PrefetchDataZMQ(flow, 1).seed(1) as ds:
        for number in (0, 0, 3):
            ds.set_epoch(0)
            found = [dp for _, dp in zip(range(7 + number), ds, strict=False)]
            assert firsts(found) == list(range(7 + number))
        ds.set_epoch(0)
        assert firsts(ds) == list(range(50))


def test_workers_end_when_the_flow_is_forgotten() -> None:
    import gc

    ds = df.PrefetchDataZMQ(numbers(20).map(lambda dp: [dp[0], os.getpid()]), 2)
    pids = {dp[1] for dp in ds}
    del ds
    gc.collect()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_threads_end_when_the_flow_is_forgotten() -> None:
    import gc

    before = threading.active_count()
    for _ in range(3):
        assert len(list(ThreadRunner(numbers(5), 4))) == 5
    gc.collect()
    assert threading.active_count() == before


def test_failures_of_a_source_without_keys_keep_no_datapoints() -> None:
    def work(dp):
        raise ValueError("no")

    source = df.DataFromGenerator(lambda: ([np.zeros(1000), i] for i in range(5)))
    with ThreadRunner(source.map(work), 1, on_error="skip") as ds:
        assert list(ds) == []
    assert sorted(f.datapoint for f in ds.errors()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("before", ["", "looked at", "iterated here"])
def test_a_stage_may_open_what_cannot_be_sent_in_reset_state(before: str) -> None:
    class Locking(df.MapData):
        lock = None
        opened = 0

        def reset_state(self):
            super().reset_state()
            self.lock = threading.Lock()
            self.opened += 1
            assert self.opened == 1, "a worker makes a fresh one ready"

        def apply(self, datapoint):
            with self.lock:
                return super().apply(datapoint)

    chain = Locking(numbers(10), lambda dp: [dp[0] + 1]).batch(5)
    if before == "iterated here":
        assert len(list(chain)) == 2
    with df.PrefetchDataZMQ(chain, 2, ordered=True) as ds:
        if before == "looked at":
            assert ds[0][0].tolist() == [1, 2, 3, 4, 5]
        assert [b[0].tolist() for b in ds] == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]


def test_iterated_in_a_thread_that_ends() -> None:
    ds = df.PrefetchDataZMQ(numbers(300).map(lambda dp: time.sleep(0.001) or dp), 2)
    started: list = []

    def begin() -> None:
        iterator = iter(ds)
        started.extend([iterator, next(iterator)])

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    rest = list(started[0])
    assert len(rest) == 299 and ds.stats()["worker_restarts"] == 0
    ds.close()


def test_a_forked_child_leaves_the_workers_alone() -> None:
    with df.PrefetchDataZMQ(numbers(200).map(lambda dp: time.sleep(0.001) or dp), 2) as ds:
        iterator = iter(ds)
        next(iterator)

        def forget() -> int:
            nonlocal iterator, ds
            del iterator, ds
            return 0

        assert exit_status_of(forget) == 0
        assert len(list(iterator)) == 199
        assert ds.stats()["worker_restarts"] == 0


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_a_forked_child_has_workers_of_its_own(name: str) -> None:
    """Where the parent's were at work already; and those go on."""
    chain = df.DataFromList([[i] for i in range(40)], shuffle=False).map(lambda dp: dp)
    with RUNNERS[name](chain).batch(4) as ds:
        expected = sorted(int(n) for (batch,) in ds for n in batch)

        def iterate() -> int:
            found = sorted(int(n) for (batch,) in ds for n in batch)
            ds.close()
            return 0 if found == expected else 1

        assert exit_status_of(iterate) == 0
        assert sorted(int(n) for (batch,) in ds for n in batch) == expected
        assert ds.stats()["worker_restarts"] == 0
