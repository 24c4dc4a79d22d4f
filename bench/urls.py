"""URLs to decoded images: this project beside others, and beside decoding alone.

    python bench/urls.py [--quick] [--runs 5] [--python PEER=PATH]

nginx on loopback (one worker process) serves JPEGs of ImageNet's size mix. All download and decode
every image, and keep nothing. The clock runs once images flow, so that starting processes does not
count. Of each system a few runs of some settings decide which of these is measured. Then those that
can have many transfers at once again with 50 ms of latency.

The limits are decoding alone, in two processes from memory, beside which nothing downloads; and
bare loops of libcurl's multi interface and cv2.imdecode in processes, with no framework.

The latency needs nginx's echo module: apt-get install nginx-light libnginx-mod-http-echo.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness import steady
from suite import Bench, Case, Column, Config, Target, main

from dataflow.demo.photos import photo_path

PHOTOS = 1000
LATENCY = 0.05
TRANSFERS = 64  # with latency


def urls_of(config: Config) -> list[str]:
    base = config["late" if config["latency"] else "base"]
    return [f"{base}/{photo_path(i % config['photos'])}?{i}" for i in range(config["images"])]


def timed(images: Iterable[Any], config: Config) -> dict[str, Any]:
    """Images per second, once they flow."""
    count = config["images"]

    def see(image: Any) -> None:
        assert image.ndim == 3, image.shape

    # What is under way at the end is made up for by what is at the beginning.
    found = steady(images, see, warm=count // 6, stop=count - 100, warm_seconds=5, seconds=20)
    return {
        "rate": found["items"] / found["seconds"],
        "cpu": 1e3 * found["cpu_of_all"] / found["items"],
    }


def decode(body: Any) -> Any:
    import cv2
    import numpy as np

    image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


# -- the limits -------------------------------------------------------------------------------


def decoding(config: Config) -> dict[str, Any]:
    """Two processes decode what they have in memory."""
    return in_processes(_decode_part, 2, config)


def _decode_part(config: Config, number: int, procs: int, barrier: Any) -> None:
    folder = Path(config["folder"])
    bodies = [(folder / photo_path(i)).read_bytes() for i in range(number, config["photos"], procs)]
    for body in bodies[:100]:
        decode(body)
    barrier.wait()
    for place in range(config["images"] // procs):
        decode(bodies[place % len(bodies)])


def bare(config: Config) -> dict[str, Any]:
    """Each process downloads and decodes its part."""
    return in_processes(_fetch_part, config["procs"], config)


def _fetch_part(config: Config, number: int, procs: int, barrier: Any) -> None:
    urls = urls_of(config)[number::procs]
    transfers = -(-config["transfers"] // procs)
    fetch_and_decode(urls[: len(urls) // 6], transfers)
    barrier.wait()
    fetch_and_decode(urls[len(urls) // 6 :], transfers)


def in_processes(work: Any, procs: int, config: Config) -> dict[str, Any]:
    """What so many processes do together, each its part, from when all of them are warm."""
    import multiprocessing
    import time

    from harness import cpu_of_all

    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(procs + 1)
    workers = [fork.Process(target=work, args=(config, i, procs, barrier)) for i in range(procs)]
    for worker in workers:
        worker.start()
    barrier.wait()
    begun, cpu = time.perf_counter(), cpu_of_all()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    seconds, cpu = time.perf_counter() - begun, cpu_of_all() - cpu
    done = config["images"] if work is _decode_part else config["images"] * 5 / 6
    return {"rate": done / seconds, "cpu": 1e3 * cpu / done}


def fetch_and_decode(urls: list[str], transfers: int) -> None:
    from io import BytesIO

    import cv2
    import pycurl

    cv2.setNumThreads(1)
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
            decode(handle.body.getbuffer())
            free.append(handle)
            left -= 1
        if not done and left:
            multi.select(1.0)


# -- this project, and peers ------------------------------------------------------------------


def ours(config: Config) -> dict[str, Any]:
    """`NetworkImages.parallel`, upstream of `PrefetchDataZMQ` where `procs` is not 0."""
    import dataflow as df

    source = df.dataset.NetworkImages(shuffle=True)
    source.datapoints = [[url, 0] for url in urls_of(config)]
    ds: Any = source.parallel(num_threads=config["transfers"] // (config["procs"] or 1))
    if config["procs"]:
        ds = df.PrefetchDataZMQ(ds, num_proc=config["procs"])
    found = timed((image for image, _ in ds), config)
    assert not ds.errors(), ds.errors()[:3]
    return found


def tensorpack(config: Config) -> dict[str, Any]:
    """As wbaek/dataflow did it. Each process runs the whole flow, so images come repeatedly."""
    import requests
    import tensorpack.dataflow as td

    def download(dp: list[Any]) -> list[Any]:
        return [requests.get(dp[0], timeout=30).content, dp[1]]

    ds = td.DataFromList([[url, 0] for url in urls_of(config)], shuffle=True)
    ds = td.MultiThreadMapData(ds, num_thread=config["threads"], map_func=download, buffer_size=200)
    ds = td.MapData(ds, lambda dp: [decode(dp[0]), dp[1]])
    ds = td.PrefetchDataZMQ(ds, config["procs"])
    ds.reset_state()

    def endless() -> Iterator[Any]:
        while True:
            for image, _ in ds:
                yield image

    return timed(endless(), config)


class Behind:
    """Images behind URLs, map-style, by a session of requests for each worker."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self._session: Any = None

    def __len__(self) -> int:
        return len(self._urls)

    def __getitem__(self, index: int) -> Any:
        import requests

        if self._session is None:
            self._session = requests.Session()
        return decode(self._session.get(self._urls[index], timeout=30).content)


def one_thread(number: int) -> None:
    import cv2

    cv2.setNumThreads(1)


def torch(config: Config) -> dict[str, Any]:
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        Behind(urls_of(config)),  # type: ignore[arg-type]
        batch_size=None,
        num_workers=config["procs"],
        worker_init_fn=one_thread,
    )
    return timed((image.numpy() for image in loader), config)


def aiohttp(config: Config) -> dict[str, Any]:
    """So many requests at a time, and a pool of threads that decode."""
    import asyncio
    import queue
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import aiohttp as library

    images: queue.Queue[Any] = queue.Queue(200)
    one_thread(0)

    async def work() -> None:
        todo = iter(urls_of(config))
        loop = asyncio.get_running_loop()
        connector = library.TCPConnector(limit=config["transfers"])
        with ThreadPoolExecutor(2) as pool:
            async with library.ClientSession(connector=connector) as session:

                async def one_by_one() -> None:
                    for url in todo:
                        async with session.get(url) as answer:
                            body = await answer.read()
                        image = await loop.run_in_executor(pool, decode, body)
                        await loop.run_in_executor(None, images.put, image)

                await asyncio.gather(*(one_by_one() for _ in range(config["transfers"])))

    threading.Thread(target=lambda: asyncio.run(work()), daemon=True).start()
    return timed((images.get() for _ in range(config["images"])), config)


def daft(config: Config) -> dict[str, Any]:
    import daft as library

    frame = library.from_pydict({"url": urls_of(config)}).into_batches(config["batch"])
    image = library.col("url").download(max_connections=config["transfers"]).decode_image()
    frame = frame.select(image.alias("image"))
    return timed((row["image"] for row in frame.iter_rows()), config)


# -- the whole --------------------------------------------------------------------------------


def prepare(quick: bool) -> Config:
    """Draw the photos, and serve them, without and with latency."""
    from nginx import serve

    from dataflow.demo.photos import ensure_photos

    count = 50 if quick else PHOTOS
    folder = ensure_photos(count)
    common = {"photos": count, "folder": str(folder)}
    for name, latency in (("base", 0.0), *([] if quick else [("late", LATENCY)])):
        server = serve(folder, latency)
        common[name] = server.__enter__()
        atexit.register(server.__exit__, None, None, None)
    return common


def cases(quick: bool) -> list[Case]:
    config = {"images": 600 if quick else 4000, "latency": False}
    trial = {"images": 600 if quick else 2000}

    def case(name: str, system: str, cell: str, *settings: Config, **more: Any) -> Case:
        chosen = settings[:1] if quick else settings
        return Case(name, system, cell, {**config, **more}, chosen, trial)

    own = [{"procs": p, "transfers": t} for p, t in ((0, 32), (0, 64), (2, 32))]
    loops = [{"procs": p, "transfers": 32} for p in (2, 3)]
    found = [
        Case("decoding alone, 2 processes", "bare", "decoding", config),
        case("bare libcurl and imdecode", "bare", "bare", *loops),
        case("dataflow", "dataflow", "ours", *own),
        case("Daft", "daft", "daft", *({"batch": b, "transfers": 32} for b in (64, 256))),
        case("torch DataLoader, requests", "torch", "torch", *({"procs": p} for p in (2, 4, 8))),
        case("aiohttp and threads", "aiohttp", "aiohttp", *({"transfers": t} for t in (16, 64))),
        case(
            "the original pattern, tensorpack",
            "tensorpack",
            "tensorpack",
            *({"threads": t, "procs": p} for t, p in ((2, 2), (4, 2), (8, 3))),
        ),
    ]
    if not quick:
        late, many = {"latency": True}, {"transfers": TRANSFERS}
        own = [{"procs": p, **many} for p in (0, 2)]
        found += [
            case("dataflow, 50 ms", "dataflow", "ours", *own, **late),
            case("Daft, 50 ms", "daft", "daft", {"batch": 256, **many}, **late),
            case("aiohttp and threads, 50 ms", "aiohttp", "aiohttp", many, **late),
        ]
    return found


def targets() -> tuple[Target, ...]:
    peers = ("Daft", "torch DataLoader, requests", "aiohttp and threads")
    return (
        *(Target(f"of {peer}", "dataflow", 1.2, peer) for peer in peers),
        Target("of decoding alone", "dataflow", 0.85, "decoding alone, 2 processes"),
    )


BENCH = Bench(
    name="urls",
    title="images a second, downloaded from nginx and decoded",
    columns=(
        Column("rate", "images/s", 0),
        Column("cpu", "ms of processor time an image", 2),
    ),
    references={None: "decoding alone, 2 processes"},
    cells={
        "decoding": decoding,
        "bare": bare,
        "ours": ours,
        "daft": daft,
        "torch": torch,
        "aiohttp": aiohttp,
        "tensorpack": tensorpack,
    },
    cases=cases,
    targets=targets(),
    prepare=prepare,
    timeout=180,
    peers_may_fail=True,
)

if __name__ == "__main__":
    main(BENCH)
