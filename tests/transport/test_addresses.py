"""What is wrong with addresses where nobody answers."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from patience import patient

import dataflow as df
from dataflow.remote.setup import Notice
from dataflow.transport.addresses import trouble


@contextlib.contextmanager
def server(says: bytes | None) -> Iterator[str]:
    """A TCP server that says something to whoever connects, or nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])
                    if says is not None:
                        kept[-1].sendall(says)
                        kept[-1].shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in kept:
            one.close()


def test_what_is_wrong(tmp_path: Path) -> None:
    assert "cannot be resolved" in str(trouble("tcp://no-such-host.invalid:5555"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert trouble(f"tcp://127.0.0.1:{port}") == "nobody listens there (connection refused)"
    with server(b"HTTP/1.1 400 Bad Request") as address:
        assert "no ZeroMQ: it begins with b'HTTP/1.1 400 Bad Req'" in str(trouble(address))
    with server(b"") as address:
        assert "it ends the connection at once" in str(trouble(address))
    with server(None) as address:
        assert "says nothing" in str(trouble(address, 0.2))
    assert trouble(f"ipc://{tmp_path}/none") == "there is no such file"


def test_what_is_well() -> None:
    with df.receive("tcp://127.0.0.1:*") as ds:
        assert trouble(ds.addresses[0], patient(1.0)) is None


def test_it_is_told_to_who_waits(caplog: pytest.LogCaptureFixture) -> None:
    notice = Notice("trainer", ["tcp://no-such-host.invalid:5555"], connects=True)
    with caplog.at_level(logging.WARNING):
        for passed in range(int(Notice._patience) + 3):
            notice(float(passed))
        for thread in threading.enumerate():
            if thread.name == "dataflow-notice":
                thread.join(patient(10))
    (text,) = caplog.messages
    assert text.startswith("waiting for a trainer at tcp://no-such-host.invalid:5555; tcp://")
    assert "cannot be resolved" in text


@pytest.mark.parametrize("binds", [True, False])
def test_another_kind_of_socket(binds: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Such as tensorpack's: both sides of ours say what would do."""
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        other = stack.enter_context(context.socket(zmq.PUSH if binds else zmq.PULL))
        other.linger = 0
        told = threading.Event()

        class Told(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "format=" in record.getMessage():
                    told.set()

        handler = Told()
        logging.getLogger("dataflow").addHandler(handler)
        stack.callback(logging.getLogger("dataflow").removeHandler, handler)
        if binds:
            ds = stack.enter_context(df.receive("tcp://127.0.0.1:*"))
            other.connect(ds.addresses[0])

            def wait() -> None:
                with contextlib.suppress(df.DataFlowTerminated):
                    list(ds)

            waiting = threading.Thread(target=wait)
            waiting.start()
            stack.callback(waiting.join)
            stack.callback(ds.close)
        else:
            port = other.bind_to_random_port("tcp://127.0.0.1")
            ds = stack.enter_context(df.receive(f"tcp://127.0.0.1:{port}", bind=False))
            assert ds.addresses
        assert told.wait(patient(30))
