"""JPEG files to batches for training: decode, random resized crop to 224, flip, batches of 64.

    python bench/files.py [--quick] [--runs 5] [--python PEER=PATH]

The photos are drawn, with the sizes and the weight of ImageNet's. All systems read the same files
in the same order and call OpenCV's functions alike; only tf.data decodes with its own, and no more
than the part that is cut out, as dataflow does with ``decode="enough"``. The limit are two
processes that keep nothing of what they make. Where a system has settings, a few runs of each
decide which of them is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from harness import cpu_of_all, steady
from images import SHAPE, SIDE, load
from suite import Bench, Case, Column, Config, Target, main

BATCH = 64
PROCS = 2
UNDER_WAY = 4  # batches

ENOUGH = "dataflow, decode='enough'"
TENSORFLOW = "tf.data, decoding only the part"


def paths_of(config: Config) -> list[list[Any]]:
    """[path, label] of every image, files coming repeatedly."""
    from pathlib import Path

    files = sorted(map(str, Path(config["folder"]).rglob("*.jpg")))[: config["files"]]
    return [[files[i % len(files)], i] for i in range(config["images"])]


class Files:
    """The datapoints, map-style."""

    def __init__(self, datapoints: list[list[Any]]) -> None:
        self._datapoints = datapoints

    def __len__(self) -> int:
        return len(self._datapoints)

    def __getitem__(self, index: int) -> list[Any]:
        return load(self._datapoints[index])


def timed(stream: Iterable[Any], config: Config, *, exact: bool = True) -> dict[str, Any]:
    """Time the stream of [images, labels], and look at what comes."""
    labels: list[int] = []

    def see(batch: Any) -> None:
        assert tuple(batch[0].shape[1:]) == SHAPE, batch[0].shape
        labels.extend(map(int, batch[1]))

    # What is under way when the clock starts is made up for by what is when it stops.
    stop = config["images"] // BATCH - UNDER_WAY
    warm = max(1, stop // 6)
    found = steady(stream, see, warm=warm, stop=stop, warm_seconds=5, seconds=20)
    if exact and len(set(labels)) != len(labels):
        raise RuntimeError("an image came twice")
    return {
        "rate": found["items"] * BATCH / found["seconds"],
        "cpu": 1e3 * found["cpu_of_all"] / (found["items"] * BATCH),
    }


def one_thread(*_: Any) -> None:
    """A worker process is one thread of work."""
    import cv2

    cv2.setNumThreads(1)


# -- the limit --------------------------------------------------------------------------------


def bare(config: Config) -> dict[str, Any]:
    import multiprocessing

    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(PROCS + 1)
    datapoints = paths_of(config)
    first = len(datapoints) // 6 // PROCS * PROCS  # for the warm-up
    taken = fork.Value("l", first)
    workers = [
        fork.Process(target=bare_loop, args=(datapoints, datapoints[i:first:PROCS], taken, barrier))
        for i in range(PROCS)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()  # all are warm
    begun, cpu = time.perf_counter(), cpu_of_all()
    for worker in workers:
        worker.join()
    seconds, images = time.perf_counter() - begun, len(datapoints) - first
    assert not any(worker.exitcode for worker in workers), "a loop failed"
    return {"rate": images / seconds, "cpu": 1e3 * (cpu_of_all() - cpu) / images}


def bare_loop(datapoints: list[list[Any]], warm: list[list[Any]], taken: Any, barrier: Any) -> None:
    """One process: its part of the warm-up, then whatever comes next."""
    one_thread()
    for datapoint in warm:
        load(datapoint)
    barrier.wait()
    while True:
        with taken.get_lock():
            index = taken.value
            taken.value += 1
        if index >= len(datapoints):
            return
        load(datapoints[index])


# -- this project -----------------------------------------------------------------------------


def ours(config: Config) -> dict[str, Any]:
    """Processes with the whole chain, or threads and no process."""
    import dataflow as df

    source = df.dataset.FileImages(on_error="raise", decode=config.get("decode", "full"))
    source.datapoints = paths_of(config)
    augmentors = [df.imgaug.GoogleNetRandomCropAndResize(), df.imgaug.Flip(horiz=True)]
    ds: Any = source
    if config["procs"]:
        ds = df.AugmentImageComponent(ds, augmentors)
        if config["batch"] == "below":
            ds = df.BatchData(ds, BATCH)
            ds = df.PrefetchDataZMQ(ds, num_proc=config["procs"])
        else:
            ds = df.PrefetchDataZMQ(ds, num_proc=config["procs"], hwm=200)
            ds = df.BatchData(ds, BATCH)
    else:
        from dataflow.engine.runners import ThreadRunner

        one_thread()
        ds = df.AugmentImageComponent(ds, augmentors)
        ds = df.BatchData(ThreadRunner(ds, config["threads"]), BATCH)
    return timed(ds, config)


# -- peers ------------------------------------------------------------------------------------


def tensorpack(config: Config) -> dict[str, Any]:
    """Each process runs the whole flow, so images come repeatedly."""
    import tensorpack.dataflow as td

    one_thread()
    ds = td.MapData(td.DataFromList(paths_of(config), shuffle=False), load)
    if config["batch"] == "below":
        ds = td.PrefetchDataZMQ(td.BatchData(ds, BATCH), config["procs"])
    else:
        ds = td.BatchData(td.PrefetchDataZMQ(ds, config["procs"]), BATCH)
    ds.reset_state()
    return timed(ds, config, exact=False)


def torch(config: Config) -> dict[str, Any]:
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        Files(paths_of(config)),
        batch_size=BATCH,
        num_workers=config["procs"],
        worker_init_fn=one_thread,
        drop_last=True,
    )
    return timed(loader, config)


def grain(config: Config) -> dict[str, Any]:
    import grain

    ds = grain.MapDataset.source(paths_of(config)).map(load).batch(BATCH, drop_remainder=True)
    # No threads below the workers: two processes keep two cores busy.
    reading = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    options = grain.MultiprocessingOptions(num_workers=config["procs"], per_worker_buffer_size=2)
    flow = ds.to_iter_dataset(reading).mp_prefetch(options, worker_init_fn=one_thread)
    return timed(flow, config)


def spdl(config: Config) -> dict[str, Any]:
    from spdl.pipeline import PipelineBuilder

    one_thread()
    threads = config["threads"]
    builder: Any = PipelineBuilder().add_source(paths_of(config))
    builder = builder.pipe(load, concurrency=threads).aggregate(BATCH, drop_last=True)
    builder = builder.pipe(stacked).add_sink(3)
    pipeline = builder.build(num_threads=threads + 1)
    with pipeline.auto_stop():
        return timed(pipeline, config)


def stacked(datapoints: list[list[Any]]) -> list[Any]:
    import numpy as np

    return [np.stack([dp[0] for dp in datapoints]), [dp[1] for dp in datapoints]]


def tensorflow(config: Config) -> dict[str, Any]:
    """`tf.image.decode_and_crop_jpeg`, which OpenCV has no counterpart of."""
    import tensorflow as tf

    datapoints = paths_of(config)
    ds = tf.data.Dataset.from_tensor_slices(
        ([path for path, _ in datapoints], [label for _, label in datapoints])
    )

    def make(path: Any, label: Any) -> Any:
        data = tf.io.read_file(path)
        whole = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.image.extract_jpeg_shape(data), whole, area_range=(0.08, 1.0)
        )
        window = tf.concat([begin[:2], size[:2]], axis=0)
        image = tf.image.decode_and_crop_jpeg(data, window, channels=3)
        image = tf.cast(tf.image.resize(image, [SIDE, SIDE]), tf.uint8)
        return tf.image.random_flip_left_right(image), label

    ds = ds.map(make, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH, drop_remainder=True)
    return timed(ds.prefetch(tf.data.AUTOTUNE).as_numpy_iterator(), config)


# -- the whole --------------------------------------------------------------------------------


def photos(quick: bool) -> Config:
    """Draw the photos, once."""
    from dataflow.demo.photos import ensure_photos

    count = 50 if quick else 1000
    return {"folder": str(ensure_photos(count)), "files": count}


def cases(quick: bool) -> list[Case]:
    config = {"images": 512 if quick else 4800}
    trial = {"images": 512 if quick else 2400}
    procs = ({"procs": 2},) if quick else ({"procs": 2}, {"procs": 3})
    places = [{**p, "batch": place} for p in procs for place in ("below", "above")]
    threads = ({"threads": 2},) if quick else ({"threads": 2}, {"threads": 3})
    enough = {"decode": "enough"}
    own = [*places[: 1 if quick else None], *({"procs": 0, **t} for t in threads)]
    return [
        Case(f"bare loops in {PROCS} processes", "bare", "bare", config),
        Case("dataflow", "dataflow", "ours", config, tuple(own), trial),
        Case(ENOUGH, "dataflow", "ours", config, tuple({**o, **enough} for o in own), trial),
        Case("torch DataLoader", "torch", "torch", config, procs, trial),
        Case("tensorpack", "tensorpack", "tensorpack", config, tuple(places), trial),
        Case("Grain", "grain", "grain", config, procs, trial),
        Case("SPDL", "spdl", "spdl", config, threads, trial),
        Case(TENSORFLOW, "tensorflow", "tensorflow", config),
    ]


BENCH = Bench(
    name="files",
    title="JPEG files, decoded, cut to 224×224 at random, flipped, in batches of 64",
    columns=(
        Column("rate", "images/s", 0),
        Column("cpu", "ms of CPU an image, all processes", 2),
    ),
    cells={
        "bare": bare,
        "ours": ours,
        "tensorpack": tensorpack,
        "torch": torch,
        "grain": grain,
        "spdl": spdl,
        "tensorflow": tensorflow,
    },
    cases=cases,
    targets=(
        Target("of bare loops", "dataflow", 0.95, f"bare loops in {PROCS} processes"),
        *(
            Target(f"of {peer}", "dataflow", 1, peer)
            for peer in ("torch DataLoader", "tensorpack", "Grain", "SPDL")
        ),
        Target("of tf.data, with decode='enough'", ENOUGH, 1.15, TENSORFLOW),
    ),
    references={None: f"bare loops in {PROCS} processes"},
    prepare=photos,
)

if __name__ == "__main__":
    main(BENCH)
