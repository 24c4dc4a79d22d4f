"""How numbers are distributed, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.errors import ConfigError
from dataflow.utils.extras import need

if TYPE_CHECKING:
    from dataflow.cli.moments import Histogram, Moments

__all__ = ["draw_histograms", "drawing"]

_COLUMNS = 3
_BARS = 64
_MEAN = "#d1495b"  # of the mean, the band of one standard deviation around it, and their figures


def drawing() -> tuple[Any, Any]:
    """matplotlib's module of figures, and that of PNG files.

    Raises:
        MissingExtra: it is not installed.
    """
    agg = need("matplotlib.backends.backend_agg")
    return need("matplotlib.figure"), agg


def draw_histograms(rows: Sequence[tuple[str, Moments]], path: Path) -> None:
    """Draw a histogram of each, with its mean and standard deviation.

    Args:
        rows: titles and numbers.
        path: the PNG to write.

    Raises:
        ConfigError: the file cannot be written.
        MissingExtra: matplotlib is not installed.
    """
    figures, agg = drawing()
    columns = min(_COLUMNS, max(1, len(rows)))
    lines = max(1, -(-len(rows) // columns))
    figure = figures.Figure(figsize=(3.6 * columns, 2.6 * lines), layout="constrained")
    agg.FigureCanvasAgg(figure)
    for place, (title, moments) in enumerate(rows):
        axes = figure.add_subplot(lines, columns, place + 1)
        # Dollars would make formulas of what others wrote.
        axes.set_title(title.replace("$", r"\$"), fontsize="medium", loc="left")
        axes.set_yticks([])
        axes.spines[["left", "top", "right"]].set_visible(False)
        if not moments.count or not moments.histogram.width:
            axes.set_xticks([])
            axes.text(0.5, 0.5, "no numbers", ha="center", va="center", transform=axes.transAxes)
            continue
        _draw(axes, moments)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=150)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def _draw(axes: Any, moments: Moments) -> None:
    import numpy as np

    edges, counts = _bars(moments.histogram)
    if moments.min == moments.max:  # the bin would be too narrow to be seen
        edges, counts = moments.min + np.array([-0.5, 0.5]), counts[-1:]
    line = 0.6 if len(counts) < _BARS // 2 else 0
    axes.bar(
        edges[:-1], counts, np.diff(edges), align="edge", color="#4c78a8", ec="w", linewidth=line
    )
    axes.axvline(moments.mean, color=_MEAN, linewidth=1.2)
    low, high = moments.mean - moments.std, moments.mean + moments.std
    axes.axvspan(low, high, color=_MEAN, alpha=0.12, linewidth=0)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    told = f"mean {moments.mean:.4g}, std {moments.std:.4g}"
    axes.set_xlabel(told, fontsize="small", color=_MEAN)


def _bars(histogram: Histogram) -> tuple[Any, Any]:
    """The bins that have something, at most `_BARS`, and those that are next to them."""
    import numpy as np

    edges, counts = histogram.edges, histogram.counts
    while np.flatnonzero(counts)[-1] - np.flatnonzero(counts)[0] >= _BARS:
        counts, edges = counts.reshape(-1, 2).sum(axis=1), edges[::2]
    there = np.flatnonzero(counts)
    first, last = there[0], there[-1] + 1
    return edges[first : last + 1], counts[first:last]
