"""Worker processes from their first moment on."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from patience import patient

import dataflow as df
from dataflow.executor import process


def blocked_or_ignored(pid: int) -> tuple[bool, bool]:
    """Whether SIGINT is, for a process's main thread."""
    lines = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    bit = 1 << (signal.SIGINT - 1)
    return bool(int(lines["SigBlk"], 16) & bit), bool(int(lines["SigIgn"], 16) & bit)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_does_not_reach_workers_not_even_while_they_start() -> None:
    seen: list[tuple[bool, bool]] = []
    started = process.ProcessExecutor.start

    def watched(self: process.ProcessExecutor) -> int:
        number = started(self)
        seen.append(blocked_or_ignored(self.pid_of(number)))
        return number

    source = df.DataFromList([[i] for i in range(20)], shuffle=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process.ProcessExecutor, "start", watched)
        with df.PrefetchDataZMQ(source.map(lambda dp: [*dp, _status()]), 1) as ds:
            inside = {dp[1] for dp in ds}
    assert seen and all(any(one) for one in seen)
    assert inside == {(False, True)}, "later it is ignored, and what users start may have it"


def _status() -> tuple[bool, bool]:
    import os

    end = time.monotonic() + patient(5)
    while (found := blocked_or_ignored(os.getpid())) != (False, True) and time.monotonic() < end:
        time.sleep(0.01)
    return found
