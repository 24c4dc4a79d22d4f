"""The grid as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataflow.cli.histograms import drawing
from dataflow.utils.extras import need

__all__ = ["draw_heatmap"]


def draw_heatmap(
    rates: Sequence[Sequence[float | None]],
    threads: Sequence[int],
    procs: Sequence[int],
    title: str,
    path: Path,
) -> None:
    """Draw images per second as coloured cells, the best one framed.

    Args:
        rates: a row a number of threads, a column a number of processes; None where a cell failed.
        threads: of the rows.
        procs: of the columns.
        title: above the picture.
        path: the PNG to write.

    Raises:
        MissingExtra: where matplotlib is not installed.
    """
    figures, agg = drawing()
    patches = need("matplotlib.patches")
    values = np.array([[np.nan if v is None else v for v in row] for row in rates], float)
    figure = figures.Figure(
        figsize=(2.2 + 0.9 * max(len(procs), 3), 1.6 + 0.55 * max(len(threads), 2)),
        layout="constrained",
    )
    agg.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    top = np.nanmax(values) if np.isfinite(values).any() else 1.0
    shown = axes.imshow(values, cmap="viridis", vmin=0, vmax=top, aspect="auto")
    figure.colorbar(shown, ax=axes, label="images/s")
    axes.set_xticks(range(len(procs)), [str(count) for count in procs])
    axes.set_yticks(range(len(threads)), [str(count) for count in threads])
    axes.set_xlabel("processes")
    axes.set_ylabel("threads")
    axes.set_title(title, fontsize="medium")
    for (row, column), value in np.ndenumerate(values):
        text = "failed" if np.isnan(value) else f"{value:.0f}"
        colour = "white" if value < 0.65 * top else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour)
        if value == top:
            frame = patches.Rectangle(
                (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=2.5
            )
            axes.add_patch(frame)
            frame.set_clip_on(False)
    figure.savefig(path, dpi=150)
