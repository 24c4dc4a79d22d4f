"""The files of docs/cluster: what they say of this package holds, and of each other."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from optional import how_to_get, library

from dataflow.cli import worker
from dataflow.remote.program import Program

yaml = library("yaml")

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "cluster"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


def test_workers_in_kubernetes() -> None:
    """Its command is one of ours, and what it names is there."""
    service, deployment = documents("workers.yaml")
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    template = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    (container,) = template["spec"]["containers"]
    parser = argparse.ArgumentParser()
    worker.add_arguments(parser)
    command, *words = container["args"]
    args = parser.parse_args(words)
    assert command == "worker"
    (port,) = (one["port"] for one in service["spec"]["ports"])
    assert args.address == [f"tcp://{service['metadata']['name']}:{port}"] and args.stay
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    volumes = {one["name"]: one for one in template["spec"]["volumes"]}
    assert set(mounts) == set(volumes) and mounts["keys"] == args.keys
    assert volumes["keys"]["secret"]["defaultMode"] & 0o077 == 0, "others must not read keys"
    place, _, function = args.flow.partition(":")
    file = re.search(rf"COPY (\S+) {re.escape(place)}\n", containerfile())
    assert file is not None and f"def {function}(" in (ROOT / file[1]).read_text("utf-8")


def containerfile() -> str:
    return (FOLDER / "Containerfile").read_text("utf-8")


def test_the_image_is_made_of_what_is_there() -> None:
    words = [shlex.split(line) for line in containerfile().splitlines() if line[:1].isupper()]
    assert {word for word, *_ in words} <= {"FROM", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD"}
    for word, *rest in words:
        if word == "COPY" and not rest[0].startswith("--from"):
            assert (ROOT / rest[0]).exists()


def test_ray_in_kubernetes() -> None:
    """The fields that KubeRay's definition of a RayCluster (v1) wants."""
    (cluster,) = documents("kuberay.yaml")
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] and container["name"]
    (group,) = spec["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=how_to_get("ray"))
def test_ray_up() -> None:
    """Ray takes it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    (cluster,) = documents("ray-up.yaml")
    validate_config(prepare_config(cluster))


def test_the_pages_program_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flow can be made of a table, and both sides mean the same by it."""
    pa, pq = library("pyarrow"), library("pyarrow.parquet")
    page = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(# pipeline\.py\n.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    table = pa.table({"URL": ["http://127.0.0.1:1/a.jpg"] * 3, "CLASS": [1, 2, 3]})
    pq.write_table(table, "photos.parquet")
    names: dict[str, Any] = {"__name__": "pipeline"}
    exec(program, names)
    made = [Program.of(names["flow"](), lenient=False) for _ in range(2)]
    made[0].check("a worker", made[1].said())
    assert len(names["flow"]()) == 3
