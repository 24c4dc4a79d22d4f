"""``dataflow send`` and ``dataflow keys``, as commands."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import pytest
from patience import patient

import dataflow as df
from dataflow.cli.main import main
from dataflow.transport.keys import load_keys

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
Start: TypeAlias = "Callable[..., subprocess.Popen[str]]"

FLOWS = """
import dataflow as df

def few():
    return df.DataFromList([[i] for i in range(10)], shuffle=False)

def endless():
    return df.DataFromGenerator(lambda: iter(lambda: [1], 0))

def wrong():
    return 5

flow = few()
"""


def test_send_and_receive(run: Run, start: Start, tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    done = run("keys", tmp_path / "keys")
    public = load_keys(tmp_path / "keys").public.decode()
    assert (done.returncode, done.stdout, done.stderr) == (0, public + "\n", "")
    assert stat.S_IMODE((tmp_path / "keys/secret.key").stat().st_mode) == 0o600
    with df.receive("tcp://127.0.0.1:*", keys=tmp_path / "keys") as ds:
        process = start("send", "flows:few", ds.addresses[0], "--keys", "keys", "--epochs", 2)
        for _ in range(2):
            assert [n for (n,) in ds] == list(range(10))
        out, err = process.communicate(timeout=patient(20))
        assert (process.returncode, out) == (0, "")
        assert "20/20" in err and "MB/s" in err and "1 receivers" in err


def test_tensorpacks_wire(start: Start, tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    with df.RemoteDataZMQ("tcp://127.0.0.1:*", format="msgpack", hwm=1) as ds:
        words = ("send", "flows:few", ds.addresses[0], "--format", "msgpack", "--epochs", 2)
        process = start(*words)
        assert [n for (n,) in islice(ds, 20)] == 2 * list(range(10))
        out, err = process.communicate(timeout=patient(20))
    assert (process.returncode, out) == (0, "") and "20/20" in err and "MB/s" in err


def test_ctrl_c(start: Start, tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    with df.receive("tcp://127.0.0.1:*") as ds:
        process = start("send", "flows:endless", ds.addresses[0], "--forever")
        iterator = iter(ds)
        assert next(iterator) == [1]
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, err = process.communicate(timeout=patient(20))
        assert process.returncode == 130 and time.monotonic() - begun < patient(5)
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("send flows:none tcp://h:1", "flows:none: module 'flows' has no attribute 'none'"),
        ("send nothing:few tcp://h:1", "nothing:few: No module named 'nothing'"),
        ("send flows tcp://h:1", "'flows' is neither package.module:function nor file.py:"),
        ("send .flows:few tcp://h:1", "'.flows' is not the name of a module: say package.module"),
        ("send ./flows:few tcp://h:1", "'./flows' is not the name of a module: say"),
        ("send there/flows.py:few tcp://h:1", "there/flows.py: there is no such file in"),
        ("send folder/json.py:few tcp://h:1", "'json' is also in"),
        ("send flows:wrong tcp://h:1", "flows:wrong returns a int, not a dataflow"),
        ("send flows:few h:1", "address='h:1' is neither"),
        ("send flows:flow tcp://0.0.0.0:1 --bind", "would let every host"),
        ("send flows:few tcp://h:1 --keys nowhere", "keys='nowhere': no secret.key there"),
        ("send flows:few tcp://h:1 --epochs 2 --forever", "not allowed with argument"),
        ("send flows:few tcp://h:1 --format zmq_ops", "invalid choice: 'zmq_ops'"),
        ("send flows:few tcp://h:1 --format pickle", "say --allow-pickle"),
        ("send flows:few tcp://h:1 --format msgpack --server-key k", "not have --server-key"),
        ("send flows:few tcp://h:1 tcp://h:2 --format msgpack", "not have several addresses"),
        ("send flows:few tcp://*:1 --bind --format msgpack", "or say --insecure"),
        ("keys folder", "folder/secret.key exists already"),
    ],
)
def test_mistakes(
    words: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/secret.key").touch()
    (tmp_path / "folder/json.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "flows", raising=False)
    assert main(words.split()) == 2
    err = capsys.readouterr().err
    assert line in err and err.count("\n") == 1
