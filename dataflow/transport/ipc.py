"""Messages between the consumer and its local worker processes: ZeroMQ over ipc sockets.

One PUSH socket a worker carries leases there, one PULL socket collects results from all. The
sockets lie in a folder that only this user can enter. Arrays do not pass through them: they are
in the worker's slots, and the message says where.

The first frame is a header and a pickle. Of a message to a worker, the header is the number of
slots that became free, and these; of one from a worker, its number, its slot or -1, the number of
places in it, the bytes of the arrays that were laid there, and of each place the offset and the
size. All are little-endian, 4 bytes for each number, 8 for offsets and sizes. Where there is no
slot, large buffers are further frames.
"""

from __future__ import annotations

import os
import secrets
import shutil
import struct
import tempfile
import threading
from time import perf_counter
from typing import Any

import zmq

from dataflow.codec import local
from dataflow.transport.slots import Block, Place, SlotReader, SlotWriter
from dataflow.transport.traffic import Traffic

__all__ = ["HELLO", "SLOTS", "WELCOME", "ConsumerEnd", "OversizeError", "WorkerEnd"]

# Messages beside leases and reports. Consumer and worker greet each other, so that both know that
# they are connected; the welcome tells the worker so, which then removes the folder.
HELLO = "hello"
WELCOME = "welcome"
SLOTS = "slots"  # nothing but slots that became free

_FREED = struct.Struct("<I")
_HEAD = struct.Struct("<IiIQ")
_PLACE = struct.Struct("<QQ")

# The path of a Unix socket has at most 107 bytes.
_LONGEST = 70


class OversizeError(Exception):
    """A message has no room in a slot."""


class ConsumerEnd:
    """The consumer's sockets.

    Each worker makes a folder for its own two sockets, and removes it as soon as both sides are
    connected: from then on nothing of it is left in the file system, however the processes end.
    """

    def __init__(self) -> None:
        self._context = zmq.Context()
        self.results = self._socket(zmq.PULL)
        self._leases: dict[int, zmq.Socket[bytes]] = {}
        self._readers: dict[int, SlotReader] = {}
        self._folders: dict[int, str] = {}
        self.traffic = Traffic()

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0  # leases bound what is under way, not the sockets
        socket.reconnect_ivl = 10  # ms; the other side takes a while to start
        return socket

    def add(self, worker: int, reader: SlotReader | None) -> str:
        """Open the way to a worker that is about to start; returns the folder that it shall make.

        (The worker makes it, so that it never exists without somebody who removes it.)
        """
        base = tempfile.gettempdir()
        if len(base) > _LONGEST:
            base = "/tmp"
        folder = f"{base}/dataflow-{secrets.token_hex(8)}"
        self._folders[worker] = folder
        self._leases[worker] = self._socket(zmq.PUSH)
        self._leases[worker].connect(f"ipc://{folder}/leases")
        self.results.connect(f"ipc://{folder}/results")
        if reader is not None:
            self._readers[worker] = reader
        self.send(worker, HELLO)
        return folder

    def remove(self, worker: int) -> None:
        """Close the way to a worker that is gone. Arrays that it sent before stay valid.

        Its memory goes with the last of them, so that workers that die do not add up.
        """
        folder = self._folders.pop(worker)
        if (reader := self._readers.pop(worker, None)) is not None:
            reader.close()
        shutil.rmtree(folder, ignore_errors=True)
        self.results.disconnect(f"ipc://{folder}/results")
        self._leases.pop(worker).close()

    def send(self, worker: int, message: Any) -> None:
        """Send a message, and the slots that became free.

        Raises:
            Exception: what pickling the message raises.
        """
        structure, buffers = local.encode(message)  # which may raise
        freed = reader.take_freed() if (reader := self._readers.get(worker)) else []
        self.traffic.passed += len(structure) + sum(buffer.nbytes for buffer in buffers)
        head = _FREED.pack(len(freed)) + struct.pack(f"<{len(freed)}I", *freed) + structure
        if buffers:
            self._leases[worker].send_multipart([head, *buffers])
        else:
            self._leases[worker].send(head)

    def flush(self) -> None:
        """Give slots back to workers that get no message otherwise."""
        for worker, socket in self._leases.items():
            if (reader := self._readers.get(worker)) and (freed := reader.take_freed()):
                slots = struct.pack(f"<{len(freed)}I", *freed)
                socket.send(_FREED.pack(len(freed)) + slots + local.encode(SLOTS)[0])

    def receive(self) -> tuple[int, Any] | None:
        """The next message and the worker it came from; None where there is none."""
        while True:
            try:
                frames = self.results.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None
            begun = perf_counter()
            head = frames[0].buffer
            worker, slot, count, laid = _HEAD.unpack_from(head)
            if worker in self._leases:
                break  # otherwise it is removed: what it had went to others
        end = _HEAD.size + count * _PLACE.size
        structure, places = head[end:], list(_PLACE.iter_unpack(head[_HEAD.size : end]))
        if slot < 0:
            message = local.decode(structure, [bytearray(f.buffer) for f in frames[1:]])
        else:
            with self._readers[worker].open(slot, places, laid) as buffers:
                message = local.decode(structure, buffers)
        arrays = sum(size for _, size in places)
        size = arrays + sum(len(frame.buffer) for frame in frames)
        self.traffic.bytes += size
        self.traffic.passed += size
        self.traffic.seconds += perf_counter() - begun
        return worker, message

    def resident(self) -> int:
        """Bytes of memory that the slots of all workers take now."""
        return sum(reader.resident() for reader in self._readers.values())

    def close(self) -> None:
        """Close every socket and remove what folders there are. Idempotent."""
        for folder in self._folders.values():
            shutil.rmtree(folder, ignore_errors=True)
        for socket in self._leases.values():
            socket.close()
        for reader in self._readers.values():
            reader.close()
        self._leases.clear()
        self._readers.clear()
        self._folders.clear()
        self.results.close()
        self._context.term()


class WorkerEnd:
    """A worker's sockets, in a folder that it makes for them.

    Raises:
        FileExistsError: where there is such a folder already.
    """

    def __init__(self, folder: str, worker: int, writer: SlotWriter | None) -> None:
        self._worker = worker
        self._writer = writer
        os.mkdir(folder, 0o700)
        self._context = zmq.Context()
        self.leases = self._context.socket(zmq.PULL)
        self._results = self._context.socket(zmq.PUSH)
        for socket, name in ((self.leases, "leases"), (self._results, "results")):
            socket.sndhwm = socket.rcvhwm = 0
            socket.bind(f"ipc://{folder}/{name}")
        self._lock = threading.Lock()
        self._spent = Traffic()

    @property
    def traffic(self) -> Traffic:
        """What was sent; waiting for a free slot does not count."""
        waited = self._writer.waited if self._writer is not None else 0.0
        return Traffic(self._spent.bytes, self._spent.seconds - waited)

    def receive(self) -> Any:
        """The next message; None where there is none."""
        try:
            frames = self.leases.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        head = frames[0].buffer
        (count,) = _FREED.unpack_from(head)
        end = _FREED.size * (1 + count)
        if count and self._writer is not None:
            self._writer.give_back(struct.unpack_from(f"<{count}I", head, _FREED.size))
        return local.decode(head[end:], [bytearray(f.buffer) for f in frames[1:]])

    def trim(self) -> bool:
        """Give back memory of slots that has no use now; returns whether to look again soon."""
        return self._writer is not None and self._writer.trim()

    @property
    def shared(self) -> bool:
        """Whether arrays go through shared memory, and not through the socket."""
        return self._writer is not None

    def block(self) -> Block | None:
        """A free slot to build a message's arrays in; None where arrays go through the socket."""
        if self._writer is None:
            return None
        begun = perf_counter()
        block = self._writer.block()
        self._spent.seconds += perf_counter() - begun  # the writer counts it as waiting
        return block

    def spare(self, besides: int) -> Block | None:
        """The same, without waiting, if so many others are free."""
        return None if self._writer is None else self._writer.spare(besides)

    def spent(self, seconds: float) -> None:
        """So long somebody took to copy arrays into a block."""
        self._spent.seconds += seconds

    def drop(self, block: Block) -> None:
        """The block's message is not sent."""
        assert self._writer is not None, "it comes from there"
        self._writer.give_back([block.slot])

    def send(self, message: Any, block: Block | None = None, *, any_size: bool = True) -> None:
        """Send a message; its arrays go into a slot. Any thread may call this.

        Args:
            message: what to send.
            block: where some of its arrays were built; nobody may write there any more.
            any_size: one that is too large for a slot goes through the socket.

        Raises:
            OversizeError: where it does not.
            Exception: what pickling the message raises.
        """
        begun = perf_counter()
        structure, buffers = local.encode(message, block)
        size = sum(buffer.nbytes for buffer in buffers)
        if not any_size and self._writer is not None and size > self._writer.size:
            raise OversizeError(f"{size} bytes")
        slot, places = -1, list[Place]()
        if self._writer is not None and (buffers or block is not None):
            slot, places = self._writer.write(buffers, block) or (-1, [])
        laid = block.laid_bytes if block is not None else 0
        head = b"".join(
            [
                _HEAD.pack(self._worker, slot, len(places), laid),
                *(_PLACE.pack(*place) for place in places),
                structure,
            ]
        )
        with self._lock:
            if slot >= 0 or not buffers:
                self._results.send(head)
            else:
                self._results.send_multipart([head, *buffers])
                if block is not None:
                    self.drop(block)
            self._spent.bytes += len(head) + size
            self._spent.seconds += perf_counter() - begun
