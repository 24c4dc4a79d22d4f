"""Actors on the nodes of a Ray cluster: nodes that die, little room, what Ray's own tools start."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optional import library
from patience import patient

import dataflow as df
from dataflow.randomness import datapoint_rng

ray = library("ray")
cluster_utils = library("ray.cluster_utils")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of Ray's sockets have no room for a long folder."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A head without CPUs; nodes are to be added. This process is connected to it."""
    made = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20},
    )
    ray.init(address=made.address, logging_level=logging.ERROR)
    yield made
    ray.shutdown()
    made.shutdown()


def numbers(size: int) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=True).seed(2)


def noisy(dp: list[Any]) -> list[Any]:
    return [dp[0], datapoint_rng().bytes(8)]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def with_node(dp: list[Any]) -> list[Any]:
    time.sleep(0.002)
    return [dp[0], datapoint_rng().bytes(8), ray.get_runtime_context().get_node_id()]


def test_a_node_dies(nodes: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its actors' datapoints go to the others: the same stream, and a word."""
    machines = {node.node_id: node for node in (nodes.add_node(num_cpus=1) for _ in range(3))}
    expected = [dp[:2] for dp in numbers(3000).map(noisy)]
    found: list[Any] = []
    seen: set[str] = set()
    ds = df.PrefetchDataRay(numbers(3000).map(with_node), 3, actor_options={"num_cpus": 1})
    with ds, caplog.at_level(logging.WARNING):
        for dp in ds:
            found.append(dp[:2])
            seen.add(dp[2])
            if len(seen) == 3 and len(machines) == 3:
                nodes.remove_node(machines.pop(dp[2]), allow_graceful=False)
            if len(seen) < 3:
                time.sleep(0.002)  # until all have started
    assert found == expected
    assert sum("died" in text for text in warnings_of(caplog)) == 1


def test_a_small_store(nodes: Any) -> None:
    """Much more than fits into it passes through, and the loop takes its time."""
    nodes.add_node(num_cpus=2, object_store_memory=80 << 20)

    def large(dp: list[Any]) -> list[Any]:
        return [np.full(2 << 20, dp[0] % 251, np.uint8)]

    with df.PrefetchDataRay(numbers(150).map(large), 2) as ds:
        found = []
        for number, (array,) in enumerate(ds):
            found.append(array[0])
            if number == 20:
                time.sleep(1)
    assert found == [dp[0] % 251 for dp in numbers(150)]


def test_in_a_placement_group(nodes: Any) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    for _ in range(2):
        nodes.add_node(num_cpus=2)
    group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_PACK")
    ray.get(group.ready(), timeout=patient(30))

    def where(dp: list[Any]) -> list[Any]:
        return [dp[0], ray.get_runtime_context().get_node_id()]

    options = {
        "num_cpus": 1,
        "scheduling_strategy": PlacementGroupSchedulingStrategy(placement_group=group),
    }
    with df.PrefetchDataRay(numbers(100).map(where), 2, actor_options=options) as ds:
        found = list(ds)
    remove_placement_group(group)
    assert len(found) == 100 and len({node for _, node in found}) == 1, "as the group wants it"


def test_code_that_the_runtime_environment_brings(tmp_path: Path) -> None:
    """The nodes need not have it."""
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought" / "__init__.py").write_text("def triple(x):\n    return 3 * x\n")

    def work(dp: list[Any]) -> list[Any]:
        import brought

        return [brought.triple(dp[0]), brought.__file__, os.environ["TOLD"]]

    environment = {"py_modules": [str(tmp_path / "brought")]}
    options = {"include_dashboard": False, "logging_level": logging.ERROR}
    ray.init("local", num_cpus=1, runtime_env=environment, **options)
    more = {"runtime_env": {"env_vars": {"TOLD": "yes"}}}
    try:
        with df.PrefetchDataRay(numbers(20).map(work), 1, actor_options=more) as ds:
            found = list(ds)
    finally:
        ray.shutdown()
    assert sorted(dp[0] for dp in found) == list(range(0, 60, 3))
    assert all(str(tmp_path) not in path and told == "yes" for _, path, told in found)


def test_a_cluster_that_grows(nodes: Any) -> None:
    """What actors wait for is what an autoscaler is asked for; they join where it comes."""
    from ray.autoscaler.v2.sdk import get_cluster_status

    nodes.add_node(num_cpus=1)
    seen: set[str] = set()
    wanted = []
    ds = df.PrefetchDataRay(numbers(20_000).map(with_node), 2, actor_options={"num_cpus": 1})
    with ds:
        found = []
        for dp in ds:
            found.append(dp[0])
            seen.add(dp[2])
            if len(found) % 100 == 0 and not wanted:
                demands = get_cluster_status(nodes.address).resource_demands
                for demand in demands.ray_task_actor_demand:
                    wanted += [bundle.bundle for bundle in demand.bundles_by_count]
                if wanted:
                    nodes.add_node(num_cpus=1)
    assert {"CPU": 1.0} in wanted
    assert found == [dp[0] for dp in numbers(20_000)] and len(seen) == 2


DRIVER = """
import json, sys, time
import dataflow as df

def work(dp):
    time.sleep(0.002)
    return [2 * dp[0]]

state_file, out = sys.argv[1:3]
ds = df.DataFromList([[i] for i in range(500)], shuffle=True).map(work)
with df.PrefetchDataRay(ds, 2).seed(9) as ds:
    try:
        with open(state_file) as file:
            ds.load_state_dict(json.load(file))
    except FileNotFoundError:
        pass
    with open(out, "a") as file:
        for number, dp in enumerate(ds):
            print(dp[0], file=file, flush=True)
            if number == 100:
                with open(state_file, "w") as kept:
                    json.dump(ds.state_dict(), kept)
                time.sleep(float(sys.argv[3]))  # here it is killed
print("through")
"""


def plain() -> list[int]:
    return [2 * dp[0] for dp in df.DataFromList([[i] for i in range(500)], shuffle=True).seed(9)]


def test_the_driver_is_killed_and_another_goes_on(nodes: Any, tmp_path: Path) -> None:
    """With its state; what the first had started is gone from the cluster."""
    nodes.add_node(num_cpus=2)
    script, state, out = (tmp_path / name for name in ("driver.py", "state.json", "out"))
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(state), str(out)]
    environ = {**os.environ, "RAY_ADDRESS": nodes.address}
    first = subprocess.Popen([*command, "600"], env=environ)
    end = time.monotonic() + patient(60)
    while not state.exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    subprocess.run([*command, "0"], env=environ, check=True, timeout=patient(100))
    assert list(map(int, out.read_text().split())) == plain()


def test_a_submitted_job(tmp_path: Path) -> None:
    """`ray job submit` with a folder of code."""
    library("aiohttp")
    (tmp_path / "job.py").write_text(
        "import beside\n" + DRIVER.replace("return [2 * dp[0]]", "return [beside.double(dp[0])]")
    )
    (tmp_path / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    out = tmp_path / "out"
    ray.init("local", num_cpus=2, include_dashboard=True, logging_level=logging.ERROR)
    try:
        address = f"http://{ray.worker.global_worker.node.webui_url}"
        ray_program = str(Path(sys.executable).parent / "ray")
        command = [
            *(ray_program, "job", "submit", "--address", address, "--working-dir", str(tmp_path)),
            *("--", sys.executable, "job.py", str(tmp_path / "none.json"), str(out), "0"),
        ]
        told = subprocess.run(command, capture_output=True, text=True, timeout=patient(200))
        assert told.returncode == 0 and "through" in told.stdout, told.stdout + told.stderr
    finally:
        ray.shutdown()
    assert list(map(int, out.read_text().split())) == plain()


TRAIN = """
import json, sys
import dataflow as df
import ray
import ray.train
from ray.train import ScalingConfig, RunConfig
from ray.train.torch import TorchTrainer

def loop(config):
    import torch.distributed as dist

    ds = df.DataFromList([[i] for i in range(60)], shuffle=True).seed(3)
    ds = df.ShardData(ds)  # this worker's share
    ds = df.PrefetchDataZMQ(ds.map(lambda dp: dp), 1).batch(5)
    with ds, open(f"{config['out']}.{dist.get_rank()}", "w") as out:
        for epoch in range(2):
            print(json.dumps([batch[0].tolist() for batch in ds]), file=out)

trainer = TorchTrainer(
    loop,
    train_loop_config={"out": sys.argv[1]},
    scaling_config=ScalingConfig(num_workers=2),
    run_config=RunConfig(storage_path=sys.argv[2]),
)
trainer.fit()
"""


def test_within_ray_train(tmp_path: Path) -> None:
    """Each worker reads its share."""
    library("torch")
    library("ray.train")
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "out"), str(tmp_path / "runs")],
        env={**os.environ, "RAY_TRAIN_V2_ENABLED": "1"},
        capture_output=True,
        text=True,
        timeout=patient(200),
    )
    assert done.returncode == 0, textwrap.shorten(done.stderr[-3000:], 3000)
    shares = [
        [json.loads(line) for line in (tmp_path / f"out.{rank}").read_text().splitlines()]
        for rank in range(2)
    ]
    for rank, epochs in enumerate(shares):
        ds = df.DataFromList([[i] for i in range(60)], shuffle=True).seed(3).shard(rank, 2).batch(5)
        assert epochs == [[batch[0].tolist() for batch in ds] for _ in range(2)]
