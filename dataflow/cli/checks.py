"""Small trials of what the package needs from the machine.

A check returns a remark, or raises.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable

__all__ = ["CHECKS"]

SECONDS = 5  # that any of them may take


def loopback() -> str:
    """Bytes through a TCP connection to this machine."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=SECONDS) as client,
    ):
        server.settimeout(SECONDS)
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"ping")
            accepted.settimeout(SECONDS)
            _expect(accepted.recv(4), b"ping")
    return ""


def download() -> str:
    """A file from a web server on this machine, through libcurl."""
    import pycurl

    from dataflow.demo.server import serve

    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "file"), "wb") as file:
            file.write(b"ping")
        with serve(folder) as base:
            curl = pycurl.Curl()
            curl.setopt(pycurl.URL, f"{base}/file")
            curl.setopt(pycurl.TIMEOUT, SECONDS)
            curl.setopt(pycurl.NOPROXY, "127.0.0.1")
            try:
                _expect(curl.perform_rb(), b"ping")
            finally:
                curl.close()
    return ""


def ipc() -> str:
    """A message between two ZMQ sockets over an ipc path."""
    import zmq

    if not zmq.has("ipc"):
        return "not offered on this platform; sockets on 127.0.0.1 are used"
    with (
        tempfile.TemporaryDirectory() as folder,
        zmq.Context() as context,
        context.socket(zmq.PULL) as pull,
        context.socket(zmq.PUSH) as push,
    ):
        for end in (pull, push):
            end.linger = 0
            end.rcvtimeo = end.sndtimeo = SECONDS * 1000
        pull.bind(f"ipc://{folder}/check")
        push.connect(f"ipc://{folder}/check")
        push.send(b"ping")
        _expect(pull.recv(), b"ping")
    return ""


def shared_memory() -> str:
    """Bytes that another process writes into a memfd of this one."""
    if not hasattr(os, "memfd_create"):
        return "no memfd on this platform; arrays go through sockets"
    import mmap

    file = os.memfd_create("dataflow-doctor")
    try:
        os.ftruncate(file, mmap.PAGESIZE)
        with mmap.mmap(file, mmap.PAGESIZE) as memory:
            code = f"import mmap; mmap.mmap({file}, {mmap.PAGESIZE})[:4] = b'ping'"
            command = [sys.executable, "-I", "-c", code]
            subprocess.run(command, pass_fds=[file], check=True, timeout=SECONDS * 2)
            _expect(memory[:4], b"ping")
    finally:
        os.close(file)
    return ""


def jpeg() -> str:
    """A JPEG there and back."""
    import cv2
    import numpy as np

    grey = np.full((32, 48, 3), 128, np.uint8)
    ok, encoded = cv2.imencode(".jpg", grey)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if ok else None
    if decoded is None or decoded.shape != grey.shape or np.abs(decoded - 128.0).max() > 4:
        raise RuntimeError("OpenCV does not decode what it encoded")
    return ""


def cache() -> str:
    """A file in the cache folder."""
    from dataflow.utils.folders import cache_folder

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        # Without the path, which may hold the user's name.
        raise RuntimeError(f"{error.strerror}; DATAFLOW_CACHE chooses another folder") from None
    return ""


def _expect(found: bytes, expected: bytes) -> None:
    if found != expected:
        raise RuntimeError(f"{expected!r} was sent, {found!r} came")


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("loopback tcp", loopback),
    ("http download", download),
    ("zmq ipc", ipc),
    ("shared memory", shared_memory),
    ("jpeg", jpeg),
    ("cache folder", cache),
)
