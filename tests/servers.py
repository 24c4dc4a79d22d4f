"""A real HTTP server on a local port that misbehaves on purpose.

::

    with Server() as server:
        server.routes["/a.jpg"] = ok(JPEG, "image/jpeg")
        server.routes["/busy"] = sequence(status(503, {"Retry-After": "2"}), ok(JPEG))
        fetch(server.url("/a.jpg"))
        assert server.requests["/a.jpg"] == 1

A route is a function that is called in the connection's own thread with an `Exchange`, and writes
whatever bytes it likes. Connections are kept alive as long as routes keep to the rules of HTTP.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a18161618"
    "3123251d283a333d3c3933383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffc000"
    "0b080001000101011100ffc40014000100000000000000000000000000000000ffc4001410010000000000000000"
    "0000000000000000ffda0008010100003f003fffd9"
)
"""A grey image of one pixel."""


class Exchange:
    """One request, and the connection to answer it on."""

    def __init__(self, server: Server, sock: socket.socket, head: bytes) -> None:
        self.server = server
        self.sock = sock
        self.head = head
        self.keep = True
        """Whether the connection can be used for another request."""
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, self.version = lines[0].split(" ", 2)
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.sock.sendall(data)

    def start(self, code: int, headers: Mapping[str, str]) -> None:
        """Write a status line and headers."""
        lines = [f"HTTP/1.1 {code} Whatever", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.keep = False

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the server."""
        if self.server.stopped.wait(seconds):
            raise ConnectionAbortedError("the server was stopped")


Route = Callable[[Exchange], object]


class Server:
    """A server on a free port, with a thread for each connection.

    Args:
        address: where to listen.
        tls: a certificate and key, as from `certificate`, to speak TLS.

    Attributes:
        routes: what answers which path; others get a 404. A query is not part of the path.
        requests: how often each path was asked for.
        connections: how many connections were accepted, TLS or not.
        seen: the exchanges, in order.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        tls: Path | None = None,
        port: int = 0,
        routes: Mapping[str, Route] | None = None,
    ) -> None:
        self.routes: dict[str, Route] = dict(routes or {})
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.seen: list[Exchange] = []
        self.stopped = threading.Event()
        self._scheme = "http" if tls is None else "https"
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=256)
        self.address, self.port = self._listener.getsockname()[:2]
        self._start(self._accept)

    def url(self, path: str = "/", *, host: str | None = None) -> str:
        """The URL of a path, by the server's address or another name for it."""
        name = host or self.address
        name = f"[{name}]" if ":" in name else name
        return f"{self._scheme}://{name}:{self.port}{path}"

    def close(self) -> None:
        """End all connections and threads."""
        self.stopped.set()
        with self._lock:
            # Shutting a listening socket down wakes the thread in accept.
            for sock in (self._listener, *self._open):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive(), f"{thread.name} does not end"
        self._listener.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="test-server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(sock)
            if self.stopped.is_set():
                sock.close()
                return
            self._start(self._serve, sock)

    def _serve(self, raw: socket.socket) -> None:
        sock = raw
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock = self._context.wrap_socket(raw, server_side=True)
                with self._lock:
                    self._open.discard(raw)
                    self._open.add(sock)
            self._converse(sock)
        except (OSError, ValueError):
            pass  # the client went away, or the server is being stopped
        finally:
            with self._lock:
                self._open -= {raw, sock}
            sock.close()
            raw.close()

    def _converse(self, sock: socket.socket) -> None:
        buffer = b""
        while not self.stopped.is_set():
            while b"\r\n\r\n" not in buffer:
                data = sock.recv(65536)
                if not data:
                    return
                buffer += data
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            exchange = Exchange(self, sock, head)
            path = exchange.path.partition("?")[0]
            with self._lock:
                self.requests[path] += 1
                self.seen.append(exchange)
            self.routes.get(path, status(404))(exchange)
            if not exchange.keep:
                return


def ok(body: bytes, content_type: str | None = "image/jpeg", **headers: str) -> Route:
    """A proper answer; underscores in names of further headers stand for hyphens."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        fields["Content-Type"] = content_type

    def route(exchange: Exchange) -> None:
        exchange.start(200, {"Content-Length": str(len(body)), **fields})
        exchange.send(body)

    return route


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Route:
    """An answer with this status."""

    def route(exchange: Exchange) -> None:
        exchange.start(code, {"Content-Length": str(len(body)), **(headers or {})})
        exchange.send(body)

    return route


def redirect(target: str, code: int = 302) -> Route:
    """An answer that leads elsewhere."""
    return status(code, {"Location": target})


def sequence(*routes: Route) -> Route:
    """Each request gets the next of some answers; the last one stays."""
    lock = threading.Lock()
    left = list(routes)

    def route(exchange: Exchange) -> None:
        with lock:
            chosen = left.pop(0) if len(left) > 1 else left[0]
        chosen(exchange)

    return route


def chunked(body: bytes, size: int = 1000, *, content_type: str = "image/jpeg") -> Route:
    """A proper answer without a Content-Length."""

    def route(exchange: Exchange) -> None:
        exchange.start(200, {"Content-Type": content_type, "Transfer-Encoding": "chunked"})
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        exchange.send(b"0\r\n\r\n")

    return route


def drip(body: bytes, seconds: float = 1.0) -> Route:
    """One byte at a time."""

    def route(exchange: Exchange) -> None:
        exchange.start(200, {"Content-Length": str(len(body)), "Content-Type": "image/jpeg"})
        for index in range(len(body)):
            exchange.send(body[index : index + 1])
            exchange.pause(seconds)

    return route


def held(route: Route, until: threading.Event) -> Route:
    """Answers when an event has come."""

    def answer(exchange: Exchange) -> None:
        while not until.is_set():
            exchange.pause(0.01)
        route(exchange)

    return answer


def silence(exchange: Exchange) -> None:
    """No answer at all, until the server is stopped."""
    exchange.pause(3600)


def short(body: bytes, missing: int) -> Route:
    """A body that ends before its Content-Length, with an orderly close."""

    def route(exchange: Exchange) -> None:
        length = str(len(body) + missing)
        exchange.start(200, {"Content-Length": length, "Content-Type": "image/jpeg"})
        exchange.send(body)
        exchange.keep = False

    return route


def reset_within(body: bytes) -> Route:
    """A TCP reset in the middle of the body."""

    def route(exchange: Exchange) -> None:
        exchange.start(200, {"Content-Length": str(2 * len(body)), "Content-Type": "image/jpeg"})
        exchange.send(body)
        time.sleep(0.05)  # a reset throws away what was not sent yet
        exchange.reset()

    return route


def endless(exchange: Exchange) -> None:
    """A body without end and without length."""
    exchange.start(200, {"Content-Type": "image/jpeg", "Transfer-Encoding": "chunked"})
    piece = bytes(65536)
    while True:
        exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece))


def gzip_bomb(unpacked: int) -> Route:
    """A small compressed body that grows to so many bytes, whole mebibytes of zeros."""
    mebi, count = bytes(1 << 20), unpacked >> 20
    packer = zlib.compressobj(9, wbits=-15)
    # Nothing after a full flush refers to what was before it, so that it can be repeated.
    part = packer.compress(mebi) + packer.flush(zlib.Z_FULL_FLUSH)
    crc = 0
    for _ in range(count):
        crc = zlib.crc32(mebi, crc)
    head, trailer = b"\x1f\x8b\x08" + bytes(7), struct.pack("<II", crc, unpacked & 0xFFFFFFFF)
    body = head + part * count + packer.flush() + trailer
    return ok(body, "image/png", Content_Encoding="gzip")


def certificate(
    folder: Path,
    name: str = "localhost",
    *,
    days: tuple[float, float] = (-1, 1),
    address: str = "127.0.0.1",
) -> Path:
    """A self-signed certificate for a name and an address, with its key, in one PEM file.

    Args:
        folder: where the file is written.
        name: the DNS name, which also names the file.
        days: when it begins and ends to be valid, in days from now.
        address: the IP address.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path
