"""Runs one cell of the grid in a fresh process, and sees to it that the process ends."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["CellError", "run_cell"]

SILENCE = 120.0  # seconds without an image after which a cell counts as stuck
GRACE = 3.0  # seconds to end by itself


class CellError(Exception):
    """The cell's process failed; the message is one line."""


def run_cell(config: dict[str, Any], *, progress: Callable[[int], object]) -> dict[str, Any]:
    """Measure one cell.

    Args:
        config: what `dataflow.cli.cell` reads.
        progress: called with numbers of images that came.

    Returns:
        What the cell measured.

    Raises:
        CellError: where it raised, died or stood still.
    """
    # The package is the one that this process runs, wherever it was imported from.
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "dataflow.cli.cell"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,  # Ctrl-C comes to this process, which ends the cell
        )
        stuck = threading.Event()
        try:
            return _follow(process, config, progress, stuck)
        except (OSError, EOFError) as error:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip().splitlines()
            if stuck.is_set():
                raise CellError(f"no image for {SILENCE:.0f} s") from error
            last = said[-1] if said else "it said nothing"
            raise CellError(f"exit status {_end(process)}: {last}") from error
        finally:
            _end(process)


def _follow(
    process: subprocess.Popen[bytes],
    config: dict[str, Any],
    progress: Callable[[int], object],
    stuck: threading.Event,
) -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None

    def give_up() -> None:
        stuck.set()
        process.kill()

    with process.stdout as lines:
        process.stdin.write(json.dumps(config).encode() + b"\n")
        process.stdin.flush()  # and kept open: its end tells the cell that nobody waits any more
        while True:
            alarm = threading.Timer(SILENCE, give_up)
            alarm.daemon = True
            alarm.start()
            try:
                line = lines.readline()
            finally:
                alarm.cancel()
            if not line:
                raise EOFError
            said = json.loads(line)
            if "error" in said:
                raise CellError(said["error"])
            if "result" in said:
                result: dict[str, Any] = said["result"]
                return result
            progress(said["images"])


def _end(process: subprocess.Popen[bytes]) -> int:
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # it may have died before it had read everything
            process.stdin.close()
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
