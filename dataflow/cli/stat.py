"""Tell what the numbers are that a server sends: types, shapes, ranges, means.

Takes N datapoints from URL and prints a row for each of their components, and what looks wrong: a
component that never changes, numbers that are NaN or infinite. A zsub:// or zrsub:// only listens
along; from all other URLs it takes datapoints that a trainer would have got. Succeeds Tensorcom's
tensorstat.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from dataflow.cli.arguments import count, png
from dataflow.cli.listen import add_listening

if TYPE_CHECKING:
    from dataflow.cli.components import Component, Form
    from dataflow.cli.moments import Moments

SHAPES = 3  # of a component, that are told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_listening(parser, timeout=30)
    parser.add_argument(
        "-c",
        "--count",
        type=count,
        default=20,
        metavar="N",
        help="how many datapoints (default: %(default)s)",
    )
    parser.add_argument("--out", type=png, metavar="PNG", help="draw a histogram of each here")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Take datapoints, and tell."""
    from contextlib import closing

    from dataflow.cli.components import components
    from dataflow.cli.histograms import draw_histograms, drawing
    from dataflow.cli.listen import datapoints
    from dataflow.errors import PeerTimeout

    if args.out is not None:
        drawing()  # rather now than after all the waiting
    rows: dict[str, Row] = {}
    taken, failure = 0, None
    with closing(datapoints(args)) as stream:
        try:
            for heard in stream:
                for part in components(heard.datapoint, heard.infos):
                    if part.name not in rows:
                        rows[part.name] = Row(part.name)
                    rows[part.name].add(part)
                taken += 1
                if taken >= args.count:
                    break
        except PeerTimeout as error:
            if not taken:
                raise
            failure = error
    found = list(rows.values())
    if args.json:
        print(json.dumps({"datapoints": taken, "components": [row.plain() for row in found]}))
    else:
        print(f"{taken} datapoints from {', '.join(args.url)}\n\n{_table(found)}")
        for remark in (remark for row in found for remark in row.remarks()):
            print(f"\n{remark}", end="")
        print()
    if args.out is not None:
        draw_histograms([(row.title(), row.moments) for row in found], args.out)
        print(f"histograms: {args.out}", file=sys.stderr)
    if failure is not None or taken < args.count:
        why = f"\n{failure}" if failure is not None else " came before the senders ended"
        print(f"only {taken} of {args.count} datapoints{why}", file=sys.stderr)
    return 1 if failure is not None or not taken else 0


class Row:
    """What is known of one component.

    Attributes:
        name: of it.
        forms: how often it had which type and shape.
        moments: of its numbers.
    """

    def __init__(self, name: str) -> None:
        from dataflow.cli.moments import Moments

        self.name = name
        self.forms: Counter[Form] = Counter()
        self.moments: Moments = Moments()

    def add(self, part: Component) -> None:
        """Count one datapoint's."""
        import numpy as np

        self.forms[part.form] += 1
        if part.form.shape is not None:
            array = np.asarray(part.value)
            if array.dtype.kind in "biuf":
                self.moments.add(array)

    def dtypes(self) -> list[str]:
        """Types that it had, the most frequent first."""
        return list(dict.fromkeys(form.dtype for form, _ in self.forms.most_common()))

    def title(self) -> str:
        """Name and types."""
        return f"{self.name}: {', '.join(self.dtypes())}"

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        moments = self.moments
        figures = (moments.min, moments.max, moments.mean, moments.std)
        told = [_number(figure) for figure in figures] if moments.count else [""] * 4
        return self.name, ", ".join(self.dtypes()), self._shapes(), *told

    def remarks(self) -> list[str]:
        """What looks wrong, in words."""
        found, moments = [], self.moments
        total = moments.count + moments.nan + moments.inf
        for number, what in ((moments.nan, "NaN"), (moments.inf, "infinite")):
            if number:
                share = "all" if number == total else f"{number:,} ({number / total:.2g} of all)"
                found.append(f"Component {self.name}: {share} of its numbers are {what}.")
        if moments.count > 1 and moments.min == moments.max:
            found.append(f"Component {self.name} is always {_number(moments.min)}.")
        if len(self.dtypes()) > 1:
            found.append(f"Component {self.name} changes its type.")
        if not total and any(form.shape is not None for form in self.forms):
            found.append(f"Component {self.name} has no numbers.")
        return found

    def plain(self) -> dict[str, Any]:
        """For JSON, which has no NaN."""
        moments = self.moments
        figures = {name: getattr(moments, name) for name in ("min", "max", "mean", "std")}
        there = {
            name: value if moments.count and math.isfinite(value) else None
            for name, value in figures.items()
        }
        forms = [
            {"dtype": form.dtype, "shape": form.shape, "datapoints": number}
            for form, number in self.forms.most_common()
        ]
        counts = {"numbers": moments.count, "nan": moments.nan, "inf": moments.inf}
        constant = moments.count > 1 and moments.min == moments.max
        return {"name": self.name, "forms": forms, **counts, **there, "constant": constant}

    def _shapes(self) -> str:
        from dataflow.cli.components import shape_text

        shapes: Counter[str] = Counter()
        for form, number in self.forms.items():
            if form.shape is not None:
                shapes[shape_text(form.shape) or "number"] += number
        told = [shape for shape, _ in shapes.most_common(SHAPES)]
        rest = len(shapes) - len(told)
        return "\n".join([*told, f"and {rest} more"] if rest else told)


def _table(rows: list[Row]) -> str:
    from tabulate import tabulate

    return tabulate(
        [row.cells() for row in rows],
        headers=("component", "type", "shape", "min", "max", "mean", "std"),
        colalign=("left", "left", "left", "right", "right", "right", "right"),
        disable_numparse=True,
    )


def _number(value: float) -> str:
    """Whole numbers as such, others with five digits."""
    if value == math.floor(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.5g}"
