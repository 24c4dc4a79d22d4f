"""URLs to decoded images: this project, the bare limit, and the original pattern on tensorpack.

    python bench/urls.py [--images 3000] [--runs 5] [--out bench/results]

Against nginx on loopback (one worker process), which serves JPEGs of ImageNet's size mix:

(a) bare: loops of libcurl's multi interface and cv2.imdecode in processes, no framework;
(b) dataflow: the best of a few settings;
(c) tensorpack 0.11: ``requests.get`` inside MultiThreadMapData, decoding in MapData,
    PrefetchDataZMQ; the best of 1 to 16 threads × 1 to 4 processes.

Settings are chosen by three runs each; then the chosen ones run in turn. The clock runs from image
number `--warm` on, so that starting processes does not count. Then (a) and (b) again with 50 ms of
latency and 64 transfers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import main_of_cell, measure, median, report
from tabulate import tabulate

from dataflow.demo.photos import ensure_photos, photo_path

PHOTOS = 1000
TRIALS = 3  # of each setting


def run(config: dict[str, Any]) -> dict[str, Any]:
    """One cell."""
    urls = [f"{config['base']}/{photo_path(i % PHOTOS)}?{i}" for i in range(config["images"])]
    return {"bare": bare, "dataflow": ours, "tensorpack": tensorpack}[config["system"]](
        urls, config
    )


def timed(images: Iterable[Any], warm: int, stop: int) -> dict[str, Any]:
    """Images per second from number `warm` to number `stop`."""
    start = count = 0
    pixels = 0
    begun = time.perf_counter()
    for count, datapoint in enumerate(images, 1):
        pixels += datapoint[0].size
        if count == warm:
            start = count
            begun = time.perf_counter()
        if count == stop:
            break
    seconds = time.perf_counter() - begun
    return {"rate": (count - start) / seconds, "images": count, "mpixels": pixels / 3e6}


# -- (a) the limit ----------------------------------------------------------------------------


def bare(urls: list[str], config: dict[str, Any]) -> dict[str, Any]:
    """Each process downloads and decodes its part, and keeps nothing."""
    import multiprocessing

    fork = multiprocessing.get_context("fork")
    procs = config["procs"]
    barrier = fork.Barrier(procs + 1)
    transfers = -(-config["transfers"] // procs)
    warm = config["warm"] // procs
    workers = [
        fork.Process(target=bare_loop, args=(urls[i::procs], warm, transfers, barrier))
        for i in range(procs)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()  # all are warm
    begun = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - begun
    return {"rate": (len(urls) - warm * procs) / seconds, "images": len(urls)}


def bare_loop(urls: list[str], warm: int, transfers: int, barrier: Any) -> None:
    import cv2

    cv2.setNumThreads(1)
    fetch_and_decode(urls[:warm], transfers)
    barrier.wait()
    fetch_and_decode(urls[warm:], transfers)


def fetch_and_decode(urls: list[str], transfers: int) -> None:
    from io import BytesIO

    import cv2
    import numpy as np
    import pycurl

    multi = pycurl.CurlMulti()
    free = []
    for _ in range(transfers):
        handle = pycurl.Curl()
        handle.setopt(pycurl.NOSIGNAL, 1)
        free.append(handle)
    todo = iter(urls)
    left = len(urls)
    while left:
        while free and (url := next(todo, None)) is not None:
            handle = free.pop()
            handle.body = BytesIO()
            handle.setopt(pycurl.URL, url)
            handle.setopt(pycurl.WRITEDATA, handle.body)
            multi.add_handle(handle)
        multi.perform()
        _, done, failed = multi.info_read()
        assert not failed, failed
        for handle in done:
            multi.remove_handle(handle)
            image = cv2.imdecode(np.frombuffer(handle.body.getbuffer(), np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            free.append(handle)
            left -= 1
        if not done and left:
            multi.select(1.0)


# -- (b) this project -------------------------------------------------------------------------


def ours(urls: list[str], config: dict[str, Any]) -> dict[str, Any]:
    """`NetworkImages.parallel`, below `PrefetchDataZMQ` where `procs` is not 0."""
    import dataflow as df

    source = df.dataset.NetworkImages(shuffle=True)
    source.datapoints = [[url, 0] for url in urls]
    ds: Any = source.parallel(num_threads=config["transfers"] // (config["procs"] or 1))
    if config["procs"]:
        ds = df.PrefetchDataZMQ(ds, num_proc=config["procs"], hwm=200)
    result = timed(ds, config["warm"], len(urls))
    assert result["images"] == len(urls) and not ds.errors(), ds.errors()[:3]
    return {**result, "explain": ds.explain()}


# -- (c) the original pattern -----------------------------------------------------------------


def tensorpack(urls: list[str], config: dict[str, Any]) -> dict[str, Any]:
    """As wbaek/dataflow did it. Each process runs the whole flow, so images come repeatedly."""
    import cv2
    import numpy as np
    import requests
    import tensorpack.dataflow as td

    def download(dp: list[Any]) -> list[Any]:
        return [requests.get(dp[0], timeout=30).content, dp[1]]

    def decode(dp: list[Any]) -> list[Any]:
        return [cv2.imdecode(np.frombuffer(dp[0], np.uint8), cv2.IMREAD_COLOR), dp[1]]

    ds = td.DataFromList([[url, 0] for url in urls], shuffle=True)
    ds = td.MultiThreadMapData(ds, num_thread=config["threads"], map_func=download, buffer_size=200)
    ds = td.MapData(ds, decode)
    ds = td.PrefetchDataZMQ(ds, config["procs"])
    ds.reset_state()

    def endless() -> Iterable[Any]:
        while True:
            yield from ds

    return timed(endless(), config["warm"], len(urls))


# -- the whole --------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--warm", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        main_of_cell(run, args.cell)
    from nginx import serve

    photos = ensure_photos(PHOTOS)
    size = sum((photos / photo_path(i)).stat().st_size for i in range(PHOTOS)) / PHOTOS
    print(f"{PHOTOS} JPEGs of {size / 1000:.1f} kB on average")
    common = {"images": args.images, "warm": args.warm}
    result: dict[str, Any] = {"mean_bytes": size, "runs": args.runs, **common}

    with serve(photos) as base:
        common["base"] = base
        limit = best(
            "(a) settings",
            [{"system": "bare", "procs": p, "transfers": 32} for p in (2, 3)],
            common,
        )
        own = best(
            "(b) settings",
            [
                {"system": "dataflow", "procs": p, "transfers": t}
                for p, t in ((0, 16), (0, 64), (1, 32), (2, 32))
            ],
            common,
        )
        peer = best(
            "(c) settings",
            [
                {"system": "tensorpack", "threads": t, "procs": p}
                for t in (1, 2, 4, 8, 16)
                for p in (1, 2, 3, 4)
            ],
            {**common, "images": args.images // 2},
        )
        peer["images"] = args.images
        runs = measure(__file__, [limit, own, peer], args.runs, "no latency")
    a, b, c = (median(cells) for cells in runs)
    result["no latency"] = runs

    with serve(photos, latency=0.05) as base:
        common["base"] = base
        limit = best(
            "(a) settings, 50 ms",
            [{"system": "bare", "procs": p, "transfers": 64} for p in (2, 3)],
            common,
        )
        own = best(
            "(b) settings, 50 ms",
            [{"system": "dataflow", "procs": p, "transfers": 64} for p in (0, 1, 2)],
            common,
        )
        late = measure(__file__, [limit, own], args.runs, "50 ms")
    late_a, late_b = (median(cells) for cells in late)
    result["50 ms latency"] = late

    def row(name: str, cells: list[dict[str, Any]], rate: float, against: float) -> list[Any]:
        keys = ("threads", "transfers", "procs")
        setting = ", ".join(f"{cells[0][key]} {key}" for key in keys if key in cells[0])
        spread = sorted(cell.get("rate", 0.0) for cell in cells)
        text = f"{spread[0]:.0f} to {spread[-1]:.0f}"
        return [name, setting, f"{rate:.0f}", text, f"{rate / against:.2f}"]

    rows = [
        row("(a) bare libcurl + imdecode", runs[0], a, a),
        row("(b) dataflow", runs[1], b, a),
        row("(c) original pattern, tensorpack 0.11", runs[2], c, a),
        row("(a) with 50 ms of latency", late[0], late_a, late_a),
        row("(b) with 50 ms of latency", late[1], late_b, late_a),
    ]
    headers = ["", "best setting", "images/s", "min to max", "of (a)"]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
    print(
        f"\n(b) = {b / a:.2f} × (a), to reach 0.92; {b / c:.2f} × (c), to reach 3; "
        f"with 50 ms of latency {late_b / late_a:.2f} × (a), to reach 0.85"
    )
    print("written:", report("urls", result, args.out))


def best(what: str, configs: list[dict[str, Any]], common: dict[str, Any]) -> dict[str, Any]:
    """The setting with the highest median rate of a few runs."""
    settings = [{**common, **config} for config in configs]
    found = measure(__file__, settings, TRIALS, what)
    for cells in found:
        for cell in cells:
            if "error" in cell:
                print(f"failed: {cell}")
    rates = [median(cells) for cells in found]
    return settings[rates.index(max(rates))]


if __name__ == "__main__":
    main()
