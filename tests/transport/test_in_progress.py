"""What hands are at can be read from the other process, also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from patience import patient

from dataflow.transport.in_progress import InProgress


def test_it_tells_what_each_hand_is_at() -> None:
    page = InProgress(3)
    assert page.held() == [] and page.task(1) == 0
    page.begin(0, 7, 0)
    first = page.task(0)
    page.begin(2, 1 << 31, 1023)
    assert [held[:2] for held in page.held()] == [(7, 0), (1 << 31, 1023)]
    page.begin(0, 7, 1)
    assert page.task(0) not in (0, first)
    page.end(0)
    page.end(1)
    assert [held[:2] for held in page.held()] == [(1 << 31, 1023)]
    assert 0 <= page.held()[0].seconds < 60


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_it_outlives_the_worker(how: signal.Signals) -> None:
    fd = InProgress.file(2)
    code = (
        "import os, resource\nfrom dataflow.transport.in_progress import InProgress\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        f"InProgress(2, {fd}).begin(1, 12, 34)\nos.kill(os.getpid(), {int(how)})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], pass_fds=[fd], timeout=patient(60))
    page = InProgress(2, fd)
    assert done.returncode == -how
    assert [held[:2] for held in page.held()] == [(12, 34)]
    with pytest.raises(OSError):
        os.fstat(fd)
