"""What the benchmarks share: the command line, the cases in turn, and the result file."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import main_of_cell, report, run_cell
from peers import Interpreters, installed

__all__ = ["Bench", "Case", "Column", "Target", "main"]

Config = dict[str, Any]
Cell = Callable[[Config], dict[str, Any]]

_TRIALS = 3

OWN = ("dataflow", "bare")  # what needs no peer's package


@dataclass(frozen=True)
class Case:
    """One row: something that is measured.

    Attributes:
        name: as the table calls it.
        system: ``dataflow``, ``bare`` (no framework) or a peer.
        cell: the name of the function that runs it.
        config: what that function gets.
        settings: several additions to `config`; a few runs each decide which of them is taken.
        trial: what is different of `config` in those runs, such as less work.
        part: the key of this case's figures in the cell's result, where cases with the same cell
            and configuration share its process.
    """

    name: str
    system: str
    cell: str
    config: Config = field(default_factory=dict)
    settings: tuple[Config, ...] = ()
    trial: Config = field(default_factory=dict)
    part: str | None = None


@dataclass(frozen=True)
class Column:
    """A figure that the cells found.

    Attributes:
        key: its key in a cell's result.
        title: the table's heading, with the unit.
        digits: after the decimal point.
    """

    key: str
    title: str
    digits: int = 1


@dataclass(frozen=True)
class Target:
    """What a case should reach: a bound on its figure, or on its ratio to another case's.

    Attributes:
        text: what it says.
        case: whose.
        bound: the bound.
        against: the other case.
        at_most: the figure should be small, not large.
    """

    text: str
    case: str
    bound: float
    against: str | None = None
    at_most: bool = False


@dataclass(frozen=True)
class Bench:
    """A benchmark.

    Attributes:
        name: of the script and of its result.
        title: one line that says what is measured.
        columns: the figures; the first one is what counts.
        cells: the functions that cases name.
        cases: gives the cases; its argument says whether they should be quick.
        targets: what is to be reached.
        less_is_better: of the first column.
        references: the case that a case is set against in the table; None stands for all others.
        prepare: makes what the cells need, once; returns what their configurations get besides.
        timeout: seconds that a cell may take.
        peers_may_fail: that is a finding, and no failure of the benchmark; medians are of the runs
            that did not.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    cells: dict[str, Cell]
    cases: Callable[[bool], list[Case]]
    targets: tuple[Target, ...] = ()
    less_is_better: bool = False
    references: dict[str | None, str] = field(default_factory=dict)
    prepare: Callable[[bool], Config] = lambda quick: {}
    timeout: float = 120.0
    peers_may_fail: bool = False


def main(bench: Bench) -> None:
    """The command line of a benchmark."""
    parser = argparse.ArgumentParser(description=bench.title)
    parser.add_argument("--runs", type=int, help="runs of each case (5)")
    parser.add_argument("--quick", action="store_true", help="little work, one run: does it run?")
    parser.add_argument("--only", help="systems such as dataflow,bare,torch")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PEER=PATH",
        help="an interpreter where a peer (or several, with commas) is installed",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        main_of_cell(lambda config: bench.cells[config["cell"]](config), args.cell)
    result = _run(bench, args)

    from report import markdown  # it needs tabulate, which a peer's interpreter may not have

    print(markdown(result))
    print("written:", report(bench.name, result, args.out))
    failed = [
        case["name"]
        for case in result["cases"]
        if "median" not in case and (case["system"] in OWN or not bench.peers_may_fail)
    ]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _run(bench: Bench, args: argparse.Namespace) -> dict[str, Any]:
    interpreters = Interpreters(args.python)
    cases = _wanted(bench.cases(args.quick), args.only)
    versions, left_out = _look_for_peers(cases, interpreters)
    cases = [case for case in cases if case.system not in left_out]
    runs = args.runs or (1 if args.quick else 5)
    common = bench.prepare(args.quick)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None

    def once(case: Case, config: Config) -> dict[str, Any]:
        script = str(Path(__file__).with_name(f"{bench.name}.py"))
        whole = {"cell": case.cell, **config, **common}
        python = interpreters.of(case.system)
        found = run_cell(script, whole, bench.timeout, python)
        # Numbers only of what was found; the configuration is told once.
        return {key: value for key, value in found.items() if key not in whole}

    key, less = bench.columns[0].key, bench.less_is_better
    trials = min(runs, _TRIALS)
    with _progress(sum(runs + trials * len(case.settings) for case in cases)) as bar:
        chosen, tried = {}, {}
        for case in cases:
            bar.set_description(case.name)
            tried[case.name] = [
                {**setting, **bar.after(once(case, {**case.config, **case.trial, **setting}))}
                for _ in range(trials)
                for setting in case.settings
            ]
            chosen[case.name] = {**case.config, **_best(case, tried[case.name], key, less)}
        found: dict[str, list[dict[str, Any]]] = {case.name: [] for case in cases}
        for _ in range(runs):  # in turn, so that drift of the machine hits all alike
            shared: dict[str, dict[str, Any]] = {}
            for case in cases:
                bar.set_description(case.name)
                place = f"{case.system} {case.cell} {chosen[case.name]}"
                if case.part is None or place not in shared:
                    shared[place] = once(case, chosen[case.name])
                found[case.name].append(bar.after(_part(shared[place], case.part)))

    rows = [
        {
            "name": case.name,
            "system": case.system,
            "config": chosen[case.name],
            "reference": bench.references.get(case.name, bench.references.get(None)),
            **_summary(
                found[case.name],
                bench.columns,
                may_fail=bench.peers_may_fail and case.system not in OWN,
            ),
            "runs": found[case.name],
            **({"tried": tried[case.name]} if case.settings else {}),
        }
        for case in cases
    ]
    return {
        "bench": bench.name,
        "title": bench.title,
        "command": f"python bench/{bench.name}.py" + (" --quick" if args.quick else ""),
        "runs": runs,
        "load_before": load,
        "columns": [asdict(column) for column in bench.columns],
        "less_is_better": less,
        "versions": versions,
        "left_out": left_out,
        "cases": rows,
        "targets": _targets(bench.targets, rows),
    }


def _wanted(cases: list[Case], only: str | None) -> list[Case]:
    if only is None:
        return cases
    names = [name.strip() for name in only.split(",")]
    known = {case.system for case in cases}
    if unknown := set(names) - known:
        raise SystemExit(f"--only {','.join(sorted(unknown))}: there is {', '.join(sorted(known))}")
    return [case for case in cases if case.system in names]


def _look_for_peers(
    cases: list[Case], interpreters: Interpreters
) -> tuple[dict[str, str], dict[str, str]]:
    versions, left_out = {}, {}
    for peer in dict.fromkeys(case.system for case in cases if case.system not in OWN):
        version, why = installed(peer, interpreters)
        if version is None:
            left_out[peer] = why
            print(f"{peer} is left out: {why}", file=sys.stderr)
        else:
            versions[peer] = version
    return versions, left_out


def _best(case: Case, tried: list[dict[str, Any]], key: str, less: bool) -> Config:
    """The setting whose runs were best by their median."""
    if not tried:
        return {}
    worst = float("inf") if less else 0.0
    count = len(case.settings)
    figures = [
        statistics.median(run.get(key, worst) for run in tried[at::count]) for at in range(count)
    ]
    return case.settings[figures.index(min(figures) if less else max(figures))]


def _part(found: dict[str, Any], part: str | None) -> dict[str, Any]:
    """What a cell found for one of the cases that share it."""
    if part is None or "error" in found:
        return found
    own: dict[str, Any] = found.get(part, {"error": f"nothing was found for {part}"})
    return own


def _summary(
    runs: list[dict[str, Any]], columns: Iterable[Column], *, may_fail: bool = False
) -> dict[str, Any]:
    """Medians, and the extent of the first figure; errors where a run failed.

    Where runs `may_fail`, besides them the medians of the others.
    """
    errors = [run["error"] for run in runs if "error" in run]
    runs = [run for run in runs if "error" not in run]
    told = {"errors": errors} if errors else {}
    if not runs or (errors and not may_fail):
        return told
    columns = list(columns)
    figures = [run[columns[0].key] for run in runs]
    medians = {
        column.key: statistics.median(run[column.key] for run in runs)
        for column in columns
        if all(column.key in run for run in runs)
    }
    return {"median": medians, "min": min(figures), "max": max(figures), **told}


def _targets(targets: Iterable[Target], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Which of the targets were reached; those of cases that did not run are left out."""
    medians = {row["name"]: next(iter(row["median"].values())) for row in rows if "median" in row}
    judged = []
    for target in targets:
        with suppress(KeyError):
            value = medians[target.case]
            if target.against is not None:
                value /= medians[target.against]
            reached = value <= target.bound if target.at_most else value >= target.bound
            sign = "≤" if target.at_most else "≥"
            judged.append(
                {
                    "text": target.text,
                    "value": value,
                    "to_reach": f"{sign} {target.bound:g}",
                    "reached": reached,
                }
            )
    return judged


def _progress(total: int) -> Any:
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        """Counts cells, and tells at once which of them failed."""

        def after(self, found: dict[str, Any]) -> dict[str, Any]:
            self.update()
            if "error" in found:
                self.write(f"{self.desc} failed: {found['error']}")
            return found

    return Bar(total=total, unit="cell", file=sys.stderr)
