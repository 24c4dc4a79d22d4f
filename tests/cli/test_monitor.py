"""``dataflow monitor``: its view, lines, JSON and metrics, and what it says of silence."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import zmq
from optional import library
from patience import patient

import dataflow as df
from dataflow.cli.components import Form
from dataflow.cli.gauges import gauges, sparkline
from dataflow.cli.main import main
from dataflow.cli.rates import Rates
from dataflow.cli.readings import Reading, metrics
from dataflow.prometheus import exposition
from dataflow.remote import Sender

Send: TypeAlias = "Callable[..., None]"
Start: TypeAlias = "Callable[..., subprocess.Popen[str]]"
Captured: TypeAlias = "pytest.CaptureFixture[str]"

BATCH = [np.zeros((4, 8, 8, 3), "u1"), np.arange(4, dtype="i4")]
BYTES = 4 * 192 + 16


def reading(**changes: Any) -> Reading:
    known: dict[str, Any] = {
        "url": "zsub://h:1",
        "connected": 1,
        "ever": True,
        "batches": 30,
        "samples": 120,
        "bytes": 9000,
        "rates": (3.0, 12.0, 9e6),
        "silent": 0.1,
        "gap": 0.5,
        "refused": 0,
        "forms": [("0 image", Form("uint8", (4, 8, 8, 3)))],
        "minute": [0, 0, 4, 4, 8, 8],
    }
    return Reading(**{**known, **changes})


# -- counting ----------------------------------------------------------------------------------


def test_rates() -> None:
    rates = Rates(100.0)
    assert rates.rates(100.0) == (0, 0, 0) and rates.silent(103.0) == 3 and rates.minute(101) == [0]
    for tenth in range(100):  # ten a second, for ten seconds
        rates.add(BATCH, (), 100 + tenth / 10)
    assert (rates.batches, rates.samples, rates.bytes) == (100, 400, 100 * BYTES)
    assert rates.rates(110.0) == pytest.approx((10, 40, 10 * BYTES), rel=0.01)
    assert rates.minute(110.0) == [40] * 10
    assert rates.longest_gap(110.0) == pytest.approx(0.1)
    # Then nothing for a while.
    assert rates.rates(120.0) == (0, 0, 0)
    assert rates.silent(120.0) == rates.longest_gap(120.0) == pytest.approx(10.1)
    assert rates.minute(120.0) == [40] * 10 + [0] * 10
    rates.add(BATCH, (), 200.0)
    assert rates.longest_gap(200.0) == pytest.approx(90.1)
    assert rates.minute(201.0) == [0] * 59 + [4]
    single = Rates(0.0, unbatched=True)
    single.add(BATCH, (), 0.0)
    assert single.samples == 1


def test_states() -> None:
    assert reading().state == "flowing"
    assert reading(silent=7.4).state == "stalled 7 s"
    assert reading(batches=0, silent=9.0).state == "no data yet"
    assert reading(connected=0, ever=False).state == "nobody there"
    assert reading(connected=0).state == "gone"


def test_sparklines() -> None:
    assert sparkline([], 3) == "   "
    assert sparkline([5, 5, 0, 0, 1, 0], 4) == " ▇ ▁"
    assert sparkline([9, 1, 1, 2, 2], 2) == "▄▇"


def test_metrics_are_in_prometheus_text_format() -> None:
    readings = [reading(url='ipc://a"b\\c'), reading(url="zsub://h:2", refused=3)]
    text = exposition(metrics(readings))
    assert r'dataflow_batches_total{url="ipc://a\"b\\c"} 30' in text.splitlines()
    assert 'dataflow_refused_total{url="zsub://h:2"} 3' in text.splitlines()
    sample = r'dataflow_\w+\{url="(\\.|[^"\\])*"\} [-+0-9.e]+'
    for line in text.splitlines():
        assert re.fullmatch(rf"# HELP dataflow_\w+ .+|# TYPE dataflow_\w+ \w+|{sample}", line)


# -- the command -------------------------------------------------------------------------------


def test_json_and_nothing_else(send: Send, tmp_path: Path, capsys: Captured) -> None:
    """Of two servers, each for itself."""
    for name in "ab":
        send(f"zpub+ipc://{tmp_path}/{name}", [BATCH], again=True, infos=["image", "label"])
    url = f"zsub+ipc://{tmp_path}/{{a,b}}"
    assert main(["monitor", url, "--json", "-c", "30"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    last = found[-1]["sources"]
    assert [one["url"][-1] for one in last] == ["a", "b"]
    assert sum(one["batches"] for one in last) == 30 and all(one["batches"] for one in last)
    for one in last:
        assert one["samples"] == 4 * one["batches"] and one["bytes"] == BYTES * one["batches"]
        assert one["state"] == "flowing" and one["batches_per_second"] > 0
        assert one["components"] == [
            {"name": "0 image", "dtype": "uint8", "shape": [4, 8, 8, 3]},
            {"name": "1 label", "dtype": "int32", "shape": [4]},
        ]


def test_lines_of_our_own_wire(tmp_path: Path, capsys: Captured) -> None:
    """Over the end of an epoch."""
    ds = df.DataFromList([[np.zeros((8, 8, 3), "u1"), i] for i in range(10)], shuffle=False)
    url = f"ipc://{tmp_path}/s"
    with Sender(url) as sender:
        thread = threading.Thread(target=_sent, args=(sender, ds))
        thread.start()
        assert main(["monitor", url, "--bind", "-c", "25"]) == 0
        sender.close()
        thread.join()
    line = capsys.readouterr().out.splitlines()[-1]
    assert f"{url}  flowing" in line
    assert "  25 batches  0: uint8 8×8×3, 1: int" in line


def _sent(sender: Sender, ds: df.DataFlow) -> None:
    with suppress(df.DataFlowTerminated):
        sender.send(ds, None)


def test_nobody_there(capsys: Captured) -> None:
    urls = ["zsub://127.0.0.1:9", "tcp://127.0.0.1:9"]
    assert main(["monitor", *urls, "--seconds", "0.1", "--plain"]) == 1
    assert capsys.readouterr().out.count("nobody there") == 2
    assert main(["monitor", *urls, "--timeout", "0.1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    for url, line in zip(urls, lines, strict=True):
        assert f"nothing came from {url} for 0.1 s, and nobody is connected. Does the" in line


def test_a_server_that_has_nothing(tmp_path: Path, capsys: Captured) -> None:
    with df.Connection(f"zpub+ipc://{tmp_path}/s"):
        assert main(["monitor", f"zsub+ipc://{tmp_path}/s#u1", "--timeout", "0.3"]) == 1
    err = capsys.readouterr().err
    assert "though 1 peer is connected. Does it have data, with the topic 'u1'?" in err


def test_what_cannot_be_read_is_counted(tmp_path: Path, capsys: Captured) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as stranger:
        stranger.linger = 0
        stranger.connect(f"ipc://{tmp_path}/s")
        for _ in range(3):
            stranger.send(b"hello")
        assert main(["monitor", f"zpull+ipc://{tmp_path}/s", "--timeout", "1"]) == 1
        assert "Refused: foreign 3." in capsys.readouterr().err
        for _ in range(60):
            stranger.send(b"hello")
        assert main(["monitor", f"zpull+ipc://{tmp_path}/s"]) == 1
        assert "all of the first 50 datapoints failed" in capsys.readouterr().err


def test_metrics_are_served_until_ctrl_c(send: Send, start: Start, tmp_path: Path) -> None:
    send(f"zpub+ipc://{tmp_path}/s", [BATCH], again=True)
    process = start("monitor", f"zsub+ipc://{tmp_path}/s", "--prometheus", 0)
    assert process.stderr is not None and process.stdout is not None
    address = process.stderr.readline().split()[-1]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", address)
    process.stdout.readline()
    with urllib.request.urlopen(address) as answer:
        text = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    (number,) = re.findall(rf'dataflow_batches_total{{url="zsub\+ipc://{tmp_path}/s"}} (\d+)', text)
    assert int(number) > 0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=patient(20))
    assert process.returncode == 130 and "Traceback" not in err


def test_the_live_view(send: Send, tmp_path: Path) -> None:
    library("rich")
    send(f"zpub+ipc://{tmp_path}/s", [BATCH], again=True)
    ours, terminal = pty.openpty()
    words = ["monitor", f"zsub+ipc://{tmp_path}/s", "--count", "20"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    with subprocess.Popen(
        [sys.executable, "-m", "dataflow", *words],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=terminal,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # that is how the other end of a terminal ends
            while piece := os.read(ours, 65536):
                shown += piece
        assert process.wait(patient(20)) == 0
    os.close(ours)
    text = shown.decode()
    for part in ("batches/s", "longest gap", "flowing", "uint8", "4×8×8×3", "Ctrl-C ends"):
        assert part in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_what_others_send_does_not_steer_the_view(width: int) -> None:
    console = library("rich.console").Console(width=width, record=True, quiet=False)
    hostile = reading(forms=[("[red]0[/red]", Form("[bold]x[/nothing]", None))], refused=5)
    with console.capture() as captured:
        console.print(gauges([hostile, reading(silent=5.0)], 12, width))
    text = captured.get()
    assert "[red]0[/red]" in text and "stalled" in text and "refused" in text
    assert ("▇" in text) is (width > 80)
    assert all(len(line) <= width for line in text.splitlines())


def test_the_live_view_needs_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setitem(sys.modules, "rich.live", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["monitor", "zsub://127.0.0.1:9"]) == 2
    assert "pip install rich" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "the following arguments are required: URL"),
        ("zpub+ipc://x", "is the sender's: listen at zsub+ipc://x"),
        ("http://h:1", "'http' is none of zpush"),
        ("zsub://h:1 --keys x", "has no --bind, --keys or --server-key"),
        ("zpull://0.0.0.0:*", "lets every host that reaches it connect"),
        ("tcp://0.0.0.0:1 --bind", "would let every host"),
        ("tcp://h:1 --keys nowhere", "keys='nowhere': no secret.key there"),
        ("zsub://h:1 --timeout 0", "'0' is not a number of seconds above 0"),
        ("zsub://h:1 --seconds x", "'x' is not a number of seconds"),
        ("zsub://h:1 --prometheus 99999", "'99999' is not a port"),
        ("zsub://h:1 --json --plain", "not allowed with argument"),
    ],
)
def test_mistakes(words: str, line: str, capsys: Captured) -> None:
    assert main(["monitor", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert not out and line in err and err.count("\n") == 1


def test_ports_that_are_taken(capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for words in (
            [f"zpull://127.0.0.1:{port}"],
            [f"tcp://127.0.0.1:{port}", "--bind"],
            ["zpull://127.0.0.1:*", "--prometheus", str(port)],
        ):
            assert main(["monitor", *words]) == 2
            out, err = capsys.readouterr()
            assert "ddress already in use" in err and not out
    assert re.search(r"listening at zpull://127\.0\.0\.1:\d+\n", err)
