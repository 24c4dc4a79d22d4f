"""How much longer everything takes on this machine now than where nothing else runs.

The bounds of the tests are those of a machine that does nothing else. Where other programs are at
work, too, they are longer by a factor, which is measured once, before the first test: as many
processes as there are cores compute for a while, and how long that takes is held against the
processor time that it needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import cache

__all__ = ["measure", "patient"]

# Processes of a run hand the figure on to those that they start. Can be set by hand, too.
_VARIABLE = "DATAFLOW_TEST_SLOWNESS"

# Less than this is what a machine without other work shows, too.
_NOISE = 1.3


def patient(seconds: float) -> float:
    """A bound in seconds, as long as it has to be here."""
    return seconds * measure()


@cache
def measure() -> float:
    """The factor: 1.0 on a machine that does nothing else."""
    if _VARIABLE not in os.environ:
        cores = len(os.sched_getaffinity(0))
        before, begun = os.times(), time.perf_counter()
        work = [sys.executable, "-S", "-c", "sum(range(10_000_000))"]
        for process in [subprocess.Popen(work) for _ in range(cores)]:
            process.wait()
        after, elapsed = os.times(), time.perf_counter() - begun
        needed = after.children_user + after.children_system
        needed -= before.children_user + before.children_system
        factor = elapsed * cores / needed
        os.environ[_VARIABLE] = f"{factor if factor > _NOISE else 1.0:.2f}"
    return max(1.0, float(os.environ[_VARIABLE]))
