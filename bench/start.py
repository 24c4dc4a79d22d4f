"""How soon there is something: importing the package, and the first datapoint of 8 processes.

    python bench/start.py [--runs 11] [--procs 8] [--out bench/results]

import: the time that ``import dataflow`` adds to ``import numpy, cv2``, in a fresh interpreter;
wall clock and CPU, of which the CPU time is the steadier on a busy machine.

first: from ``iter()`` on a chain over `PrefetchDataZMQ` to its first datapoint, and to its
hundredth; with a map function of NumPy's, and with a JPEG decoded and augmented with OpenCV.

Rows run in turn; medians. Compiled bytecode is kept in a folder for the time of the measurement, as
an installed package has it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IMPORT = """
import json, time
import numpy, cv2
wall, cpu = time.perf_counter(), time.process_time()
import dataflow
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
"""


def run(config: dict[str, Any]) -> dict[str, Any]:
    """One cell."""
    if config["what"] == "import":
        # Not in this process, which has imported half of the standard library.
        done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    return first(config["stages"], config["procs"])


def first(stages: str, procs: int) -> dict[str, Any]:
    """The seconds to the first datapoint, and to the hundredth."""
    ds = chain(stages, procs)
    begun = time.perf_counter()
    for count, _ in enumerate(ds, 1):
        if count == 1:
            soonest = time.perf_counter() - begun
        if count == 100:
            break
    return {"wall": soonest, "hundredth": time.perf_counter() - begun}


def chain(stages: str, procs: int) -> Any:
    """A chain of 1,000 datapoints with stages of NumPy's or of OpenCV's."""
    import cv2
    import numpy as np

    import dataflow as df

    picture = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    if stages == "numpy":
        ds: Any = df.DataFromList([[picture, i] for i in range(1000)])
        ds = df.MapDataComponent(ds, lambda image: (image[::2, ::2] / np.float32(255)).mean(2))
    else:
        jpeg = cv2.imencode(".jpg", cv2.GaussianBlur(picture, (0, 0), 3))[1]
        ds = df.DataFromList([[jpeg, i] for i in range(1000)])
        ds = df.MapDataComponent(ds, lambda data: cv2.imdecode(data, cv2.IMREAD_COLOR))
        augmentors = [df.imgaug.ResizeShortestEdge(256), df.imgaug.CenterCrop(224)]
        ds = df.AugmentImageComponent(ds, augmentors)
    return df.PrefetchDataZMQ(ds, procs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--procs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    from harness import main_of_cell, measure, median, report
    from tabulate import tabulate

    if args.cell:
        main_of_cell(run, args.cell)
    configs: list[dict[str, Any]] = [{"what": "import"}]
    configs += [
        {"what": "first", "stages": stages, "procs": args.procs} for stages in ("numpy", "opencv")
    ]
    with tempfile.TemporaryDirectory() as bytecode:
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        measure(__file__, configs, 1, "warming up")
        cells = measure(__file__, configs, args.runs, "start")
    if failed := [cell for row in cells for cell in row if "error" in cell]:
        raise SystemExit(f"failed: {failed}")
    table = []
    for config, row in zip(configs, cells, strict=True):
        name = " ".join(str(config[key]) for key in ("what", "stages") if key in config)
        walls = [cell["wall"] for cell in row]
        others = {key: median(row, key) for key in ("cpu", "hundredth") if key in row[0]}
        rest = ", ".join(f"{key} {value * 1000:.0f}" for key, value in others.items())
        table.append([name, f"{median(row, 'wall') * 1000:.0f}", f"{max(walls) * 1000:.0f}", rest])
    print(tabulate(table, ["", "median, ms", "longest", "other medians"], disable_numparse=True))
    print(report("start", {"runs": args.runs, "cells": cells}, args.out))


if __name__ == "__main__":
    main()
