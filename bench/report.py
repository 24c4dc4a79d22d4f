"""The results as Markdown tables, and as a plot.

    python bench/report.py [bench/results/overhead.json …] [--plot speed.png]

Without names, all that the benchmarks of this folder have written.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["markdown", "plot"]

RESULTS = Path(__file__).parent / "results"


def markdown(result: dict[str, Any]) -> str:
    """One benchmark's table, with the command that made it and what was to be reached."""
    from tabulate import tabulate

    digits = result["columns"][0]["digits"]
    medians = {case["name"]: _first(case, result) for case in result["cases"]}
    with_ratio = any(case["reference"] for case in result["cases"])
    headers = ["", *(column["title"] for column in result["columns"])]
    headers[2:2] = ["min to max", *(["ratio"] if with_ratio else [])]
    rows = []
    for case in result["cases"]:
        if medians[case["name"]] is None:
            rows.append([_label(case), "failed"])
            continue
        row = [_label(case)]
        row += [
            f"{case['median'][column['key']]:.{column['digits']}f}"
            if column["key"] in case["median"]
            else ""
            for column in result["columns"]
        ]
        row[2:2] = [
            f"{case['min']:.{digits}f} to {case['max']:.{digits}f}",
            *([_ratio(case, medians)] if with_ratio else []),
        ]
        rows.append(row)
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    below = [_targets(result), _failures(result), _peers(result)]
    return "\n\n".join(filter(None, [_heading(result), table, *below]))


def _first(case: dict[str, Any], result: dict[str, Any]) -> float | None:
    key = result["columns"][0]["key"]
    value: float | None = case.get("median", {}).get(key)
    return value


def _label(case: dict[str, Any]) -> str:
    """The case's name, and the setting that was chosen."""
    words = [case["name"]]
    if tried := case.get("tried"):
        setting = {key: case["config"][key] for key in case["config"] if key in tried[0]}
        words.append("(" + ", ".join(f"{k}={v}" for k, v in setting.items()) + ")")
    return " ".join(words)


def _ratio(case: dict[str, Any], medians: dict[str, float | None]) -> str:
    reference = medians.get(case["reference"] or "")
    own = medians[case["name"]]
    if not reference or own is None or case["reference"] == case["name"]:
        return ""
    return f"{own / reference:.2f} × {case['reference']}"


def _heading(result: dict[str, Any]) -> str:
    host = result.get("host")
    where = f", {host['cores']} cores, Python {host['python']}" if host else ""
    runs = "one run each" if result["runs"] == 1 else f"medians of {result['runs']} runs"
    return f"{result['title']} (`{result['command']}`; {runs}{where})"


def _targets(result: dict[str, Any]) -> str:
    return "\n".join(
        f"- {target['text']}: {target['value']:.2f}, to reach {target['to_reach']}"
        f"{'' if target['reached'] else ' (not reached)'}"
        for target in result["targets"]
    )


def _failures(result: dict[str, Any]) -> str:
    """Which runs are missing from the medians."""
    return "\n".join(
        f"- {case['name']}: {len(errors)} of {len(case['runs'])} runs failed: "
        f"{errors[-1].splitlines()[-1]}"
        for case in result["cases"]
        if (errors := case.get("errors"))
    )


def _peers(result: dict[str, Any]) -> str:
    """Which versions there were, and who is missing."""
    lines = []
    if versions := [f"{peer} {version}" for peer, version in result["versions"].items()]:
        lines.append(f"With {', '.join(versions)}.")
    if left_out := [f"{peer} ({why})" for peer, why in result["left_out"].items()]:
        lines.append(f"Left out: {', '.join(left_out)}.")
    return " ".join(lines)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Bars, a panel for each benchmark; whiskers from the least to the most of the runs."""
    try:
        from matplotlib.figure import Figure  # without pyplot: it needs no display
    except ImportError:
        raise SystemExit("the plot needs matplotlib: pip install matplotlib") from None

    heights = [1.1 + 0.36 * len(result["cases"]) for result in results]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    panels = figure.subplots(len(results), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, result in zip(panels, results, strict=True):
        cases = [case for case in reversed(result["cases"]) if "median" in case]
        figures = [_first(case, result) or 0.0 for case in cases]
        whiskers = [
            [value - case["min"] for value, case in zip(figures, cases, strict=True)],
            [case["max"] - value for value, case in zip(figures, cases, strict=True)],
        ]
        colours = ["tab:blue" if case["system"] == "dataflow" else "0.7" for case in cases]
        names = [case["name"] for case in cases]
        bars = axes.barh(names, figures, color=colours, xerr=whiskers, ecolor="0.3", capsize=2)
        digits = result["columns"][0]["digits"]
        axes.bar_label(bars, fmt=f"%.{digits}f", padding=4, fontsize=8)
        axes.margins(x=0.1)
        better = "less" if result["less_is_better"] else "more"
        axes.set_title(result["title"], loc="left", fontsize=10)
        axes.set_xlabel(f"{result['columns'][0]['title']} ({better} is better)", fontsize=9)
        axes.tick_params(labelsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--plot", type=Path, metavar="PNG", help="also draw them")
    args = parser.parse_args()
    paths = args.results or sorted(RESULTS.glob("*.json"))
    results = [result for path in paths if "cases" in (result := json.loads(path.read_text()))]
    if not results:
        raise SystemExit("no results: run a benchmark first, such as python bench/overhead.py")
    for result in results:
        print(f"### {result['bench']}\n\n{markdown(result)}\n")
    if args.plot:
        plot(results, args.plot)
        print("written:", args.plot)


if __name__ == "__main__":
    main()
