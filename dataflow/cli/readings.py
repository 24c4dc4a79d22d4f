"""What is known of a source at one moment, and its forms for people and programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dataflow.cli.components import Form
from dataflow.cli.listen import Source
from dataflow.cli.rates import Rates
from dataflow.prometheus import Metric

__all__ = ["Reading", "metrics", "read"]

STALL = 2.0  # seconds without data after which a source that had some stalls


@dataclass(frozen=True)
class Reading:
    """Of one URL.

    Attributes:
        url: that.
        connected: senders (or Tensorcom's peers) that are connected now.
        ever: whether any was.
        batches, samples, bytes: that came so far; the bytes are those of the content.
        rates: of these three a second, over the last seconds.
        silent: seconds since the last batch, or since the beginning.
        gap: seconds between two batches, at most.
        refused: messages that were turned away.
        forms: names, types and shapes of the components.
        minute: samples in each second of the last minute.
    """

    url: str
    connected: int
    ever: bool
    batches: int
    samples: int
    bytes: int
    rates: tuple[float, float, float]
    silent: float
    gap: float
    refused: int
    forms: list[tuple[str, Form]]
    minute: list[int]

    @property
    def state(self) -> str:
        """In a word or three."""
        if not self.connected:
            return "gone" if self.ever else "nobody there"
        if not self.batches:
            return "no data yet"
        return f"stalled {self.silent:.0f} s" if self.silent >= STALL else "flowing"

    def line(self) -> str:
        """For a person."""
        batches, samples, size = self.rates
        forms = ", ".join(f"{name}: {form}" for name, form in self.forms)
        text = (
            f"{self.url}  {self.state}  {batches:,.1f} batches/s  {samples:,.1f} samples/s  "
            f"{size / 1e6:,.1f} MB/s  longest gap {self.gap:.1f} s  {self.batches:,} batches"
        )
        text += f"  {self.refused:,} refused" if self.refused else ""
        return f"{text}  {forms}".rstrip()

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        batches, samples, size = self.rates
        return {
            "url": self.url,
            "state": self.state,
            "connected": self.connected,
            "batches": self.batches,
            "samples": self.samples,
            "bytes": self.bytes,
            "batches_per_second": batches,
            "samples_per_second": samples,
            "bytes_per_second": size,
            "since_last": self.silent if self.batches else None,
            "longest_gap": self.gap,
            "refused": self.refused,
            "components": [
                {"name": name, "dtype": form.dtype, "shape": form.shape}
                for name, form in self.forms
            ],
        }


def read(source: Source, rates: Rates, now: float) -> Reading:
    """What is known at this moment."""
    status = source.status()
    return Reading(
        url=source.url,
        connected=status.connected,
        ever=status.ever,
        batches=rates.batches,
        samples=rates.samples,
        bytes=rates.bytes,
        rates=rates.rates(now),
        silent=rates.silent(now),
        gap=rates.longest_gap(now),
        refused=sum(status.refused.values()),
        forms=rates.forms,
        minute=rates.minute(now),
    )


_METRICS: tuple[tuple[str, str, str, Callable[[Reading], float]], ...] = (
    ("batches_total", "counter", "Batches that came.", lambda one: one.batches),
    ("samples_total", "counter", "Samples in them.", lambda one: one.samples),
    ("bytes_total", "counter", "Bytes of their content.", lambda one: one.bytes),
    ("refused_total", "counter", "Messages that were turned away.", lambda one: one.refused),
    ("connected", "gauge", "Senders that are connected.", lambda one: one.connected),
    ("silent_seconds", "gauge", "Since the last batch.", lambda one: one.silent),
    ("longest_gap_seconds", "gauge", "Between two batches, at most.", lambda one: one.gap),
)


def metrics(readings: Iterable[Reading]) -> Iterator[Metric]:
    """For `dataflow.prometheus.exposition`."""
    found = list(readings)
    for name, kind, what, value in _METRICS:
        yield name, kind, what, [({"url": one.url}, value(one)) for one in found]
