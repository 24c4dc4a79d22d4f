"""Watch how fast a server sends: batches, samples and bytes a second, shapes, stalls.

A view of each URL that is redrawn each second, or lines where standard output is no terminal. A
zsub:// or zrsub:// only listens along; from all other URLs it takes datapoints that a trainer would
have got. The exit status is 1 where nothing came. Succeeds Tensorcom's tensormon.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from dataflow.cli.arguments import count, port, seconds
from dataflow.cli.listen import add_listening, add_unbatched

if TYPE_CHECKING:
    from dataflow.cli.listen import Source
    from dataflow.cli.readings import Reading

EVERY = 1.0  # seconds between readings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_listening(parser, timeout=None)
    add_unbatched(parser)
    parser.add_argument(
        "-c", "--count", type=count, metavar="N", help="end after so many batches of all URLs"
    )
    parser.add_argument("--seconds", type=seconds, metavar="S", help="end after so long")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object a second")
    form.add_argument("--plain", action="store_true", help="print lines on a terminal, too")
    parser.add_argument(
        "--prometheus",
        type=port,
        metavar="PORT",
        help="serve metrics at http://127.0.0.1:PORT/metrics (0: any free port)",
    )


def run(args: argparse.Namespace) -> int:
    """Listen, and tell each second."""
    from dataflow.cli.listen import Listener, silence
    from dataflow.errors import PeerTimeout

    with ExitStack() as stack:
        tell = stack.enter_context(_teller(args))  # first: it may need something to be installed
        board = Board(args.count, unbatched=args.unbatched)
        listener = Listener(args, board.hear)
        board.begin(listener.sources)
        stack.enter_context(listener)
        if args.prometheus is not None:
            stack.enter_context(_metrics(args.prometheus, board.readings))
        begun = monotonic()
        while not (over := board.full.wait(_left(args.seconds, begun))):
            listener.check()
            readings = board.readings()
            tell(readings, monotonic() - begun)
            if args.seconds is not None and monotonic() - begun >= args.seconds:
                break
            if args.timeout and min(one.silent for one in readings) >= args.timeout:
                raise PeerTimeout(silence(listener.sources, args.timeout))
        if over:
            tell(board.readings(), monotonic() - begun)
    return 0 if board.total else 1


class Board:
    """What came from each source; the threads of all of them write on it.

    Args:
        limit: batches of all sources together that count; None: all.
        unbatched: each datapoint is a single sample.

    Attributes:
        total: batches that came.
        full: whether the limit was reached.
    """

    def __init__(self, limit: int | None, *, unbatched: bool) -> None:
        self.total = 0
        self.full = threading.Event()
        self._limit = limit
        self._unbatched = unbatched
        self._lock = threading.Lock()

    def begin(self, sources: Sequence[Source]) -> None:
        """Count from now on."""
        from dataflow.cli.rates import Rates

        now = monotonic()
        self._rates = {source: Rates(now, unbatched=self._unbatched) for source in sources}

    def hear(self, source: Source, datapoint: Any, infos: Sequence[str]) -> None:
        """Count one batch."""
        with self._lock:
            if self.full.is_set():
                return
            self._rates[source].add(datapoint, infos, monotonic())
            self.total += 1
            if self.total == self._limit:
                self.full.set()

    def readings(self) -> list[Reading]:
        """What is known now, of each source."""
        from dataflow.cli.readings import read

        with self._lock:
            now = monotonic()
            return [read(source, rates, now) for source, rates in self._rates.items()]


@contextmanager
def _teller(args: argparse.Namespace) -> Iterator[Any]:
    """The function that tells readings, and the seconds since the beginning."""
    if args.json:
        yield _tell_json
    elif args.plain or not sys.stdout.isatty():
        yield _tell_lines
    else:
        from dataflow.cli.gauges import gauges
        from dataflow.utils.extras import need

        with need("rich.live").Live(auto_refresh=False) as live:

            def tell(readings: Sequence[Reading], passed: float) -> None:
                live.update(gauges(readings, passed, live.console.width), refresh=True)

            yield tell


def _tell_json(readings: Sequence[Reading], passed: float) -> None:
    import json

    sources = [one.plain() for one in readings]
    print(json.dumps({"seconds": passed, "sources": sources}), flush=True)


def _tell_lines(readings: Sequence[Reading], passed: float) -> None:
    for one in readings:
        print(f"{passed:6.0f} s  {one.line()}", flush=True)


def _left(limit: float | None, begun: float) -> float:
    """Seconds until the next reading."""
    if limit is None:
        return EVERY
    return min(EVERY, max(0.0, limit - (monotonic() - begun)))


@contextmanager
def _metrics(port: int, readings: Callable[[], list[Reading]]) -> Iterator[None]:
    """Serve them to Prometheus on this host, in a thread."""
    from dataflow.cli.readings import metrics
    from dataflow.prometheus import MetricsServer

    with MetricsServer(port, lambda: metrics(readings())) as server:
        print(f"metrics at {server.url}", file=sys.stderr, flush=True)
        yield
