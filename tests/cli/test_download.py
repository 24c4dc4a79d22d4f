"""``dataflow download``, as a user has it."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from published import jpeg
from servers import Server, held, ok

import dataflow as df

from .conftest import Run, Start

COUNT = 30


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        for number in range(COUNT):
            running.routes[f"/{number}.jpg"] = ok(jpeg(40, 50 + number))
        yield running


@pytest.fixture
def table(server: Server, tmp_path: Path) -> Path:
    lines = [f"{server.url(f'/{n}.jpg')},caption {n},{n}" for n in range(COUNT)]
    lines.append(f"{server.url('/none.jpg')},,7")
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["URL,TEXT,number", *lines]) + "\n")
    return path


def test_a_list_becomes_shards(table: Path, tmp_path: Path, run: Run) -> None:
    words = ("--caption-col", "TEXT", "--resize", "shortest", "--size", 32, "--shard-size", 20)
    done = run("download", table, "out", "--trials", 1, *words)
    assert done.returncode == 0, done.stderr
    assert "http_404" in done.stdout and "images/s" in done.stdout
    samples = list(df.WebDataset(str(tmp_path / "out" / "*.tar"), ("jpg", "txt", "json")))
    assert len(samples) == COUNT
    for image, text, notes in samples:
        assert image.shape[0] == 32 and text == f"caption {notes['number']}"
    again = run("download", table, "out", "--trials", 1, *words)
    assert again.returncode == 0 and "there already" in again.stdout


def test_columns_are_picked(table: Path, tmp_path: Path, run: Run) -> None:
    done = run("download", table, "out", "--columns", "", "--format", "parquet", "--trials", 1)
    assert done.returncode == 0, done.stderr
    names = pq.read_schema(tmp_path / "out" / "00000.parquet").names
    assert "TEXT" not in names and "number" not in names and names[-1] == "image"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list.csv"], "LIST and OUT are needed"),
        (["none.csv", "out"], "none.csv is not there"),
        (["list.csv", "out", "--url-col", "url"], "has no column 'url'"),
        (["list.csv", "out", "--quality", "200"], "quality=200"),
        (["list.csv", "out", "--hash", "crc"], "hash='crc'"),
        (["list.csv", "out", "--pool", "tcp://127.0.0.1:*", "--ray", "2"], "do not go together"),
        (["list.csv", "out", "--pool", "tcp://0.0.0.0:*"], "keys"),
    ],
)
def test_mistakes(table: Path, run: Run, words: list[str], message: str) -> None:
    done = run("download", *words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_a_disk_that_is_full(table: Path, tmp_path: Path, run: Run, start: Start) -> None:
    words = ("download", table, "out", "--trials", 1, "--shard-size", 10)
    process = start(*words)
    # As of a full disk: no file may become larger.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (5000, 5000))
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "Traceback" not in err
    assert "out cannot be written: File too large. The same command goes on" in err
    assert run(*words).returncode == 0
    assert len(list(df.WebDataset(str(tmp_path / "out" / "*.tar")))) == COUNT


def test_nothing_works(server: Server, tmp_path: Path, run: Run) -> None:
    (tmp_path / "list.txt").write_text(server.url("/none.jpg") + "\n")
    done = run("download", "list.txt", "out", "--trials", 1)
    assert done.returncode == 1 and "http_404" in done.stdout


def test_other_machines_help(table: Path, tmp_path: Path, start: Start) -> None:
    address = f"ipc://{tmp_path}/pool"
    words = ("--resize", "crop", "--size", 24, "--trials", 1)
    trainer = start("download", table, "out", "--pool", address, *words)
    worker = start("download", "--work-for", address, "--procs", 1, *words)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(worker.communicate()))
    reader.start()
    out, err = trainer.communicate(timeout=60)
    reader.join(30)
    assert trainer.returncode == 0, err
    assert worker.returncode == 0, lines
    assert "31 rows" in out
    rows = pq.read_table(tmp_path / "out" / "00000.parquet").to_pylist()
    assert sum(row["status"] == "success" for row in rows) == COUNT
    assert {(row["width"], row["height"]) for row in rows if row["width"]} == {(24, 24)}


def test_a_machine_with_other_images_is_refused(table: Path, tmp_path: Path, start: Start) -> None:
    address = f"ipc://{tmp_path}/pool"
    trainer = start("download", table, "out", "--pool", address, "--resize", "crop", "--size", 24)
    worker = start("download", "--work-for", address, "--procs", 1, "--resize", "crop")
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 1 and "crop 256" in err and "crop 24" in err
    trainer.kill()


def test_ctrl_c_is_gone_on_from(
    table: Path, tmp_path: Path, run: Run, start: Start, server: Server
) -> None:
    go_on = threading.Event()
    server.routes["/29.jpg"] = held(server.routes["/29.jpg"], go_on)
    words = ("download", table, "out", "--trials", 1, "--shard-size", 10)
    process = start(*words)
    while not (tmp_path / "out" / "00001.parquet").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err
    go_on.set()
    before = server.requests["/0.jpg"]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert server.requests["/0.jpg"] == before
    tables = [pq.read_table(path) for path in (tmp_path / "out").glob("*.parquet")]
    rows = [row for one in tables for row in one.to_pylist()]
    assert sorted(int(row["key"]) for row in rows) == list(range(COUNT + 1))
