"""What a running pipeline tells to Prometheus: `DataFlow.metrics`, and ``dataflow monitor``.

The format is text, version 0.0.4:
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from dataflow.errors import ConfigError

__all__ = ["Metric", "MetricsServer", "exposition", "of_stats"]

_Values: TypeAlias = Iterable[tuple[Mapping[str, Any], float]]

Metric: TypeAlias = tuple[str, str, str, _Values]
"""Name, ``"counter"`` or ``"gauge"``, what it is; and values with their labels."""

_NAMES = ("127.0.0.1", "localhost", "::1")


def exposition(metrics: Iterable[Metric]) -> str:
    """Metrics in Prometheus' text format; names get ``dataflow_`` before them."""
    lines = []
    for name, kind, what, values in metrics:
        lines += [f"# HELP dataflow_{name} {what}", f"# TYPE dataflow_{name} {kind}"]
        for labels, value in values:
            inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            lines.append(f"dataflow_{name}{f'{{{inner}}}' if inner else ''} {value}")
    return "\n".join(lines) + "\n"


def _escaped(text: Any) -> str:
    return str(text).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def of_stats(stats: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics in what `DataFlow.stats` says."""
    yield "items_total", "counter", "Datapoints delivered to the loop.", [({}, stats["items"])]
    errors = [({"reason": reason}, count) for reason, count in stats["errors"].items()]
    yield "errors_total", "counter", "Datapoints that were left out or replaced.", errors
    restarts: _Values = [({}, stats["worker_restarts"])]
    yield "worker_restarts_total", "counter", "Workers that died and were replaced.", restarts
    seconds = [({"what": what}, value) for what, value in stats["seconds"].items()]
    yield "seconds_total", "counter", "Of the loop: waiting, away, and so on.", seconds
    stages = [
        ({"stage": str(number), "name": row["name"], "runner": row["runner"] or ""}, row)
        for number, row in enumerate(stats["stages"])
    ]
    for key, kind, what in _OF_STAGES:
        values = [(labels, row[key]) for labels, row in stages if key in row]
        if values:
            unit = f"{key}_seconds" if key in ("busy", "waiting") else key
            yield f"stage_{unit}{'_total' * (kind == 'counter')}", kind, what, values
    peers = [
        ({"stage": labels["stage"], "peer": peer.get("name", "")}, peer)
        for labels, row in stages
        for peer in row.get("peers", ())
    ]
    numbers = {
        key for _, peer in peers for key, value in peer.items() if isinstance(value, (int, float))
    }
    for key in sorted(numbers):
        values = [(labels, float(peer[key])) for labels, peer in peers if key in peer]
        yield f"peer_{key}", "gauge", f"{key} of a peer, as peers() has it.", values
    refused = [
        ({**labels, "reason": reason}, count)
        for labels, row in stages
        for reason, count in row.get("refused", {}).items()
    ]
    if refused:
        yield "refused_total", "counter", "Peers and messages that were turned away.", refused


_OF_STAGES = (
    ("items", "counter", "Datapoints handled by a stage."),
    ("errors", "counter", "Datapoints that failed in a stage."),
    ("busy", "counter", "Work, summed over threads or transfers."),
    ("waiting", "counter", "Without anything to do, summed over these."),
    ("bytes", "counter", "Downloaded, read, or passed between processes."),
    ("share", "gauge", "Of the time that all threads or transfers were busy, 0 to 1."),
    ("units", "gauge", "Datapoints that can be worked on at once."),
    ("workers", "gauge", "Of a runner."),
    ("fill", "gauge", "How full the queue of finished results is on average, 0 to 1."),
)


class MetricsServer:
    """Serves metrics at ``http://127.0.0.1:PORT/metrics``, in a thread.

    Only to this host: others reach it through what the host itself lets through. What asks under
    another name than this host's is refused, since a page from elsewhere may make a browser ask.

    Args:
        port: 0: any that is free.
        metrics: what is served.
        plain: the same for programs, served at ``/stats`` as JSON; None: nothing is.

    Attributes:
        url: where.

    Raises:
        ConfigError: the port cannot be had.
    """

    def __init__(
        self,
        port: int,
        metrics: Callable[[], Iterable[Metric]],
        plain: Callable[[], Any] | None = None,
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                status, kind, text = _answer(self.path, self.headers.get("Host"), metrics, plain)
                body = text.encode("utf-8", "backslashreplace")
                self.send_response(status)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not to standard error."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"port {port} for metrics: {reason}") from error
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/metrics"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="dataflow-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _answer(
    path: str,
    host: str | None,
    metrics: Callable[[], Iterable[Metric]],
    plain: Callable[[], Any] | None,
) -> tuple[int, str, str]:
    """Status, content type and text."""
    try:
        named = urlsplit(f"//{host or ''}").hostname
    except ValueError:
        named = None
    if named not in _NAMES:
        return 403, "text/plain", "only 127.0.0.1 and localhost are served\n"
    place = path.partition("?")[0]
    if place in ("/", "/metrics"):
        return 200, "text/plain; version=0.0.4", exposition(metrics())
    if place == "/stats" and plain is not None:
        return 200, "application/json", json.dumps(plain(), default=str)
    return 404, "text/plain", "metrics are at /metrics\n"
