"""The live view of sources, drawn with rich."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dataflow.cli.components import Form, shape_text
from dataflow.cli.readings import Reading
from dataflow.utils.extras import need

__all__ = ["gauges", "sparkline"]

_BARS = "▁▂▃▄▅▆▇"  # a full block would touch the row above
_WIDTH = 30  # bars of a sparkline, two seconds each
_BESIDE = 85  # columns that the rest takes
_COLOURS = {"flowing": "green", "stalled": "bold red", "gone": "bold red"}


def gauges(readings: Sequence[Reading], seconds: float, width: int) -> Any:
    """What rich draws: a row for each URL, and below it what the batches are made of.

    Args:
        readings: one a URL.
        seconds: since the beginning.
        width: of the terminal, in columns; a narrow one has no room for the sparklines.

    Raises:
        MissingExtra: rich is not installed.
    """
    text = need("rich.text").Text
    below = text(f"  {seconds:.0f} s; Ctrl-C ends", style="dim")
    group: Any = need("rich.console").Group
    return group(_speeds(readings, width), _contents(readings), below)


def _table(left: Sequence[str], right: Sequence[str]) -> Any:
    """With columns that are aligned to the left, and others to the right."""
    box, tables = need("rich.box"), need("rich.table")
    table = tables.Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _speeds(readings: Sequence[Reading], width: int) -> Any:
    text = need("rich.text").Text
    table = _table(["source", "state"], ["batches/s", "samples/s", "MB/s", "longest gap"])
    longest = max((len(one.url) for one in readings), default=0)
    bars = min(_WIDTH, width - _BESIDE - max(0, longest - 22))
    if bars >= _WIDTH // 3:
        table.add_column(f"last {2 * bars} s", no_wrap=True)
    for one in readings:
        batches, samples, size = one.rates
        # As text, not as markup: senders choose what is in it.
        source = text(one.url, style="bold")
        if one.refused:
            source.append(f"\n{one.refused:,} messages refused", style="not bold red")
        cells = [
            source,
            text(one.state, style=_COLOURS.get(one.state.split()[0], "yellow")),
            f"{batches:,.1f}",
            f"{samples:,.1f}",
            f"{size / 1e6:,.1f}",
            f"{one.gap:.1f} s",
        ]
        if bars >= _WIDTH // 3:
            cells.append(text(sparkline(one.minute, bars), style="green"))
        table.add_row(*cells)
    return table


def _contents(readings: Sequence[Reading]) -> Any:
    """The components, once for all sources that have the same."""
    text = need("rich.text").Text
    table = _table(["component", "type", "shape", "of"], [])
    found: dict[tuple[tuple[str, Form], ...], list[str]] = {}
    for one in readings:
        if one.forms:
            found.setdefault(tuple(one.forms), []).append(one.url)
    for forms, urls in found.items():
        whose = "all" if len(found) == 1 and len(urls) == len(readings) else "\n".join(urls)
        for place, (name, form) in enumerate(forms):
            shape = shape_text(form.shape or ())
            cells = (text(cell) for cell in (name, form.dtype, shape, "" if place else whose))
            table.add_row(*cells, end_section=place == len(forms) - 1)
    return table


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Values as bars of seven heights, the last one at the right; two values a bar.

    The highest bar is the highest value; a space is nothing at all.
    """
    values = list(values)[-2 * width :]
    if len(values) % 2:
        values = values[1:]
    pairs = [first + second for first, second in zip(values[::2], values[1::2], strict=True)]
    top = max(pairs, default=0)
    if not top:
        return " " * width
    heights = (math.ceil(len(_BARS) * pair / top) for pair in pairs)
    return "".join(_BARS[height - 1] if height else " " for height in heights).rjust(width)
