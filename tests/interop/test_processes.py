"""tensorpack's process wrappers over this package's flows, and the other way round.

They hang when the interpreter exits (with current releases of pyzmq), so each runs in a process
of its own that leaves by `os._exit`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from patience import patient

from dataflow.demo.server import serve

ROOT = Path(__file__).parents[2]
HEAD = """
import os, signal, sys
from collections import Counter
import tensorpack.dataflow as tp
import dataflow as df

def leave():
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)  # their workers
    os._exit(0)
"""


def run(script: str, *arguments: object, tries: int = 1) -> str:
    """The output of a script, whose processes are all gone afterwards.

    Args:
        script: what to run.
        arguments: of the script.
        tries: how often, where a fault of tensorpack's own may make it hang.
    """
    for left in range(tries - 1, -1, -1):
        try:
            return _run(script, arguments, timeout=60 if tries == 1 else 15)
        except subprocess.TimeoutExpired:
            if not left:
                raise
    raise AssertionError("there is at least one try")


def _run(script: str, arguments: tuple[object, ...], timeout: float) -> str:
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(script) + "\nleave()", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=patient(timeout))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
    assert process.returncode == 0, err
    return out.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "wrapper",
    [
        "tp.PrefetchDataZMQ(ds, num_proc=1)",
        "tp.MultiProcessRunner(ds, num_prefetch=4, num_proc=1)",
    ],
)
def test_their_runner_with_one_process_delivers_our_epoch(wrapper: str) -> None:
    script = f"""
    ds = df.DataFromList([[i] for i in range(50)]).map(lambda dp: [dp[0] * 2])
    ds = {wrapper}
    ds.reset_state()
    print(len(ds), sorted(dp[0] for dp in ds.get_data()) == list(range(0, 100, 2)))
    """
    assert run(script) == "50 True"


def test_their_runner_runs_our_flow_in_each_of_its_processes() -> None:
    """As their documentation says, each process runs the whole flow by itself."""
    script = """
    ds = df.DataFromList([[os.getpid, i] for i in range(20)], shuffle=False)
    ds = df.MapData(ds, lambda dp: [dp[0](), dp[1]])
    ds = tp.PrefetchDataZMQ(tp.RepeatedData(ds, -1), num_proc=2)
    ds.reset_state()
    seen = {}
    for pid, i in ds:
        seen.setdefault(pid, []).append(i)
        if len(seen) == 2 and min(map(len, seen.values())) >= 20:
            break
    print(all(sorted(values[:20]) == list(range(20)) for values in seen.values()))
    """
    assert run(script) == "True"


def test_their_parallel_map_takes_each_of_our_datapoints_once() -> None:
    # Theirs loses a datapoint now and then, and waits for it, when the first ones come while its
    # processes start (also with a source of its own that takes 20 ms to begin).
    script = """
    ds = df.DataFromList([[i] for i in range(60)])
    ds = tp.MultiProcessMapDataZMQ(ds, 2, lambda dp: [dp[0] + 1], buffer_size=10, strict=True)
    ds.reset_state()
    print(Counter(dp[0] for dp in ds) == Counter(range(1, 61)))
    """
    assert run(script, tries=5) == "True"


def test_their_runner_over_our_parallel_downloads(tmp_path: Path) -> None:
    """The second program of the ancestor's README; releases of tensorpack differ in `nr_proc`."""
    import cv2
    import numpy as np

    base = tmp_path / "data"
    lines = []
    for number in range(12):
        synset = f"n{number % 3:08d}"
        file = base / f"Data/CLS-LOC/train/{synset}/{synset}_{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.full((20, 20, 3), number * 20, np.uint8))
        lines.append(f"{synset}/{synset}_{number} {number + 1}\n")
    (base / "ImageSets/CLS-LOC").mkdir(parents=True)
    (base / "ImageSets/CLS-LOC/train_cls.txt").write_text("".join(lines))
    script = """
    os.environ.update(DATAFLOW_ILSVRC_URL=sys.argv[1] + "/{}", DATAFLOW_CACHE=sys.argv[2])
    from dataflow.dataset import ILSVRC12

    ds = ILSVRC12("data", "train", shuffle=True).parallel(num_threads=16)
    ds = tp.PrefetchDataZMQ(ds, num_proc=1)
    ds.reset_state()
    found = sorted(round(image.mean() / 20) for image, label in ds.get_data())
    print(found == list(range(12)))
    """
    with serve(tmp_path) as url:
        assert run(script, url, tmp_path / "cache") == "True"


def test_their_runner_repeats_what_ours_delivers_once() -> None:
    """Two processes: theirs runs the flow in each of them, and stops after so many datapoints."""
    script = """
    import time

    def slow(dp):  # so that each process has its part
        time.sleep(0.002)
        return dp

    def chain(kit, wrap):
        source = kit.DataFromList([[i] for i in range(200)], shuffle=False)
        ds = wrap(kit, kit.MapData(source, slow))
        ds.reset_state()
        found = Counter(dp[0] for dp in ds)
        return len(ds), sum(found.values()), len(found) == 200

    wraps = [
        lambda kit, ds: kit.PrefetchDataZMQ(ds, num_proc=2),
        lambda kit, ds: kit.PrefetchData(ds, num_prefetch=10, num_proc=2),
    ]
    print([[chain(kit, wrap) for kit in (df, tp)] for wrap in wraps])
    """
    ours, theirs = (200, 200, True), (200, 200, False)
    assert run(script, tries=3) == str([[ours, theirs]] * 2)


def test_map_and_batch() -> None:
    """Theirs has neither length nor end, mixes epochs, and needs the buffer's size."""
    script = """
    from itertools import islice

    def chain(kit, *size):
        ds = kit.DataFromList([[i] for i in range(40)], shuffle=False)
        ds = kit.MultiProcessMapAndBatchData(ds, 2, lambda dp: [dp[0] * 2], 8, *size)
        ds.reset_state()
        return ds

    def fails(call):
        try:
            call()
        except Exception as error:
            return type(error).__name__

    ours, theirs = chain(df), chain(tp, 16)
    epoch = [batch.tolist() for batch, in ours]
    exact = sorted(sum(epoch, [])) == list(range(0, 80, 2))
    more = [len(batch) for batch, in islice(theirs, 12)]
    ours.close()  # `leave` takes its workers no time to tidy up
    print(len(ours), exact, set(more), fails(lambda: len(theirs)), fails(lambda: chain(tp)))
    """
    assert run(script, tries=3) == "5 True {8} NotImplementedError TypeError"


def test_our_runner_over_their_runner() -> None:
    script = """
    ds = tp.DataFromList([[i] for i in range(30)], shuffle=False)
    ds = tp.PrefetchDataZMQ(ds, num_proc=1)
    ds = df.BatchData(df.MapData(ds, lambda dp: [dp[0] + 1]), 10)
    print([int(batch.sum()) for batch, in ds])
    """
    assert run(script) == "[55, 155, 255]"


def test_our_runner_over_a_map_over_their_runner() -> None:
    script = """
    ds = tp.DataFromList([[i] for i in range(30)], shuffle=False)
    ds = tp.MapData(tp.PrefetchDataZMQ(ds, num_proc=1), lambda dp: [dp[0] + 1])
    with df.PrefetchDataZMQ(ds, 2) as ds:
        print(sorted(dp[0] for dp in ds) == list(range(1, 31)))
    """
    assert run(script) == "True"
