"""A cable with delay and loss between two network namespaces, for kernels without netem.

    python tests/delay_line.py NEAR FAR --delay 0.02 --loss 0.001 --seed 1

Makes two TAP devices in its own namespace and carries Ethernet frames from each to the other; they
can be moved elsewhere, and are gone with this process. It prints a line when they are there.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import select
import struct
from collections import deque
from contextlib import suppress
from time import monotonic

_SET_INTERFACE = 0x400454CA
_TAP, _NO_INFO = 0x0002, 0x1000
_FRAME = 65536
_BURST = 64  # frames of one side before the other gets its turn
_HELD = 64 << 20  # bytes under way in one direction; what comes beyond them is lost


def tap(name: str) -> int:
    """A new device; returns the file of its frames."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH22x", name.encode(), _TAP | _NO_INFO))
    return device


class Way:
    """One direction.

    Args:
        source: where frames are read; `sink`: where they are written.
        delay: seconds that each is under way.
        loss: part of them that never arrive, 0 to 1.
        seed: decides which.
    """

    def __init__(self, source: int, sink: int, delay: float, loss: float, seed: int) -> None:
        self.source = source
        self.under_way: deque[tuple[float, bytes]] = deque()
        self._sink = sink
        self._delay = delay
        self._loss = loss
        self._chance = random.Random(seed)
        self._held = 0

    def take(self) -> None:
        """Read what is there."""
        due = monotonic() + self._delay
        for _ in range(_BURST):
            try:
                frame = os.read(self.source, _FRAME)
            except OSError:  # no more, or the device is down
                return
            if self._held < _HELD and self._chance.random() >= self._loss:
                self.under_way.append((due, frame))
                self._held += len(frame)

    def give(self, now: float) -> None:
        """Write what has been under way for long enough."""
        while self.under_way and self.under_way[0][0] <= now:
            _, frame = self.under_way.popleft()
            self._held -= len(frame)
            with suppress(OSError):  # the cable is cut, or the other side cannot keep up
                os.write(self._sink, frame)


def carry(ways: list[Way]) -> None:
    """For ever."""
    poll = select.epoll()
    sources = {way.source: way for way in ways}
    for source in sources:
        poll.register(source, select.EPOLLIN)
    while True:
        now = monotonic()
        due = min((way.under_way[0][0] for way in ways if way.under_way), default=now + 60)
        for source, event in poll.poll(max(0.0, due - now)):
            if event & select.EPOLLIN:
                sources[source].take()
        for way in ways:
            way.give(monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("near")
    parser.add_argument("far")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, each way")
    parser.add_argument("--loss", type=float, default=0.0, help="part of the frames, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    args = parser.parse_args()
    near, far = tap(args.near), tap(args.far)
    ends = ((near, far), (far, near))
    print("ready", flush=True)
    carry([Way(*end, args.delay, args.loss, args.seed + n) for n, end in enumerate(ends)])


if __name__ == "__main__":
    main()
