"""Where the address space or the size of files is limited, less shared memory is taken, or none."""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial

import pytest

SCRIPT = """
import numpy as np
import dataflow as df

def work(dp):
    return [np.full((500, 500, 3), dp[0], np.uint8)]

source = df.DataFromList([[i] for i in range(40)], shuffle=False)
with df.PrefetchDataZMQ(source.map(work), 2, ordered=True) as ds:
    found = [int(dp[0][0, 0, 0]) for dp in ds]
    (row,) = [row for row in ds.stats()["stages"] if row["kind"] == "runner"]
assert found == list(range(40)), found
print("shared" if row["shared"] else "sockets")
"""


@pytest.mark.parametrize(
    ("which", "limit", "way"),
    [
        (resource.RLIMIT_AS, 64 << 30, "shared"),
        (resource.RLIMIT_AS, 2 << 30, "shared"),
        (resource.RLIMIT_FSIZE, 20 << 30, "shared"),
        (resource.RLIMIT_FSIZE, 1 << 20, "sockets"),
    ],
)
def test_every_datapoint_comes_all_the_same(which: int, limit: int, way: str) -> None:
    limited = partial(resource.setrlimit, which, (limit, limit))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], preexec_fn=limited, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, way), done.stderr
