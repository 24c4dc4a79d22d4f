"""The pool of workers on other machines: exact, whatever becomes of them."""

from __future__ import annotations

import importlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import chains
import numpy as np
import pytest
from hosts import Hosts, why_not
from network import ROOT, Proxy, until
from patience import patient
from peer import Peer

import dataflow as df
from dataflow.codec.wire import Kind
from dataflow.errors import CodecError, ConfigError, WorkerError
from dataflow.plan.fingerprint import fingerprint
from dataflow.remote.program import Program
from dataflow.transport.keys import make_keys

LOOPBACK = "tcp://127.0.0.1:*"

Work = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    """Start ``dataflow worker chains:NAME ADDRESSES …``; its `log` is a file."""
    started = []

    def start(name: str, address: str, *options: str, procs: int = 1) -> subprocess.Popen[str]:
        log = tmp_path / f"worker-{len(started)}.txt"
        words = [f"chains:{name}", *address.split(), "--procs", str(procs)]
        command = ["-m", "dataflow", "worker", *words]
        with log.open("w") as told:
            process = subprocess.Popen(
                [sys.executable, *command, *options],
                cwd=Path(__file__).parent,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=told,
                text=True,
            )
        process.log = log  # type: ignore[attr-defined]
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
    for process in started:
        try:
            process.wait(patient(10))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def same(one: Any, other: Any) -> bool:
    """Equal, with equal types, down to the bytes."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def pool(ds: Any, **options: Any) -> df.PrefetchDataRemote:
    return df.PrefetchDataRemote(ds, LOOPBACK, **options)


def numbers_of(found: list[Any]) -> list[int]:
    return sorted(int(one) for dp in found for one in np.ravel(dp[0]))


@pytest.mark.parametrize("name", ["random", "batches", "two_sources"])
def test_the_same_bytes_as_without_a_pool(work: Work, name: str) -> None:
    plain = getattr(chains, name)().seed(5)
    plain.reset_state()
    expected = [list(plain), list(plain)]
    with pool(getattr(chains, name)(), ordered=True).seed(5) as ds:
        work(name, ds.addresses[0])
        work(name, ds.addresses[0], "--threads", "2")
        found = [list(ds), list(ds)]
    assert same(found, expected)


@pytest.mark.parametrize("name", ["random", "batches"])
def test_every_datapoint_once(work: Work, name: str) -> None:
    with pool(getattr(chains, name)()) as ds:
        processes = [work(name, ds.addresses[0], procs=2), work(name, ds.addresses[0])]
        for _ in range(2):
            found = list(ds)
            assert numbers_of(found) == list(range(300))
        until(lambda: len(ds.peers()) == 2)
        assert sum(peer["workers"] for peer in ds.peers()) <= 3
        assert all(peer["outstanding"] == 0 for peer in ds.peers())
        assert all(array.flags.writeable for dp in found for array in dp if hasattr(array, "flags"))
    assert [process.wait(patient(10)) for process in processes] == [0, 0], (
        "the trainer has finished"
    )


AROUND: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "stages above": lambda run: run(chains.random()).map(_next),
    "threads above": lambda run: df.MultiThreadMapData(run(chains.random()), 2, _next),
    "processes above batches": lambda run: df.PrefetchDataZMQ(run(chains.batches()).map(_next), 1),
    "a pool beside": lambda run: df.ConcatData([run(chains.random()), run(chains.random())]),
    "a flow beside": lambda run: df.ConcatData([run(chains.random()), chains.random()]).map(_next),
}


def _next(datapoint: Any) -> Any:
    return [datapoint[0] + 1, *datapoint[1:]]


@pytest.mark.parametrize("name", AROUND)
def test_a_pool_in_a_chain(name: str) -> None:
    expected = list(AROUND[name](lambda ds: ds).seed(5))
    with AROUND[name](lambda ds: pool(ds, num_proc=1)).seed(5) as ds:
        iterator = iter(ds)
        found = list(islice(iterator, len(expected) // 2))
        state = ds.state_dict()
        assert same(found + list(iterator), expected)
        assert same(ds[7], expected[7])
    with AROUND[name](lambda ds: pool(ds, num_proc=1)) as ds:
        ds.load_state_dict(state)
        assert same(list(ds), expected[len(found) :])


def test_a_file_as_people_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beside the file is found as well, by the worker's processes, too."""
    (tmp_path / "beside_a_flow.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "flow_of_a_file.py").write_text(
        "import dataflow as df\nimport beside_a_flow\n\n"
        "def work(dp):\n    return [beside_a_flow.double(dp[0])]\n\n"
        "def flow():\n    return df.DataFromList([[i] for i in range(20)]).map(work)\n"
    )

    monkeypatch.syspath_prepend(str(tmp_path))
    with pool(importlib.import_module("flow_of_a_file").flow()) as ds:
        command = ["dataflow", "worker", f"{tmp_path}/flow_of_a_file.py:flow", ds.addresses[0]]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--procs", "1"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        try:
            assert sorted(ds) == [[2 * i] for i in range(20)]
        finally:
            process.terminate()
            process.wait(patient(10))


TIMES = """
import dataflow as df

def work(dp):
    return [dp[0] * FACTOR]

def flow():
    return df.DataFromList([[i] for i in range(20)], shuffle=True).map(work)
"""


@pytest.mark.parametrize("allowed", [False, True])
def test_another_version_of_the_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    allowed: bool,
) -> None:
    """A worker that has it is refused, unless somebody allows it."""
    name = f"versions_of_a_flow_{allowed}"
    for place, factor in (("here", 2), ("there", 3)):
        (tmp_path / place).mkdir()
        text = TIMES.replace("FACTOR", str(factor))
        (tmp_path / place / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    ds = pool(importlib.import_module(name).flow(), num_proc=0 if allowed else 1)
    with ds, caplog.at_level(logging.WARNING):
        command = ["dataflow", "worker", f"{name}:flow", ds.addresses[0], "--procs", "1"]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, *["--allow-different-code"] * allowed],
            cwd=tmp_path / "there",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            if not allowed:
                _, told = process.communicate(timeout=patient(30))
                text = "its code is another one; not the same here and there: work. Start it from"
                assert process.returncode != 0 and text in told and "Traceback" not in told
                assert text in caplog.text
            factor = 3 if allowed else 2
            assert sorted(ds) == [[factor * i] for i in range(20)]
        finally:
            process.terminate()
            process.communicate()
    if allowed:
        assert "runs other code; not the same here and there: work" in caplog.text


def test_what_the_trainer_sees(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    """Of each machine, and of who was turned away and why."""
    with pool(chains.one_fails(), on_error="skip") as ds:
        work("one_fails", ds.addresses[0])
        refused = work("batches", ds.addresses[0])
        assert len(list(ds)) == 29
        assert refused.wait(patient(20)) != 0
        (row,) = (row for row in ds.stats()["stages"] if row["kind"] == "runner")
        (peer,) = row["peers"]
        assert peer["failures"] == 1 and peer["datapoints"] == 30 and peer["link"] > 0
        assert peer["versions"]["dataflow"] == df.__version__ and 0 <= peer["heard"] < patient(10)
        assert row["refused"] == {"chain": 1} and "another one" in row["turned_away"][0]


def test_other_versions_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Once."""
    program = Program.of(chains.random(), lenient=False)
    theirs = {**program.said(), "versions": {**program.versions, "NumPy": "1.2.3"}}
    for _ in range(2):
        program.check("worker 7", theirs)
    (warning,) = caplog.messages
    assert warning.startswith("worker 7 has other versions") and "NumPy 1.2.3 there" in warning
    with pytest.raises(CodecError, match="code is no list"):
        program.check("worker 7", {**theirs, "code": [["name", "digest"]]})
    program.check("an older one", {"chain": program.chain})


def test_a_worker_of_two_trainers(work: Work) -> None:
    """Together, and the one that goes on alone; when both have finished, it ends."""
    with pool(chains.slow()) as one, pool(chains.slow(), ordered=True).seed(1) as other:
        process = work("slow", f"{one.addresses[0]} {other.addresses[0]}")
        both = [iter(one), iter(other)]
        found = [[next(iterator)[0] for _ in range(50)] for iterator in both]
        found[0] += [dp[0] for dp in both[0]]
        assert sorted(found[0]) == list(range(300))
        one.close()
        found[1] += [dp[0] for dp in both[1]]
        assert found[1] == [dp[0] for dp in chains.slow(0).seed(1)]
        assert sorted(dp[0] for dp in other) == list(range(300))
        assert process.poll() is None
    assert process.wait(patient(10)) == 0


def test_datapoints_that_a_slow_link_is_long_at(
    work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    """What else the machine says waits behind them, and is not missed."""
    plain = list(chains.bulky().seed(1))
    with (
        pool(chains.bulky(), ordered=True, timeout=1.0).seed(1) as ds,
        Proxy(ds.addresses[0], rate=15e6) as proxy,  # 1.3 s each, and 0.5 s of silence are borne
        caplog.at_level(logging.WARNING),
    ):
        work("bulky", proxy.address, "--timeout", "1")
        assert same(list(ds), plain)
        assert proxy.connections == 1 and "its connection broke" not in caplog.text


def test_a_worker_takes_larger_messages_where_it_is_told_to(work: Work) -> None:
    chain = chains.bulky()
    with pool(chain, on_error="skip", max_message_bytes=1 << 30) as ds:
        work("bulky", ds.addresses[0], "--max-message-bytes", "1000000")
        assert list(ds) == [] and len(ds.errors()) == 4
        assert "max_message_bytes" in ds.errors()[0].message


def test_processes_of_this_machine_help(work: Work) -> None:
    with pool(chains.slow(), num_proc=1) as ds:
        iterator = iter(ds)
        found = list(islice(iterator, 10))  # alone at first
        work("slow", ds.addresses[0])
        until(lambda: ds.peers() and ds.peers()[0]["workers"])
        found += iterator
        assert numbers_of(found) == list(range(300))
        (peer,) = ds.peers()
        assert 0 < peer["datapoints"] < 300


def test_a_changed_stage_goes_to_the_processes_of_this_machine() -> None:
    stage = df.MapData(df.DataFromList([[i] for i in range(20)], shuffle=False), lambda dp: dp)
    with pool(stage, num_proc=1, ordered=True) as ds:
        assert list(ds) == [[i] for i in range(20)]
        stage.func = lambda dp: [10 * dp[0]]
        for _ in range(2):
            assert list(ds) == [[10 * i] for i in range(20)]


def test_of_a_changed_stage_other_machines_do_not_hear(
    work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    chain = chains.slow()
    with pool(chain, num_proc=1) as ds:
        work("slow", ds.addresses[0])
        assert numbers_of(list(ds)) == list(range(300))
        until(lambda: ds.peers())
        assert "anew" not in caplog.text
        chain.note = "of no consequence"  # type: ignore[attr-defined]
        assert numbers_of(list(ds)) == list(range(300))
        assert caplog.text.count("those of other machines run it as their own program") == 1


@pytest.mark.alone
def test_a_machine_that_is_killed(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    with pool(chains.slow()) as ds, caplog.at_level(logging.WARNING):
        victim, _ = work("slow", ds.addresses[0], procs=2), work("slow", ds.addresses[0])
        found = []
        iterator = iter(ds)
        while len(ds.peers()) < 2 or len(found) < 30:
            found.append(next(iterator))
        victim.kill()
        killed = time.monotonic()
        while len(ds.peers()) > 1:
            found.append(next(iterator))
        assert time.monotonic() - killed < patient(3.5)
        found += iterator
        assert numbers_of(found) == list(range(300))
    (told,) = [record.message for record in caplog.records if "dataflow" in record.name]
    assert "does not work here any more" in told


def test_machines_that_join_and_leave(work: Work) -> None:
    with pool(chains.slow()) as ds:
        first = work("slow", ds.addresses[0])
        iterator = iter(ds)
        found = list(islice(iterator, 20))
        second = work("slow", ds.addresses[0])
        until(lambda: len(ds.peers()) == 2 and ds.peers()[1]["workers"])
        while sum(peer["datapoints"] > 0 for peer in ds.peers()) < 2:
            found.append(next(iterator))
        first.terminate()
        found += iterator
        assert numbers_of(found) == list(range(300))
        assert first.wait(patient(10)) == 0
        (peer,) = ds.peers()
        assert str(second.pid) in peer["name"]


def test_a_process_that_dies_is_replaced(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    with pool(chains.slow()) as ds, caplog.at_level(logging.WARNING):
        worker = work("slow", ds.addresses[0])
        iterator = iter(ds)
        found = list(islice(iterator, 20))
        children = Path(f"/proc/{worker.pid}/task")
        (child,) = {
            int(pid)
            for task in children.iterdir()
            for pid in (task / "children").read_text().split()
        }
        os.kill(child, signal.SIGKILL)
        found += iterator
        assert numbers_of(found) == list(range(300))
        assert ds.stats()["stages"][-1]["restarts"] == 1
    (told,) = [record.message for record in caplog.records if "dataflow" in record.name]
    assert f"worker process {child} of" in told and "SIGKILL" in told


def test_a_datapoint_that_kills_its_worker(work: Work) -> None:
    with pool(chains.one_is_fatal(), on_error="skip") as ds:
        work("one_is_fatal", ds.addresses[0], procs=2)
        assert numbers_of(list(ds)) == [i for i in range(150) if i != 77]
        assert [one.reason for one in ds.errors()] == ["poison"]


def test_a_datapoint_that_never_ends(work: Work) -> None:
    with pool(chains.one_hangs(), on_error="skip", task_timeout=patient(0.7)) as ds:
        work("one_hangs", ds.addresses[0], procs=2)
        assert numbers_of(list(ds)) == [i for i in range(150) if i != 77]
        assert [one.reason for one in ds.errors()] == ["timeout"]


def test_what_raises_there_raises_here(work: Work) -> None:
    with pool(chains.some_fail(), ordered=True) as ds:
        work("some_fail", ds.addresses[0])
        with pytest.raises(WorkerError, match="twenty") as raised:
            list(ds)
        assert raised.value.type_name == "builtins.KeyError"
        assert "in work" in raised.value.traceback


def test_failures_that_are_skipped_are_counted(work: Work) -> None:
    seen = []

    def note(error: Exception, key: Any) -> None:
        seen.append(error)

    with pool(chains.some_fail(), ordered=True, on_error=note) as ds:
        work("some_fail", ds.addresses[0])
        assert [dp[0] for dp in ds] == [i for i in range(60) if i not in (20, 30, 40)]
    unreadable, unsendable = seen[1:]
    assert type(unreadable) is df.errors.DecodeError
    assert (unreadable.reason, unreadable.url, unreadable.status) == (
        "not_image",
        "http://a/b",
        200,
    )
    assert type(unsendable) is CodecError and "function cannot be sent" in str(unsendable)


def test_a_key_that_cannot_be_sent(work: Work) -> None:
    source = df.DataFromList([(i, (object(), i)) for i in range(300)], shuffle=True)
    with pool(source.map(chains.drawn)) as ds:
        work("random", ds.addresses[0])
        with pytest.raises(CodecError, match=r"key of datapoint .* cannot be sent"):
            list(ds)


def test_another_chain_is_refused(work: Work) -> None:
    with pool(chains.random()) as ds:
        assert ds.addresses
        worker = work("another", ds.addresses[0])
        assert worker.wait(patient(20)) == 1
        told = worker.log.read_text()  # type: ignore[attr-defined]
        assert "-DataFromList(300 datapoints" in told and "+DataFromList(299 datapoints" in told
        assert until(lambda: ds._end.exchange.refusals)["chain"] == 1


@pytest.mark.parametrize("name", ["without_keys", "pool_and_more"])
def test_chains_that_are_the_same_for_a_worker(work: Work, name: str) -> None:
    with pool(chains.random()) as ds:
        work(name, ds.addresses[0])
        assert numbers_of(list(ds)) == list(range(300))


def test_a_process_that_is_shown_twice(work: Work) -> None:
    # It comes up between a new connection and the trainer's word that the part is run.
    with ThreadPoolExecutor(1) as thread, pool(chains.random()) as ds:
        result = thread.submit(list, ds)
        with Peer(ds.addresses[0], role="worker") as machine:
            machine.greet()
            machine.say(Kind.JOIN, chain=fingerprint(chains.random()), procs=1, threads=0)
            machine.hear(Kind.START)
            for _ in range(2):
                machine.say(Kind.UP, part=0, worker=0, hands=1, pid=1)
            assert machine.hear(Kind.LEASE, Kind.REFUSE)["lease"] >= 0
            machine.say(Kind.HANDS, part=0, worker=0, held=[])
            machine.say(Kind.LEAVE, reason="that was all")
        work("random", ds.addresses[0])
        assert numbers_of(result.result(20)) == list(range(300))
        assert not ds._end.exchange.refusals


def test_a_state_goes_on_with_another_pool(work: Work) -> None:
    with pool(chains.random().seed(3)) as ds:
        expected = list(chains.random().seed(3))
        work("random", ds.addresses[0])
        iterator = iter(ds)
        before = list(islice(iterator, 130))
        state = ds.state_dict()
    with pool(chains.random()) as again:
        again.load_state_dict(state)
        work("random", again.addresses[0], procs=2)
        after = list(again)
    assert same(before + after, expected)


def test_a_trainer_that_is_killed_and_started_again(work: Work, start: Any) -> None:
    program = """
        import sys
        sys.path.insert(0, "tests/remote")
        import chains
        with df.PrefetchDataRemote(chains.slow(), address) as ds:
            for count, dp in enumerate(ds):
                if count % 10 == 0:
                    print(count, flush=True)
    """
    with pool(chains.slow()) as probe:  # a free port
        address = probe.addresses[0]
    worker = work("slow", address)
    first = start(program, address)
    assert first.stdout.readline() == "0\n"
    first.kill()
    second = start(program, address)
    assert second.communicate(timeout=patient(30))[0].split() == [str(i) for i in range(0, 300, 10)]
    assert worker.wait(patient(10)) == 0


def test_a_connection_that_is_cut_again_and_again(work: Work) -> None:
    with pool(chains.slow(), ordered=True, timeout=patient(2.0)).seed(1) as ds:
        expected = list(chains.slow(0).seed(1))
        with Proxy(ds.addresses[0]) as proxy:
            work("slow", proxy.address, procs=2)
            found = []
            for dp in ds:
                found.append(dp)
                if len(found) % 100 == 50:
                    proxy.cut()
            assert proxy.connections >= 3
    assert same(found, expected)


TRAINER = """
import sys
sys.path.insert(0, "tests/remote")
import chains, dataflow as df
with df.PrefetchDataRemote(chains.some(), "tcp://0.0.0.0:5000", timeout=2, insecure=True) as ds:
    for dp in ds:
        print(int(dp[0]), flush=True)
"""


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "")
@pytest.mark.parametrize("seconds", [1.5, pytest.param(10.0, marks=pytest.mark.soak)])
def test_machines_behind_links_that_fail(seconds: float) -> None:
    """Resets, and a partition that is longer than the silence that is borne."""
    more = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "text": True, "cwd": ROOT}
    there = {**more, "cwd": ROOT / "tests/remote", "stderr": subprocess.DEVNULL}
    with Hosts(["trainer", "one", "two"], delay=0.004, loss=0.001) as hosts:
        trainer = hosts.start("trainer", [sys.executable, "-c", TRAINER], stdout=-1, **more)
        command = [sys.executable, "-m", "dataflow", "worker", "chains:some"]
        address = f"tcp://{hosts.address('trainer')}:5000"
        workers = [hosts.start(name, [*command, address], **there) for name in ("one", "two")]
        found = [int(line) for line in islice(trainer.stdout, 200)]
        hosts.reset("one")
        found += [int(line) for line in islice(trainer.stdout, 200)]
        hosts.cut("two")
        begun = time.monotonic()
        while time.monotonic() < begun + seconds and len(found) < 1500:
            found.append(int(next(trainer.stdout)))
        hosts.restore("two")
        hosts.reset("trainer")
        found += [int(line) for line in trainer.stdout]
        assert trainer.wait(patient(30)) == 0
        assert [worker.wait(patient(20)) for worker in workers] == [0, 0]
        trainer.stdout.close()
    assert sorted(found) == list(range(1800))


def test_a_pool_with_keys(work: Work, tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    make_keys(tmp_path / "others")
    with pool(chains.random(), keys=tmp_path / "keys") as ds:
        stranger = work("random", ds.addresses[0], "--keys", str(tmp_path / "others"))
        work("random", ds.addresses[0], "--keys", str(tmp_path / "keys"))
        assert numbers_of(list(ds)) == list(range(300))
        assert len(ds.peers()) == 1
    assert stranger.poll() is None or stranger.returncode == 1


def test_arguments_that_make_no_sense() -> None:
    ds = chains.random()
    with pytest.raises(ConfigError, match="would let every host"):
        df.PrefetchDataRemote(ds, "tcp://0.0.0.0:5555")
    with pytest.raises(ConfigError, match="num_proc=-1"):
        df.PrefetchDataRemote(ds, LOOPBACK, num_proc=-1)


def test_explain_knows_the_machines(work: Work) -> None:
    with pool(chains.slow()) as ds:
        work("slow", ds.addresses[0], procs=2)
        list(ds)
        assert "MapData holds the run back" in ds.explain()
        row = ds.stats()["stages"][-1]
    assert row["workers"] == 2 and row["bytes"] > 300 * 2000
    assert row["peers"][0]["datapoints"] == 300


@pytest.mark.parametrize(
    "name, seconds", [("some", 6.0), pytest.param("many", 60.0, marks=pytest.mark.soak)]
)
def test_kills_joins_leaves_and_cuts_at_random(work: Work, name: str, seconds: float) -> None:
    """In the end, what was delivered is the source, exactly."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    chain = getattr(chains, name)()
    with (
        pool(chain, timeout=patient(2.0)) as ds,
        Proxy(ds.addresses[0]) as proxy,
    ):
        machines = [work(name, proxy.address), work(name, ds.addresses[0])]
        found, events = [], 0
        for dp in ds:
            if not found:  # the machines have started
                ends, next_event = time.monotonic() + seconds, time.monotonic() + 0.5
            found.append(int(dp[0]))
            assert (dp[1] == dp[0] % 251).all()
            if (now := time.monotonic()) > next_event and now < ends:
                next_event, events = now + rng.uniform(0.1, 1.0), events + 1
                what = rng.choice(["kill", "leave", "cut", "join", "child"])
                alive = [machine for machine in machines if machine.poll() is None]
                if what == "cut":
                    proxy.cut()
                elif what in ("kill", "leave") and len(alive) > 1:
                    getattr(rng.choice(alive), "kill" if what == "kill" else "terminate")()
                elif len(alive) < 4:
                    address = rng.choice([proxy.address, ds.addresses[0]])
                    machines.append(work(name, address))
        assert sorted(found) == list(range(len(chain)))
    assert events > seconds / 2
