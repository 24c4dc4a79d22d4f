"""Listening to what others send, by Tensorcom's URLs or our own: each URL in a thread."""

from __future__ import annotations

import argparse
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from queue import Empty, Full, Queue
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

from dataflow.cli.arguments import seconds
from dataflow.errors import ConfigError, DataFlowTerminated, PeerTimeout

__all__ = [
    "Heard",
    "Listener",
    "Source",
    "Status",
    "add_listening",
    "add_unbatched",
    "datapoints",
    "silence",
]

_GLANCE = 0.2  # seconds between looks whether it is over
_COUNTERPARTS = {"zpub": "zsub", "zpush": "zpull", "zrpub": "zrsub", "zrpush": "zrpull"}


def add_listening(parser: argparse.ArgumentParser, *, timeout: float | None) -> None:
    """Declare the URLs and the options of connections.

    Args:
        parser: the command's.
        timeout: the default of ``--timeout``, in seconds; None: for ever.
    """
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="+",
        help="Tensorcom's, such as zsub://host:7880 (braces: 788{0..3}), "
        "or tcp://host:5555 or ipc://path of `dataflow send`",
    )
    parser.add_argument(
        "--bind", action="store_true", help="listen there; senders connect (tcp:// and ipc://)"
    )
    parser.add_argument("--keys", metavar="FOLDER", help="encrypt with these (see dataflow keys)")
    parser.add_argument(
        "--server-key", metavar="KEY", help="public key of the senders, or its file (own key)"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="listen without keys where others can connect"
    )
    told = "for ever" if timeout is None else f"{timeout:g}"
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=seconds,
        default=timeout,
        help=f"seconds without data after which to give up ({told})",
    )


def add_unbatched(parser: argparse.ArgumentParser) -> None:
    """Declare ``--unbatched``; see `dataflow.cli.components.samples` for what decides otherwise."""
    parser.add_argument(
        "-b", "--unbatched", action="store_true", help="take each datapoint for a single sample"
    )


class Status(NamedTuple):
    """How a source is connected.

    Attributes:
        connected: to how many now.
        ever: whether to anybody yet.
        refused: what came and was turned away, by reason.
    """

    connected: int
    ever: bool
    refused: dict[str, int]


class Source(ABC):
    """One URL.

    Attributes:
        url: as it was given, without braces; a port that was bound filled in.
        foreign: whether it is Tensorcom's, where images are RGB by convention; ours are BGR.
        passes: epochs of the senders that are over.
        error: what ended it.
    """

    foreign: bool
    passes = 0
    error: Exception | None = None

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def receive(self) -> Iterator[tuple[Any, Sequence[str]]]:
        """Datapoints and their infos, until it is closed."""

    @abstractmethod
    def status(self) -> Status:
        """How it is connected."""

    @abstractmethod
    def advice(self) -> str:
        """What to look at where nothing comes."""

    @abstractmethod
    def close(self) -> None:
        """Close the sockets, and end `receive`. Idempotent."""


class _Tensorcom(Source):
    foreign = True

    def __init__(self, url: str, args: argparse.Namespace) -> None:
        from dataflow.tensorcom import Connection
        from dataflow.tensorcom.urls import parse

        super().__init__(url)
        place, (scheme, _, rest) = parse(url), url.partition("://")
        if place.sends:
            name, plus, transport = scheme.partition("+")
            other = f"{_COUNTERPARTS[name]}{plus}{transport}://{rest}"
            raise ConfigError(f"url={url!r} is the sender's: listen at {other}")
        if args.keys or args.server_key or args.bind:
            raise ConfigError(f"url={url!r} has no --bind, --keys or --server-key: tcp:// has")
        self._binds, self._topic = place.bind, place.topic
        self._connection = Connection(url, infos=True, noexpand=True, insecure=args.insecure)
        if place.bind:
            self.url = f"{scheme}://{self._connection.addresses[0].partition('://')[2]}"

    def receive(self) -> Iterator[tuple[Any, Sequence[str]]]:
        yield from self._connection.items()

    def status(self) -> Status:
        found = self._connection.stats()
        row = found["stages"][0]
        connected = max(0, row["connects"] - row["disconnects"])
        return Status(connected, row["connects"] > 0, found["errors"])

    def advice(self) -> str:
        if not self.status().ever:
            return _nobody(self._binds)
        topic = f", with the topic {self._topic.decode(errors='replace')!r}" if self._topic else ""
        return f"Does it have data{topic}? Or do others take it all (zpull and zrpull share)?"

    def close(self) -> None:
        self._connection.close()


class _Native(Source):
    foreign = False

    def __init__(self, url: str, args: argparse.Namespace) -> None:
        from dataflow.remote.receiver import Receiver

        super().__init__(url)
        self._binds = args.bind
        self._receiver = Receiver(
            url,
            bind=args.bind,
            keys=args.keys,
            server_key=args.server_key,
            insecure=args.insecure,
        )
        self._ever = False
        self._closed = False
        (self.url,) = self._receiver.addresses  # listening begins

    def receive(self) -> Iterator[tuple[Any, Sequence[str]]]:
        while not self._closed:
            for datapoint in self._receiver:
                yield datapoint, ()
            self.passes += 1

    def status(self) -> Status:
        peers = self._receiver.peers()
        self._ever = self._ever or bool(peers)
        refused = self._receiver.stats()["stages"][0].get("refused", {})
        return Status(sum(peer["connected"] for peer in peers), self._ever, refused)

    def advice(self) -> str:
        status = self.status()
        if not status.ever:
            return _nobody(self._binds)
        if not status.connected:
            return "Has it come to its end?"
        return "Does it have data? Or do other receivers take it all (--copies one)?"

    def close(self) -> None:
        self._closed = True
        self._receiver.close()


def _nobody(binds: bool) -> str:
    if binds:
        return "Does a sender run that connects to this address?"
    return "Does the server run, are host and port right, and is no firewall between?"


Hear: TypeAlias = Callable[[Source, Any, Sequence[str]], None]


class Listener:
    """All URLs of a command line. As a context manager, it listens as long as the block lasts.

    Args:
        args: has the options of `add_listening`.
        hear: is called with each source, datapoint and its infos, in the source's thread.

    Raises:
        ConfigError: a URL or an option makes no sense, or an address is taken.
    """

    def __init__(self, args: argparse.Namespace, hear: Hear) -> None:
        from dataflow.tensorcom.urls import expanded

        self.sources: list[Source] = []
        self._hear = hear
        self._threads: list[threading.Thread] = []
        with ExitStack() as stack:
            for url in expanded(args.url):
                self.sources.append(_opened(url, args))
                stack.callback(self.sources[-1].close)
                if self.sources[-1].url != url:
                    print(f"listening at {self.sources[-1].url}", file=sys.stderr, flush=True)
            self._close = stack.pop_all().close

    def __enter__(self) -> Listener:
        for source in self.sources:
            thread = threading.Thread(target=self._run, args=(source,), name=source.url)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()
        for source, thread in zip(self.sources, self._threads, strict=True):
            while thread.is_alive():
                source.close()  # again: between two passes it may have been about to open
                thread.join(_GLANCE)

    def check(self) -> None:
        """Raise what ended a source.

        Raises:
            DataFlowError: a sender refuses us, or sends nothing that can be read.
        """
        for source in self.sources:
            if source.error is not None:
                raise source.error

    def over(self) -> bool:
        """Whether all senders have come to their ends and gone."""
        return all(source.passes and not source.status().connected for source in self.sources)

    def _run(self, source: Source) -> None:
        try:
            for datapoint, infos in source.receive():
                self._hear(source, datapoint, infos)
        except DataFlowTerminated:
            pass  # it was closed
        except Exception as error:
            source.error = error


def silence(sources: Sequence[Source], seconds: float) -> str:
    """What to tell a person where nothing came from anybody for so long: a line for each URL."""
    lines = []
    for source in sources:
        status = source.status()
        if status.connected:
            many = "1 peer is" if status.connected == 1 else f"{status.connected} peers are"
            there = f"though {many} connected"
        else:
            there = f"and nobody is connected{' any more' if status.ever else ''}"
        told = f"nothing came from {source.url} for {seconds:g} s, {there}. {source.advice()}"
        if status.refused:
            reasons = ", ".join(f"{reason} {number}" for reason, number in status.refused.items())
            told += f" Refused: {reasons}."
        lines.append(told)
    return "\n".join(lines)


def _opened(url: str, args: argparse.Namespace) -> Source:
    if url.startswith(("tcp://", "ipc://")):
        return _Native(url, args)
    return _Tensorcom(url, args)


class Heard(NamedTuple):
    """A datapoint, and where it came from.

    Attributes:
        source: that.
        datapoint: itself.
        infos: texts that Tensorcom sends with arrays.
    """

    source: Source
    datapoint: Any
    infos: Sequence[str]


def datapoints(args: argparse.Namespace) -> Generator[Heard, None, None]:
    """What comes from all URLs, until the senders have come to their ends.

    Args:
        args: has the options of `add_listening`.

    Raises:
        ConfigError: as `Listener`.
        PeerTimeout: nothing came for ``args.timeout`` seconds.
    """
    queue: Queue[Heard] = Queue(maxsize=1)
    closing = threading.Event()

    def hear(source: Source, datapoint: Any, infos: Sequence[str]) -> None:
        while not closing.is_set():
            with suppress(Full):
                queue.put(Heard(source, datapoint, infos), timeout=_GLANCE)
                return

    with Listener(args, hear) as listener:
        try:
            last = monotonic()
            while True:
                try:
                    yield queue.get(timeout=_GLANCE)
                    last = monotonic()
                except Empty:
                    listener.check()
                    if listener.over() and queue.empty():
                        return
                    if args.timeout is not None and monotonic() - last >= args.timeout:
                        raise PeerTimeout(silence(listener.sources, args.timeout)) from None
        finally:
            closing.set()
