"""Show the way from image URLs to training batches, with figures and a picture.

Downloads images, decodes them, crops and flips them at random and makes batches of 64, on
threads and processes. Without --urls or --dir it draws photos of its own (once; they are kept in
the user's cache folder) and serves them from this machine, so it needs no network.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.cli.arguments import add_input, count, output_folder

if TYPE_CHECKING:
    from dataflow.cli.source import Input

BATCH = 64
LATENCY = 0.02  # seconds, of the embedded server
EXAMPLES = 3  # failures shown of each kind
SHEET = "dataflow-demo.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_input(parser, images=500)
    parser.add_argument(
        "--threads",
        metavar="T",
        type=count,
        default=16,
        help="downloads at once in each process (default: %(default)s)",
    )
    parser.add_argument("--procs", metavar="P", type=count, help="processes (default: one a core)")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path(),
        help=f"folder for the contact sheet, {SHEET} (default: the current one)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the pipeline once and report."""
    from dataflow.cli.source import open_input
    from dataflow.utils.machine import usable_cores

    procs = args.procs or usable_cores()
    path = output_folder(args.out) / SHEET
    with open_input(args, latency=LATENCY) as images:
        print(f"{images.title}\n{args.threads} threads × {procs} processes\n", flush=True)
        ds = build(images, threads=args.threads, procs=procs)
        with ds:
            result = _run(ds, len(images.points))
            print(_figures(result, ds.stats(), ds.errors()))
            print(f"\n{_sentence(ds.explain())}\n")
    return _write_sheet(result, images.classes, path)


def build(images: Input, *, threads: int, procs: int) -> Any:
    """The pipeline: what a program of your own would look like."""
    import dataflow as df
    from dataflow.cli.flows import first_flow

    ds: Any = first_flow(images.points, files=images.files).parallel(num_threads=threads)
    ds = df.AugmentImageComponent(
        ds, [df.imgaug.GoogleNetRandomCropAndResize(target_shape=224), df.imgaug.Flip(horiz=True)]
    )
    ds = df.PrefetchDataZMQ(ds, num_proc=procs)
    return df.BatchData(ds, BATCH, remainder=True)


@dataclass
class Result:
    """What a run gave.

    Attributes:
        images: how many came out.
        seconds: from the start of the processes to the last batch.
        first: images in the first batch.
        waited: seconds until it came: most of them the processes' start.
        batch: one of the batches, images and labels; None where all failed.
    """

    images: int
    seconds: float
    first: int
    waited: float
    batch: tuple[Any, Any] | None


def _run(ds: Any, total: int) -> Result:
    import numpy as np
    from tqdm import tqdm

    result = Result(images=0, seconds=0, first=0, waited=0, batch=None)
    start = time.perf_counter()
    with tqdm(total=total, unit=" images", leave=False, disable=None) as bar:
        for pictures, labels in ds:
            if result.batch is None:
                result.first = len(labels)
                result.waited = time.perf_counter() - start
                # A copy: the arrays themselves lie in memory that the workers need again.
                result.batch = np.array(pictures), np.array(labels)
            result.images += len(labels)
            bar.update(len(labels))
        result.seconds = time.perf_counter() - start
    return result


def _figures(result: Result, stats: dict[str, Any], errors: Sequence[Any]) -> str:
    """The figures as text."""
    from tabulate import tabulate

    seconds, then = result.seconds, result.seconds - result.waited
    rows = [
        ("images/s", f"{result.images / seconds:,.0f}", f"{result.images:,} in {seconds:.2f} s")
    ]
    if result.images >= 4 * result.first:  # with fewer, what was under way counts for too much
        rate = (result.images - result.first) / then
        rows.append(
            ("", f"{rate:,.0f}", f"after the first batch, which took {result.waited:.2f} s")
        )
    # What a runner has are the bytes between the processes.
    rows_in = [row for row in stats["stages"] if row["kind"] != "runner"]
    downloaded = sum(row.get("bytes", 0) for row in rows_in)
    if downloaded:
        rows.append(("MB/s", f"{downloaded / seconds / 1e6:,.1f}", f"{downloaded / 1e6:,.1f} MB"))
    failed = stats["errors"]
    kinds = ", ".join(f"{reason} {number}" for reason, number in sorted(failed.items()))
    rows.append(("failures", f"{sum(failed.values()):,}", kinds))
    lines = [tabulate(rows, tablefmt="plain", colalign=("left", "right", "left"))]
    for reason in sorted(failed):
        examples = [error for error in errors if error[1] == reason][:EXAMPLES]
        lines += [f"  {reason}: {message}" for _, _, message in examples]
    lines += ["", _stages(stats["stages"])]
    return "\n".join(lines)


def _stages(stages: Sequence[dict[str, Any]]) -> str:
    from tabulate import tabulate

    rows = []
    for row in stages:
        if not row["items"]:
            continue
        share = row.get("share")
        each = f"{row['busy'] / row['items'] * 1000:.2f}" if row["items"] else ""
        rows.append(
            (row["name"], f"{row['items']:,}", each, "" if share is None else f"{share:.0%}")
        )
    return tabulate(
        rows,
        headers=("stage", "items", "ms each", "busy"),
        colalign=("left", "right", "right", "right"),
        disable_numparse=True,
    )


def _sentence(paragraph: str) -> str:
    """The first sentence, in lines that fit; the figures after it are those of the table."""
    return textwrap.fill(paragraph.partition(". ")[0].rstrip(".") + ".", width=88)


def _write_sheet(result: Result, classes: Sequence[str] | None, path: Path) -> int:
    from dataflow.image.sheet import contact_sheet

    if result.batch is None:
        print("no batch came, so there is no contact sheet", file=sys.stderr)
        return 1
    pictures, labels = result.batch
    names = [classes[label] if classes is not None else label for label in labels]
    try:
        contact_sheet(pictures, names, path=path)
    except OSError as error:
        print(f"cannot write {path}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(f"contact sheet of the first batch: {os.path.relpath(path)}")
    return 0
