"""The grid's results: kept in a file after each cell, and shown as tables."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

from dataflow.errors import ConfigError

__all__ = ["Cell", "Results", "duration"]

Cell: TypeAlias = dict[str, Any]
"""``threads``, ``procs``, and what was measured, or ``error``."""


class Results:
    """The cells that were measured under one setting on one machine.

    Args:
        folder: where the files are.
        head: the setting and the machine; results under another head are not comparable.
    """

    def __init__(self, folder: Path, head: dict[str, Any]) -> None:
        self.folder = folder
        self.head = head
        self.cells: dict[tuple[int, int], Cell] = {}

    @classmethod
    def open(cls, folder: Path, setting: dict[str, Any], *, fresh: bool) -> Results:
        """The results in `folder`, or none yet.

        Args:
            folder: where they are kept.
            setting: what is measured.
            fresh: forget what is there.

        Raises:
            ConfigError: where those in the folder were measured under another setting, or the file
                is none of ours.
        """
        results = cls(folder, {"setting": setting, **_circumstances()})
        if fresh or not results.json_path.exists():
            return results
        try:
            kept = json.loads(results.json_path.read_text(encoding="utf-8"))
            head, cells = kept["head"], kept["cells"]
            results.cells = {(cell["threads"], cell["procs"]): cell for cell in cells}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{results.json_path} is not a grid's result (--fresh replaces it)"
            ) from error
        if differing := _differences(head, results.head):
            raise ConfigError(
                f"{results.json_path} was measured with {'; '.join(differing)}: "
                "choose another --out, or --fresh to replace it"
            )
        return results

    @property
    def json_path(self) -> Path:
        """The file that holds everything."""
        return self.folder / "grid.json"

    def has(self, threads: int, procs: int) -> bool:
        """Whether this cell was measured; one that failed is tried again."""
        return "seconds" in self.cells.get((threads, procs), {})

    def add(self, cell: Cell) -> None:
        """Keep a cell, on disk too."""
        measured = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.cells[cell["threads"], cell["procs"]] = {**cell, "measured": measured}
        content = {"head": self.head, "cells": self._sorted()}
        unfinished = self.json_path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(unfinished, self.json_path)

    def write_csv(self) -> Path:
        """Write the cells as CSV; returns the path."""
        path = self.folder / "grid.csv"
        columns = [
            "threads",
            "procs",
            "images",
            "seconds",
            "images_per_second",
            "failures",
            "error",
        ]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            for cell in self._sorted():
                failures = sum(cell.get("failures", {}).values())
                writer.writerow({**cell, "failures": failures})
        return path

    def rates(self, threads: Sequence[int], procs: Sequence[int]) -> list[list[float | None]]:
        """Images per second, a row a number of threads; None where a cell failed."""
        return self._values("images_per_second", threads, procs)

    def tables(self, threads: Sequence[int], procs: Sequence[int]) -> str:
        """Durations and images per second, the best of each in bold."""
        seconds = self._values("seconds", threads, procs)
        rates = self.rates(threads, procs)
        shortest = min((s for row in seconds for s in row if s is not None), default=0.0)
        tenths = shortest < 10
        images = f"{self.head['setting']['images']} images"
        return "\n".join(
            [
                f"duration ({images})",
                _table(seconds, threads, procs, lambda s: duration(s, tenths=tenths), min),
                "",
                "images per second",
                _table(rates, threads, procs, lambda rate: f"{rate:.2f}", max),
            ]
        )

    def title(self) -> str:
        """One line that says what was measured, and where."""
        work = (
            "download, decode, augment" if self.head["setting"]["augment"] else "download, decode"
        )
        return f"images per second ({work}), {self.head['host']['cores']} cores"

    def _sorted(self) -> list[Cell]:
        return [self.cells[key] for key in sorted(self.cells)]

    def _values(
        self, name: str, threads: Sequence[int], procs: Sequence[int]
    ) -> list[list[float | None]]:
        return [[self.cells.get((t, p), {}).get(name) for p in procs] for t in threads]


def duration(seconds: float, *, tenths: bool) -> str:
    """Minutes and seconds: ``1:05``, with tenths ``1:05.2``."""
    if tenths:
        minutes, rest = divmod(round(seconds * 10), 600)
        return f"{minutes}:{rest // 10:02}.{rest % 10}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _table(
    values: list[list[float | None]],
    threads: Sequence[int],
    procs: Sequence[int],
    show: Any,
    better: Any,
) -> str:
    from tabulate import tabulate

    best = better((v for row in values for v in row if v is not None), default=None)
    rows = [
        [
            count,
            *("failed" if v is None else f"**{show(v)}**" if v == best else show(v) for v in row),
        ]
        for count, row in zip(threads, values, strict=True)
    ]
    return tabulate(
        rows,
        headers=["threads \\ processes", *map(str, procs)],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["right"] * (1 + len(procs)),
    )


def _circumstances() -> dict[str, Any]:
    """The machine and the programs, as far as they decide the speed."""
    from dataflow.cli.versions import commit, versions
    from dataflow.utils.machine import cpu_model, usable_cores

    return {
        "host": {"cores": usable_cores(), "cpu": cpu_model()},
        "versions": versions(),
        "commit": commit(),
    }


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two trees of dicts, as ``name=old (now new)``."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(key for key in new if key not in old)]
        return [line for key in names for line in _differences(old.get(key), new.get(key), key)]
    return [] if old == new else [f"{name}={old} (now {new})"]
