"""Where `dataflow serve` sends to: programs that use Tensorcom, or this package's receivers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from itertools import count, cycle
from typing import Any, Protocol

import zmq

from dataflow.errors import ConfigError
from dataflow.ownership import own
from dataflow.remote.sender import Sender
from dataflow.tensorcom import Connection
from dataflow.tensorcom.urls import expanded, parse

__all__ = ["Sink", "open_sink"]

_NATIVE = ("tcp", "ipc")


class Sink(Protocol):
    """What takes datapoints.

    Attributes:
        addresses: where it is, ports filled in.
    """

    addresses: list[str]

    def send(self, ds: Any, epochs: int | None) -> None:
        """Send a dataflow so often; None: for ever."""

    def text(self) -> str:
        """How it goes, in a few words."""

    def close(self) -> None:
        """End the connections."""


def open_sink(urls: Sequence[str], args: argparse.Namespace) -> Sink:
    """The one that the URLs and the options of `dataflow serve` ask for.

    Raises:
        ConfigError: they make no sense together, or would let everybody in.
    """
    full = expanded(urls)
    native = [url.partition("://")[0] in _NATIVE for url in full]
    if all(native):
        if args.allow64:
            raise ConfigError("--allow64 is for zpub and zpush: tcp and ipc take every dtype")
        return _Receivers(full, args)
    if any(native):
        raise ConfigError(f"{' '.join(full)}: either tcp and ipc, or zpub and zpush, not both")
    for option, value in (("--keys", args.keys), ("--receivers", args.receivers)):
        if value is not None:
            raise ConfigError(f"{option} is for tcp and ipc, not for {full[0]}")
    return _Subscribers(full, args)


class _Receivers:
    """Everything to each of this package's."""

    def __init__(self, urls: Sequence[str], args: argparse.Namespace) -> None:
        self._sender = Sender(
            urls,
            bind=True,
            copies="all",
            receivers=args.receivers,
            keys=args.keys,
            insecure=args.insecure,
        )
        self.addresses = list(self._sender.addresses)

    def send(self, ds: Any, epochs: int | None) -> None:
        self._sender.send(ds, epochs)

    def text(self) -> str:
        found = self._sender.stats()
        there = sum(peer["connected"] for peer in found["peers"])
        return f"{found['bytes'] / found['seconds'] / 1e6:,.1f} MB/s, {there} receivers"

    def close(self) -> None:
        self._sender.close()


def _url(kind: str, address: str) -> str:
    transport, _, rest = address.partition("://")
    return f"{kind}://{rest}" if transport == "tcp" else f"{kind}+{transport}://{rest}"


class _Subscribers:
    """Each datapoint to one of the URLs, in turn; what that means is the affair of its scheme."""

    def __init__(self, urls: Sequence[str], args: argparse.Namespace) -> None:
        places = list(map(parse, urls))
        if wrong := [url for url, place in zip(urls, places, strict=True) if not place.sends]:
            raise ConfigError(f"{wrong[0]} is for receiving: serve on zpub or zpush")
        # A PUSH shares out by itself, to those that have room.
        together = all(place.kind == zmq.PUSH for place in places)
        groups = [urls] if together else [[url] for url in urls]
        self._connections: list[Connection] = []
        try:
            for group in groups:
                connection = Connection(
                    group,
                    noexpand=True,
                    allow64=args.allow64,
                    copy=False,
                    insecure=args.insecure or None,  # None: it warns
                )
                self._connections.append(connection)
        except ConfigError:
            self.close()
            raise
        kinds = [url.partition("+")[0].partition("://")[0] for group in groups for url in group]
        bound = [place for one in self._connections for place in one.addresses]
        self.addresses = list(map(_url, kinds, bound))

    def send(self, ds: Any, epochs: int | None) -> None:
        turn = cycle(self._connections)
        for _ in count() if epochs is None else range(epochs):
            empty = True
            with closing(iter(ds)) as datapoints:
                for datapoint in datapoints:
                    datapoint = own(datapoint)  # it is sent from where it lies, later
                    next(turn).send_datapoint(datapoint)
                    empty = False
            if empty and epochs is None:
                raise ConfigError("the dataflow is empty, and was to be served for ever")

    def text(self) -> str:
        rate = sum(one.stats.recent_throughput() for one in self._connections)
        return f"{rate / 1e6:,.1f} MB/s"

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
