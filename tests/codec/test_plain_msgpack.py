"""msgpack as it is, whatever others have put into the package."""

from __future__ import annotations

import subprocess
import sys

from optional import library

SCRIPT = """
import msgpack_numpy, numpy as np
msgpack_numpy.patch()
import msgpack
from dataflow.codec import tensor, wire
from dataflow.codec.plain_msgpack import plain_msgpack

evil = msgpack.packb(np.array([print], object))  # as the patched one writes it: pickled
assert msgpack.unpackb(evil)[0] is print, "it is patched"
assert type(plain_msgpack().unpackb(evil)) is dict
encoder = tensor.Encoder(1 << 20)
encoder.add([np.arange(3), np.float32(1)])
payload = encoder.take()
table = [[dtype, list(shape)] for dtype, shape in payload.table]
((array, number),) = tensor.decode(payload.count, table, payload.frames)
assert array.tolist() == [0, 1, 2] and type(number) is np.float32
assert wire.unpack(wire.pack(wire.Kind.PING)).fields == {}
print("plain")
"""


def test_a_patched_package_makes_no_difference() -> None:
    """tensorpack patches it; arrays of objects would be unpickled then."""
    library("msgpack_numpy")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout == "plain\n", done.stderr
