"""A small web server in a process of its own: files of a folder, with simulated latency.

It shares the machine with the pipeline that is measured against it, so it must cost next to
nothing: one thread, one `selectors` loop, bodies sent from the page cache with `sendfile` where
the system has it. Only GET and HEAD, only on 127.0.0.1, and only files below the folder.

The process runs this very file, isolated and with the standard library alone: it starts in a
moment and has no trace of the package's own threads and pools.
"""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator

__all__ = ["serve"]

TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
MAX_HEAD = 16384  # bytes of a request's head
SEND_BUFFER = 1 << 20  # so that most bodies leave in one call
PATIENCE = 10.0  # seconds to wait for the server to start


@contextlib.contextmanager
def serve(folder: str | os.PathLike[str], *, latency: float = 0.0) -> Iterator[str]:
    """Serve the files below `folder` over HTTP/1.1 with keep-alive, until the block is left.

    Args:
        folder: a file ``folder/a/b.jpg`` is served as ``/a/b.jpg``.
        latency: seconds from a request to the first byte of its answer.

    Yields:
        The base URL, ``http://127.0.0.1:PORT`` with a free port.

    Raises:
        NotADirectoryError: where `folder` is none.
        RuntimeError: where the server does not start.
    """
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"folder={os.fspath(folder)!r} is not a folder")
    if latency < 0:
        raise ValueError(f"latency={latency!r} must not be negative")
    command = [sys.executable, "-I", os.path.abspath(__file__), os.path.abspath(folder)]
    process = subprocess.Popen(
        [*command, repr(float(latency)), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the pipeline; the server ends after it
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        with process.stdout as output:
            # The pipe ends with the process, so this waits no longer than the process lives.
            alarm = threading.Timer(PATIENCE, process.kill)
            alarm.start()
            port = output.readline().decode().strip()
            alarm.cancel()
        if not port.isdigit():
            raise RuntimeError(f"the web server did not start (exit status {process.wait()})")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stdin.close()  # asks it to end
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Answer:
    """What is being sent to one client: a head, then a file or nothing."""

    __slots__ = ("file", "head", "offset", "size")

    def __init__(self, head: bytes, file: int = -1, size: int = 0) -> None:
        self.head = head
        self.file = file
        self.offset = 0
        self.size = size

    def send(self, connection: socket.socket) -> bool:
        """Send as much as the socket takes; True when all of it is gone."""
        try:
            if self.head:
                more = getattr(socket, "MSG_MORE", 0) if self.size else 0
                self.head = self.head[connection.send(self.head, more) :]
            while not self.head and self.offset < self.size:
                sent = _send_file(connection, self.file, self.offset, self.size - self.offset)
                if sent == 0:
                    raise ConnectionError("the file became shorter than announced")
                self.offset += sent
        except BlockingIOError:
            pass
        return not self.head and self.offset == self.size

    def close(self) -> None:
        """Let the file go."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


class Client:
    """One connection: the bytes that came, and what is under way for the first request in them."""

    __slots__ = ("answer", "busy", "connection", "last", "received", "writing")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = b""
        self.answer: Answer | None = None
        self.busy = False  # a request waits for its latency, or its answer is under way
        self.last = False  # the connection ends with this answer
        self.writing = False  # registered for writing

    @property
    def gone(self) -> bool:
        return self.connection.fileno() < 0


class Server:
    """The loop.

    Args:
        folder: what is served.
        latency: seconds.
    """

    def __init__(self, folder: str, latency: float) -> None:
        self.folder = os.path.realpath(folder)
        self.latency = latency
        self.selector = selectors.DefaultSelector()
        # All wait equally long, so a queue is enough to know who is next.
        # All requests wait equally long, so a queue is enough to know which is next.
        self.waiting: deque[tuple[float, Client, bytes]] = deque()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        # Accepted connections inherit it.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.find = functools.lru_cache(maxsize=1 << 14)(self._find)

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Serve as long as `goes_on()`, which is asked about once a second."""
        asked = time.monotonic()
        while True:
            timeout = self.waiting[0][0] - time.monotonic() if self.waiting else 1.0
            for key, _ in self.selector.select(min(max(timeout, 0.0), 1.0)):
                if key.data is None:
                    self._accept()
                else:
                    self._guarded(self._send if key.data.writing else self._receive, key.data)
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _, client, head = self.waiting.popleft()
                if not client.gone:
                    self._guarded(self._answer, client, head)
            if now - asked > 1:
                if not goes_on():
                    return
                asked = now

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.selector.register(connection, selectors.EVENT_READ, Client(connection))

    def _guarded(self, step: Callable[..., None], client: Client, *args: bytes) -> None:
        try:
            step(client, *args)
        except OSError:  # the client went away
            self._drop(client)

    def _receive(self, client: Client) -> None:
        data = client.connection.recv(MAX_HEAD)
        client.received += data
        if not data or len(client.received) > 2 * MAX_HEAD:
            self._drop(client)
        elif not client.busy:
            self._next_request(client)

    def _next_request(self, client: Client) -> None:
        """Take up the next request, if all of its head has come."""
        head, end, rest = client.received.partition(b"\r\n\r\n")
        if not end:
            return
        client.received = rest
        client.busy = True
        if self.latency:
            self.waiting.append((time.monotonic() + self.latency, client, head))
        else:
            self._answer(client, head)

    def _answer(self, client: Client, head: bytes) -> None:
        client.answer = self._understand(client, head)
        self._send(client)

    def _understand(self, client: Client, head: bytes) -> Answer:
        line, *fields = head.split(b"\r\n")
        words = line.split(b" ")
        options = [field.lower().replace(b" ", b"") for field in fields]
        has_body = any(f.startswith((b"content-length:", b"transfer-encoding:")) for f in options)
        if len(words) != 3 or not words[2].startswith(b"HTTP/1.") or has_body:
            client.last = True  # what follows cannot be made out
            return Answer(_head("400 Bad Request"))
        method, target, version = words
        client.last = b"connection:close" in options or version == b"HTTP/1.0"
        if method not in (b"GET", b"HEAD"):
            return Answer(_head("405 Method Not Allowed"))
        try:
            path = self.find(target)
            file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except (OSError, ValueError):
            return Answer(_head("404 Not Found"))
        size = os.fstat(file).st_size
        kind = TYPES.get(os.path.splitext(path)[1].lower(), "application/octet-stream")
        if method == b"HEAD":
            os.close(file)
            return Answer(_head("200 OK", kind, size))
        return Answer(_head("200 OK", kind, size), file, size)

    def _find(self, target: bytes) -> str:
        """The file that is asked for."""
        path = urllib.parse.unquote_to_bytes(target.partition(b"?")[0]).decode()
        # Dots that climb are folded away at the root; links must not lead out either.
        inside = posixpath.normpath("/" + path.replace("\\", "/")).lstrip("/")
        full = os.path.realpath(os.path.join(self.folder, inside))
        if os.path.commonpath([full, self.folder]) != self.folder or not os.path.isfile(full):
            raise FileNotFoundError(path)
        return full

    def _send(self, client: Client) -> None:
        """Send on; when all is gone, turn to the next request."""
        if client.answer is None:
            return
        done = client.answer.send(client.connection)
        if client.writing == done:
            events = selectors.EVENT_READ if done else selectors.EVENT_WRITE
            self.selector.modify(client.connection, events, client)
            client.writing = not done
        if done:
            client.answer.close()
            client.answer = None
            client.busy = False
            if client.last:
                self._drop(client)
            elif client.received:
                self._next_request(client)

    def _drop(self, client: Client) -> None:
        if client.answer is not None:
            client.answer.close()
        if not client.gone:
            self.selector.unregister(client.connection)
            client.connection.close()


def _head(status: str, kind: str = "text/plain", size: int = 0) -> bytes:
    fields = f"Content-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
    return f"HTTP/1.1 {status}\r\n{fields}".encode()


if hasattr(os, "sendfile"):

    def _send_file(connection: socket.socket, file: int, offset: int, size: int) -> int:
        return os.sendfile(connection.fileno(), file, offset, size)

else:

    def _send_file(connection: socket.socket, file: int, offset: int, size: int) -> int:
        os.lseek(file, offset, os.SEEK_SET)
        return connection.send(os.read(file, min(size, SEND_BUFFER)))


def _end_with_parent() -> None:
    """Wait for the end of the pipe from the parent."""
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    os._exit(0)


def _allow_many_files() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def _main(folder: str, latency: str, parent: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _allow_many_files()
    server = Server(folder, float(latency))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(server.listener.getsockname()[1], flush=True)
    # The pipe says it sooner, except where a fork of the parent holds its other end open.
    server.run(lambda: os.name != "posix" or os.getppid() == int(parent))


if __name__ == "__main__":
    _main(*sys.argv[1:])
