"""The memory of ten million ``[url, label]`` datapoints, with 8 worker processes at work.

    python bench/memory.py [--items 10000000] [--procs 8] [--out bench/results]

Proportional set size (PSS: what is shared is divided among those who share it), summed over the
process and all its children, the most of a few looks during the pass. The workers decode a JPEG for
each datapoint, augment it and send it back, as for a training job; nothing is downloaded. Each
row is a process of its own:

list alone: the datapoints as a list of lists in a process without NumPy or anything of ours;
list: the same list in a `NetworkImages`, shuffled, through `PrefetchDataZMQ`;
columns: `Columns.from_rows` of a generator; arrays: a tuple of NumPy arrays (fixed-width bytes).

Linux only. The default takes about 3 GB of memory.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FORMS = ("list", "columns", "arrays")
LOOKS = 5


def run(config: dict[str, Any]) -> dict[str, Any]:
    """One cell."""
    begun = time.perf_counter()
    if config["form"] == "list alone":
        rows = list(datapoints(config["items"]))
        built = time.perf_counter() - begun
        text = sum(len(url) for url, _ in rows)
        return {"total": tree_pss(os.getpid())[0], "text": text, "build_seconds": built}
    return pipeline(config)


def datapoints(items: int) -> Iterator[list[Any]]:
    """URLs of 58 characters and labels of a thousand classes."""
    for i in range(items):
        yield [f"https://images.example.com/train/{i // 1000:06d}/photo-{i:08d}.jpg", i * 7 % 1000]


def in_form(form: str, items: int) -> Any:
    """The datapoints as users may have them."""
    import numpy as np

    import dataflow as df

    if form == "list":
        return list(datapoints(items))
    if form == "columns":
        return df.Columns.from_rows(datapoints(items))
    width = len(next(datapoints(1))[0])
    urls = np.fromiter((url.encode() for url, _ in datapoints(items)), f"S{width}", items)
    return urls, np.fromiter((label for _, label in datapoints(items)), np.int32, items)


def pipeline(config: dict[str, Any]) -> dict[str, Any]:
    """The memory of a process and its workers while they are at work."""
    import cv2
    import numpy as np

    import dataflow as df

    picture = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    photo = cv2.imencode(".jpg", cv2.GaussianBlur(picture, (0, 0), 3))[1].tobytes()

    class Photos(df.dataset.NetworkImages):
        @staticmethod
        def map_func_download(datapoint: Any) -> list[Any]:
            return [photo, *datapoint[1:]]

    begun = time.perf_counter()
    source = Photos(shuffle=True)
    source.datapoints = in_form(config["form"], config["items"])
    built = time.perf_counter() - begun
    augmentors = [df.imgaug.ResizeShortestEdge(256), df.imgaug.CenterCrop(224)]
    ds: Any = df.AugmentImageComponent(source, augmentors)
    looks = []
    with df.BatchData(df.PrefetchDataZMQ(ds, config["procs"]), 32) as ds:
        batches = iter(ds)
        while len(looks) < LOOKS:
            for _ in range(5):
                next(batches)
            sizes = tree_pss(os.getpid())
            if len(sizes) == config["procs"] + 1:  # all are there
                looks.append(sizes)
    most = max(looks, key=sum)
    return {"total": sum(most), "consumer": most[0], "workers": most[1:], "build_seconds": built}


def tree_pss(root: int) -> list[int]:
    """The proportional set size in bytes of a process and each of its descendants."""
    sizes = [pss(root)]
    for task in Path(f"/proc/{root}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            sizes += tree_pss(child)
    return sizes


def pss(pid: int) -> int:
    """The proportional set size of one process, in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--procs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    # Imported here, as NumPy is: what a cell does not need should not count in it.
    from harness import main_of_cell, report, run_cell

    if args.cell:
        main_of_cell(run, args.cell)
    from tabulate import tabulate

    configs = [{"form": "list alone", "items": args.items}]
    configs += [{"form": form, "items": args.items, "procs": args.procs} for form in FORMS]
    cells = [run_cell(__file__, config, timeout=900) for config in configs]
    if failed := [cell for cell in cells if "error" in cell]:
        raise SystemExit(f"failed: {failed}")
    alone = cells[0]["total"]
    for cell in cells:
        cell["of_list"] = cell["total"] / alone
    table = [
        [
            cell["form"],
            cell.get("procs", 0),
            f"{cell['total'] / 1e6:,.0f}",
            f"{sum(cell.get('workers', [])) / 1e6:,.0f}",
            f"{cell['of_list']:.2f}",
        ]
        for cell in cells
    ]
    print(f"{args.items:,} datapoints, {cells[0]['text'] / 1e6:,.0f} MB of text")
    headers = ["form", "workers", "PSS, MB", "of it workers", "× list alone"]
    print(tabulate(table, headers, disable_numparse=True))
    print(report("memory", {"cells": cells}, args.out))


if __name__ == "__main__":
    main()
