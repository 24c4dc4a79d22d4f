"""Measure images per second over numbers of threads and processes.

Downloads and decodes the images with every combination of --threads and --procs, each in a fresh
process, after a short warm-up. Prints durations and images per second as tables and writes
grid.json, grid.csv and grid.png to --out. An interrupted run goes on where it was when the same
command is given again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.cli.arguments import add_input, counts, milliseconds, output_folder

if TYPE_CHECKING:
    from dataflow.cli.results import Cell, Results
    from dataflow.cli.source import Input


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--threads",
        metavar="T,T,…",
        type=counts,
        default=[1, 2, 4, 8, 16],
        help="downloads at once in each process (default: 1,2,4,8,16)",
    )
    parser.add_argument(
        "--procs",
        metavar="P,P,…",
        type=counts,
        default=[1, 2, 4],
        help="processes (default: 1,2,4)",
    )
    add_input(parser, images=1000)
    parser.add_argument(
        "--augment",
        action="store_true",
        help="augment as for ResNet: random crop to 224, colours, flip",
    )
    parser.add_argument(
        "--latency-ms",
        metavar="MS",
        type=milliseconds,
        default=50.0,
        help="how long the web server with the drawn photos waits (default: 50)",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("dataflow-grid"),
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="measure everything again, forget earlier results"
    )


def run(args: argparse.Namespace) -> int:
    """Measure the cells that are not there yet, and report."""
    from dataflow.cli.results import Results
    from dataflow.cli.source import open_input

    folder = output_folder(args.out)
    wanted = [(threads, procs) for threads in args.threads for procs in args.procs]
    with open_input(args, latency=args.latency_ms / 1000) as images:
        setting = {
            "input": images.identity,
            "images": len(images.points),
            "augment": args.augment,
        }
        results = Results.open(folder, setting, fresh=args.fresh)
        missing = [cell for cell in wanted if not results.has(*cell)]
        print(
            f"{images.title}; {'download, decode, augment' if args.augment else 'download, decode'}"
        )
        if len(missing) < len(wanted):
            print(f"{len(wanted) - len(missing)} of {len(wanted)} cells are there from before")
        print(flush=True)
        try:
            failed = _measure(images, args, missing, results)
        except KeyboardInterrupt:
            done = sum(results.has(*cell) for cell in wanted)
            print(
                f"\ninterrupted: {done} of {len(wanted)} cells are in {results.json_path}; "
                "the same command goes on from there",
                file=sys.stderr,
            )
            raise
    print(results.tables(args.threads, args.procs))
    written = [results.json_path, results.write_csv()]
    written += _heatmap(results, args.threads, args.procs)
    print("\nwritten: " + ", ".join(map(str, written)))
    return 1 if failed else 0


def _measure(
    images: Input, args: argparse.Namespace, missing: list[tuple[int, int]], results: Results
) -> int:
    """Run the missing cells one after the other; returns how many failed."""
    from tqdm import tqdm

    from dataflow.cli.child import CellError, run_cell

    failed = 0
    with tqdm(
        total=len(missing) * len(images.points), unit=" images", leave=False, disable=None
    ) as bar:
        for number, (threads, procs) in enumerate(missing, 1):
            bar.set_description(f"{threads} threads × {procs} processes")
            config = {
                "points": images.points,
                "files": images.files,
                "augment": args.augment,
                "threads": threads,
                "procs": procs,
            }
            cell: Cell = {"threads": threads, "procs": procs}
            try:
                cell.update(run_cell(config, progress=bar.update))
            except CellError as error:
                failed += 1
                cell["error"] = str(error)
                bar.write(f"{threads} threads × {procs} processes: {error}", file=sys.stderr)
            results.add(cell)
            bar.n = number * len(images.points)
            bar.refresh()
    return failed


def _heatmap(results: Results, threads: list[int], procs: list[int]) -> list[Any]:
    from dataflow.cli.heatmap import draw_heatmap
    from dataflow.errors import MissingExtra

    path = results.folder / "grid.png"
    try:
        draw_heatmap(results.rates(threads, procs), threads, procs, results.title(), path)
    except MissingExtra as error:
        print(f"no heatmap: {error}", file=sys.stderr)
        return []
    return [path]
