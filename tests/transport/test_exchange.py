"""The thread that talks to peers, where the very first words go wrong."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zmq
from patience import patient

from dataflow.remote import Sender
from dataflow.transport.exchange import Exchange
from dataflow.transport.keys import make_keys

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def test_a_connection_that_fails_before_the_first_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other side has no keys: libzmq gives up for good, and nobody waits to be heard."""
    make_keys(tmp_path)
    greeting = Exchange._greeting
    gone = threading.Event()

    def late(exchange: Exchange) -> dict[str, Any]:
        (place,) = exchange._places
        deadline = time.monotonic() + patient(30)
        while place.socket.poll(1, zmq.POLLOUT) and time.monotonic() < deadline:
            pass
        gone.set()
        return greeting(exchange)

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def serve() -> None:
            accepted.append(server.accept()[0])
            accepted[0].sendall(GREETING)

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setattr(Exchange, "_greeting", late)
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with Sender(address, keys=tmp_path) as sender:
            monkeypatch.undo()
            assert gone.is_set()
            (place,) = sender._exchange._places
            while not place.failures:  # it was noticed, and will be tried again
                assert sender.stats()
        thread.join()
        accepted[0].close()
