"""How fast arrays come from one worker process: batches of images, and single images.

    python bench/transport.py [--quick] [--runs 5] [--python PEER=PATH]

The worker takes 224×224×3 images from memory and stacks 64 of them to a batch; the consumer looks
at none of the pixels and lets go; during the warm-up it compares them all. The limit is `np.copyto`
of the same images in one process, always into the same memory; other rows go round in several, as
memory must that is handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle
from time import perf_counter
from typing import Any

import numpy as np
from harness import steady
from images import POOL, SHAPE, from_memory, pool
from suite import Bench, Case, Column, Config, Target, main

BATCH = 64


class Images:
    """The datapoints, map-style."""

    def __init__(self, count: int, wrap: Callable[[np.ndarray], Any] = lambda image: image) -> None:
        self._count = count
        self._wrap = wrap

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> list[Any]:
        if index >= self._count:
            raise IndexError(index)
        image, number = from_memory([index])
        return [self._wrap(image), number]


def count_of(config: Config) -> int:
    """Enough images that the clock ends first."""
    return int(config["gigabytes"] * 1e9 / np.prod(SHAPE)) // BATCH * BATCH


def timed(stream: Iterable[Any], config: Config) -> dict[str, Any]:
    """Time the stream of [image, number] or [batch, numbers]."""
    batch = config["batch"] or 1
    stop = count_of(config) // batch
    warm = max(2, min(256 // batch, stop // 4))
    images = pool()
    arrived = 0

    def see(datapoint: Any) -> None:
        nonlocal arrived
        arrived += 1
        if arrived <= warm // 2:
            numbers = np.atleast_1d(np.asarray(datapoint[1])) % POOL
            right = images[numbers] if config["batch"] else images[numbers[0]]
            assert np.array_equal(np.asarray(datapoint[0]), right), "an image came out different"

    found = steady(stream, see, warm=warm, stop=stop, seconds=config["seconds"])
    size = found["items"] * batch * np.prod(SHAPE)
    return {
        "rate": float(size / found["seconds"] / 1e9),
        "images": found["items"] * batch / found["seconds"],
        "cpu": found["cpu_seconds"] / found["seconds"],
    }


# -- the limit --------------------------------------------------------------------------------


def copyto(config: Config) -> dict[str, Any]:
    """`np.copyto` of one batch after the other, or of single images."""
    batch = config["batch"] or 1
    sources = np.split(pool(), POOL // batch)
    targets = cycle([np.zeros_like(sources[0]) for _ in range(config["targets"])])
    for source in sources:
        np.copyto(next(targets), source)
    rounds = 0
    begun = perf_counter()
    while (seconds := perf_counter() - begun) < config["seconds"] / 2:
        for source in sources:
            np.copyto(next(targets), source)
        rounds += 1
    images = rounds * POOL / seconds
    return {"rate": float(images * np.prod(SHAPE) / 1e9), "images": images, "cpu": 1.0}


# -- this project -----------------------------------------------------------------------------


def ours(config: Config) -> dict[str, Any]:
    import dataflow as df

    keys = [[i] for i in range(count_of(config))]
    ds: Any = df.MapData(df.DataFromList(keys, shuffle=False), from_memory)
    if config["batch"]:
        ds = df.BatchData(ds, config["batch"])
    return timed(df.PrefetchDataZMQ(ds, num_proc=1), config)


# -- peers ------------------------------------------------------------------------------------


def tensorpack(config: Config) -> dict[str, Any]:
    import tensorpack.dataflow as td

    keys = [[i] for i in range(count_of(config))]
    ds = td.MapData(td.DataFromList(keys, shuffle=False), from_memory)
    if config["batch"]:
        ds = td.BatchData(ds, config["batch"])
    ds = td.PrefetchDataZMQ(ds, 1)
    ds.reset_state()
    return timed(ds, config)


def torch(config: Config) -> dict[str, Any]:
    """As tensors, which torch passes through shared memory."""
    from torch import from_numpy
    from torch.utils.data import DataLoader

    images = Images(count_of(config), from_numpy)
    return timed(DataLoader(images, batch_size=config["batch"] or None, num_workers=1), config)


def grain(config: Config) -> dict[str, Any]:
    import grain

    ds = grain.MapDataset.source(range(count_of(config))).map(_load)
    if config["batch"]:
        ds = ds.batch(config["batch"])
    # No threads below the worker: without them it was fastest.
    reading = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    buffer = 2 if config["batch"] else 50
    options = grain.MultiprocessingOptions(num_workers=1, per_worker_buffer_size=buffer)
    return timed(ds.to_iter_dataset(reading).mp_prefetch(options), config)


def _load(index: int) -> list[Any]:
    return from_memory([index])


def cases(quick: bool) -> list[Case]:
    size = {"gigabytes": 0.1, "seconds": 0.3} if quick else {"gigabytes": 40, "seconds": 3.0}
    batches = {"batch": BATCH, **size}
    images = {"batch": 0, **size}
    return [
        Case("np.copyto, batches", "bare", "copyto", {"targets": 1, **batches}),
        Case("np.copyto, batches, 4 in turn", "bare", "copyto", {"targets": 4, **batches}),
        Case("dataflow, batches", "dataflow", "ours", batches),
        Case("tensorpack, batches", "tensorpack", "tensorpack", batches),
        Case("torch DataLoader, batches", "torch", "torch", batches),
        Case("Grain, batches", "grain", "grain", batches),
        Case("np.copyto, single images", "bare", "copyto", {"targets": 1, **images}),
        Case("np.copyto, single images, 256 in turn", "bare", "copyto", {"targets": 256, **images}),
        Case("dataflow, single images", "dataflow", "ours", images),
        Case("tensorpack, single images", "tensorpack", "tensorpack", images),
        Case("torch DataLoader, single images", "torch", "torch", images),
        Case("Grain, single images", "grain", "grain", images),
    ]


BENCH = Bench(
    name="transport",
    title=f"uint8 images of 224×224×3 from one worker's memory, in batches of {BATCH} and single",
    columns=(
        Column("rate", "GB/s", 2),
        Column("images", "images/s", 0),
        Column("cpu", "cores busy in the consumer's process", 2),
    ),
    cells={
        "copyto": copyto,
        "ours": ours,
        "tensorpack": tensorpack,
        "torch": torch,
        "grain": grain,
    },
    cases=cases,
    targets=(
        Target("batches, of np.copyto", "dataflow, batches", 0.6, "np.copyto, batches"),
        Target("batches, of tensorpack", "dataflow, batches", 3, "tensorpack, batches"),
        Target("batches, of torch", "dataflow, batches", 6, "torch DataLoader, batches"),
        Target(
            "images, of tensorpack", "dataflow, single images", 2.5, "tensorpack, single images"
        ),
    ),
    references={
        None: "np.copyto, batches",
        **{
            f"{name}, single images": "np.copyto, single images"
            for name in ("np.copyto", "dataflow", "tensorpack", "torch DataLoader", "Grain")
        },
        "np.copyto, single images, 256 in turn": "np.copyto, single images",
    },
)

if __name__ == "__main__":
    main(BENCH)
