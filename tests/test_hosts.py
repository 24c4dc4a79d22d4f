"""The test bed itself: links are as slow and as lossy as asked, and nothing is left of it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hosts
import pytest
from hosts import Hosts, why_not
from patience import patient

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "")

SCRIPT = str(Path(hosts.__file__))

SERVER = """
import socket, time
server = socket.create_server(("0.0.0.0", 5000))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    try:
        while data := connection.recv(1 << 16):
            connection.sendall(data)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""

CLIENT = """
import json, socket, sys, time
size = int(sys.argv[2])
print("connecting", flush=True)
begun = time.monotonic()
connection = socket.create_connection((sys.argv[1], 5000))
connected = time.monotonic()
connection.sendall(bytes(size))
got = 0
while got < size:
    got += len(connection.recv(1 << 16))
print(json.dumps([connected - begun, time.monotonic() - connected]), flush=True)
sys.stdin.read()
"""


def left() -> list[str]:
    return [name for name in hosts._namespaces() if f"-{os.getpid()}-" in name]


@pytest.fixture(params=[{}, {"delay": 0.03, "loss": 0.01, "rate": "8mbit"}], ids=["fast", "slow"])
def bed(request: pytest.FixtureRequest) -> Iterator[tuple[Hosts, dict[str, Any]]]:
    with Hosts(["one", "other"], **request.param) as found:
        yield found, request.param
    assert left() == []


def client(bed: Hosts, size: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLIENT, bed.address("one"), str(size)]
    pipe = subprocess.PIPE
    process = bed.start("other", command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None and process.stdout.readline() == "connecting\n"
    return process


def test_links(bed: tuple[Hosts, dict[str, Any]]) -> None:
    found, quality = bed
    server = found.start("one", [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stdout.readline() == "ready\n"
    process = client(found, 500_000)
    assert process.stdout is not None
    connecting, echoing = json.loads(process.stdout.readline())
    assert connecting >= 2 * quality.get("delay", 0)
    assert echoing >= (0.45 if "rate" in quality else 0.0), "4 Mbit in each direction"
    assert len(found.means) == (2 if quality else 0)

    assert found.reset("other") == 1
    assert server.stdout.readline() == "ConnectionResetError\n"

    found.cut("one")
    cut_off = client(found, 1000)
    time.sleep(0.3)
    assert cut_off.poll() is None
    found.restore("one")
    assert cut_off.stdout is not None
    assert json.loads(cut_off.stdout.readline())[0] > 0.3


def test_a_killed_owner_leaves_nothing_for_long() -> None:
    program = f"""
import subprocess, sys
sys.path.insert(0, {os.path.dirname(SCRIPT)!r})
from hosts import Hosts
bed = Hosts(["one"], delay=0.01)
process = bed.start("one", ["sleep", "1000"])
print(process.pid, flush=True)
sys.stdin.read()
"""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as owner:
        assert owner.stdout is not None
        sleeper = int(owner.stdout.readline())
        mine = f"-{owner.pid}-"
        assert [name for name in hosts._namespaces() if mine in name]
        with Hosts(["other"]):  # somebody else's is left alone
            assert [name for name in hosts._namespaces() if mine in name]
        owner.kill()
    deadline = time.monotonic() + patient(10)
    while os.path.exists(f"/proc/{sleeper}"):
        assert time.monotonic() < deadline, "it dies with its owner"
        time.sleep(0.01)
    with Hosts(["other"]):
        assert not [name for name in hosts._namespaces() if mine in name]


def test_the_script() -> None:
    words = shlex.split("--workers 2 --delay 2ms --rate 1gbit --at 0.2 kill worker2")
    trainer = "sh -c 'sleep 0.6; echo {workers} at {trainer}'"
    done = subprocess.run(
        [sys.executable, SCRIPT, *words, "--trainer", trainer, "--worker", "sleep 0.8"],
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.returncode == 0, done.stderr
    assert "bandwidth 1gbit: tc tbf; delay 2 ms, loss 0.000%: " in done.stdout
    assert "trainer   2 at 10.77.0.1" in done.stdout
    assert "worker2   -- kill" in done.stdout
    assert f"worker2   -- ended with status {-signal.SIGKILL}" in done.stdout
