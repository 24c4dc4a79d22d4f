"""Whether loading goes on while the training step runs: ms a step, beside the longer of both.

    python bench/overlap.py [--quick] [--runs 3] [--only dataflow,torch] [--python PEER=PATH]

Two workers make datapoints of 224×224×3; each waits 5 ms (`waits`), as for a disk or a host, or
decodes a JPEG, cuts and mirrors it (`decodes`). The loop takes batches of them; its step sleeps, as
beside a GPU, or computes on one core with NumPy. What is best possible for steps that sleep is the
longer of the step and of the work shared by the workers; what a datapoint takes is measured in each
run before, with bare loops in as many threads or processes (a sleep of 5 ms takes longer).
Steps that compute share the cores with the workers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Any

import numpy as np
from files import Files, one_thread, paths_of, photos
from images import SHAPE, from_memory, load
from suite import Bench, Case, Column, Config, Target, main

WORKERS = 2
ITEM = 0.005  # seconds, of a datapoint that waits
WARM = 4  # steps before the clock starts
CORES = 2
ORDERS = ("downstream", "upstream")  # of the workers, where batches are made


def waits(datapoint: list[Any]) -> list[Any]:
    """[path, number] → [image, number], after 5 ms."""
    time.sleep(ITEM)
    return from_memory([datapoint[1]])


class Waiting(Files):
    """The datapoints that wait, map-style."""

    def __getitem__(self, index: int) -> list[Any]:
        return waits(self._datapoints[index])


def points(config: Config) -> list[list[Any]]:
    """As many datapoints as the steps take, and some to be under way at the end."""
    steps = WARM + config["steps"] + 8
    return paths_of({**config, "images": steps * config["batch"]})


def work_of(config: Config) -> Any:
    return waits if config["item"] == "waits" else load


def trained(batches: Iterable[Any], config: Config) -> dict[str, Any]:
    """Take batches of [images, numbers], and do a step with each."""
    seconds, iterator = config["step"] / 1e3, iter(batches)
    matrix = np.random.default_rng(0).random((96, 96), np.float32)
    waited = begun = 0.0
    for number in range(WARM + config["steps"]):
        if number == WARM:
            waited, begun = 0.0, time.perf_counter()
        asked = time.perf_counter()
        images, _ = next(iterator)
        came = time.perf_counter()
        waited += came - asked
        assert tuple(images.shape) == (config["batch"], *SHAPE), images.shape
        if config["does"] == "sleeps":
            time.sleep(seconds)
        else:
            computed = time.thread_time() + seconds  # as much work, however many share the core
            while time.thread_time() < computed:
                matrix @ matrix
    per_step = (time.perf_counter() - begun) / config["steps"]
    best = max(seconds, config["batch"] * config["cost"] / WORKERS)
    if config["does"] == "computes" and config["item"] == "decodes":
        best = max(best, (seconds + config["batch"] * config["cost"]) / CORES)
    return {
        "ratio": per_step / best,
        "ms": 1e3 * per_step,
        "best": 1e3 * best,
        "waiting": 100 * waited / per_step / config["steps"],
    }


# -- this project -----------------------------------------------------------------------------


def ours(config: Config) -> dict[str, Any]:
    import dataflow as df
    from dataflow.engine.runners import ThreadRunner

    if config["runner"] == "threads":
        one_thread()
    ds: Any = df.DataFromList(points(config), shuffle=False).map(work_of(config))
    if config["order"] == "upstream":
        ds = ds.batch(config["batch"])
    options = {"ordered": True} if config.get("ordered") else {}
    if config["runner"] == "threads":
        ds = ThreadRunner(ds, WORKERS, **options)
    elif config["runner"] == "processes":
        ds = df.PrefetchDataZMQ(ds, WORKERS, **options)
    elif config["runner"] == "pool":
        ds = df.PrefetchDataRemote(ds, "tcp://127.0.0.1:*", num_proc=WORKERS, **options)
    elif config["runner"] == "ray":
        ds = df.PrefetchDataRay(ds, WORKERS, **options)
    if config["order"] == "downstream":
        ds = ds.batch(config["batch"])
    with ds:
        return trained(ds, config)


def one_stage(config: Config) -> dict[str, Any]:
    """A class with its own `__iter__`, one stage on it, and one worker."""
    import dataflow as df

    class Own(df.DataFlow):
        def __iter__(self) -> Iterator[Any]:
            for point in points(config):
                time.sleep(ITEM / WORKERS)
                yield from_memory([point[1]])

    with df.PrefetchDataZMQ(Own().map(same), 1).batch(config["batch"]) as ds:
        return trained(ds, config)


def same(datapoint: list[Any]) -> list[Any]:
    return datapoint


# -- peers ------------------------------------------------------------------------------------


def torch(config: Config) -> dict[str, Any]:
    """PyTorch's loader, or this project's with the same arguments."""
    if config.get("loader"):
        from dataflow.adapters.torch import DataLoader
    else:
        from torch.utils.data import DataLoader

    source = Waiting(points(config)) if config["item"] == "waits" else Files(points(config))
    loader: Any = DataLoader(
        source, batch_size=config["batch"], num_workers=WORKERS, worker_init_fn=one_thread
    )
    return trained(loader, config)


def tensorpack(config: Config) -> dict[str, Any]:
    import tensorpack.dataflow as td

    one_thread()
    ds = td.MapData(td.DataFromList(points(config), shuffle=False), work_of(config))
    if config["order"] == "upstream":
        ds = td.PrefetchDataZMQ(td.BatchData(ds, config["batch"]), WORKERS)
    else:
        ds = td.BatchData(td.PrefetchDataZMQ(ds, WORKERS), config["batch"])
    ds.reset_state()
    return trained(ds, config)


def grain(config: Config) -> dict[str, Any]:
    import grain

    ds = grain.MapDataset.source(points(config)).map(work_of(config))
    ds = ds.batch(config["batch"], drop_remainder=True)
    reading = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    options = grain.MultiprocessingOptions(num_workers=WORKERS, per_worker_buffer_size=2)
    flow = ds.to_iter_dataset(reading).mp_prefetch(options, worker_init_fn=one_thread)
    return trained(flow, config)


# -- the whole --------------------------------------------------------------------------------


def prepare(quick: bool) -> Config:
    """The photos."""
    return photos(quick)


def bare_loop(config: Config) -> float:
    """Seconds that a datapoint takes in a loop that does nothing else with it."""
    one_thread()
    make = work_of(config)
    some = paths_of({**config, "images": 100 if config["item"] == "waits" else 300})
    for point in islice(some, 40):
        make(point)
    begun = time.perf_counter()
    for point in some:
        make(point)
    return (time.perf_counter() - begun) / len(some)


def cost_of_item(config: Config) -> float:
    """Seconds that a datapoint takes in as many bare loops at once as there are workers."""
    if config.get("runner") == "threads":
        with ThreadPoolExecutor(WORKERS) as threads:
            costs = list(threads.map(bare_loop, [config] * WORKERS))
    else:
        with get_context("spawn").Pool(WORKERS) as processes:
            costs = processes.map(bare_loop, [config] * WORKERS, chunksize=1)
    return sum(costs) / WORKERS


def _cell(run: Any) -> Any:
    def cell(config: Config) -> dict[str, Any]:
        return run({**config, "cost": cost_of_item(config)})  # type: ignore[no-any-return]

    return cell


def _name(system: str, config: Config) -> str:
    words = [system]
    if system == "dataflow":
        words += [config["runner"], "in order" if config.get("ordered") else ""]
    if system in ("dataflow", "tensorpack"):
        words.append(f"batch {config['order']}")
    words.append(f"of {config['batch']}" if len(words) > 1 else f"batches of {config['batch']}")
    step = f"step {config['does']} {config['step']} ms"
    return ", ".join([" ".join(filter(None, words)), f"item {config['item']}", step])


def settings(quick: bool) -> list[Config]:
    """Batch, step, what the step does and what a datapoint does."""
    if quick:
        return [{"batch": 8, "step": 20, "does": "sleeps", "item": "waits", "steps": 6}]
    found: list[Config] = [
        {"batch": batch, "step": step, "does": "sleeps", "item": "waits"}
        for batch, step in ((32, 20), (32, 50), (64, 160), (64, 300), (256, 300))
    ]
    found += [
        {"batch": batch, "step": step, "does": does, "item": "decodes"}
        for batch, step in ((32, 20), (32, 50), (64, 50), (64, 160), (256, 300))
        for does in ("sleeps", "computes")
    ]
    return [{**one, "steps": max(12, 3000 // max(one["step"], 3 * one["batch"]))} for one in found]


def cases(quick: bool) -> list[Case]:
    from importlib.util import find_spec

    runners = ["threads", "processes", *([] if quick else ["pool"])]
    runners += ["ray"] if find_spec("ray") and not quick else []
    found = []
    for setting in settings(quick):
        arrangements: list[Config] = [
            {"runner": runner, "order": order}
            for runner in runners
            for order in ("downstream", "upstream")
        ]
        arrangements.append({"runner": "processes", "order": "downstream", "ordered": True})
        own = [{**setting, **arrangement} for arrangement in arrangements]
        found += [Case(_name("dataflow", one), "dataflow", "ours", one) for one in own]
        found.append(Case(_name("torch DataLoader", setting), "torch", "torch", setting))
        if find_spec("torch"):
            one = {**setting, "loader": True}
            found.append(Case(_name("dataflow's DataLoader", one), "dataflow", "torch", one))
        found.append(Case(_name("Grain", setting), "grain", "grain", setting))
        for order in ORDERS:
            one = {**setting, "order": order}
            found.append(Case(_name("tensorpack", one), "tensorpack", "tensorpack", one))
    if not quick:
        one = {"batch": 64, "step": 160, "does": "sleeps", "item": "waits", "steps": 16}
        name = "dataflow, own __iter__ and one stage, 1 process, batches of 64, step sleeps 160 ms"
        found.append(Case(name, "dataflow", "one_stage", one))
    return found


def targets() -> tuple[Target, ...]:
    """For steps that sleep: close to the best possible."""
    return tuple(
        Target("of the best possible", case.name, 1.06, at_most=True)
        for case in cases(False)
        if case.system == "dataflow" and case.config["does"] == "sleeps"
    )


BENCH = Bench(
    name="overlap",
    title="milliseconds a training step, beside the longer of step and loading",
    columns=(
        Column("ratio", "of the best possible", 3),
        Column("ms", "ms a step", 1),
        Column("best", "best possible", 1),
        Column("waiting", "% of the time that the loop waits", 1),
    ),
    less_is_better=True,
    cells={
        "ours": _cell(ours),
        "one_stage": _cell(one_stage),
        "torch": _cell(torch),
        "tensorpack": _cell(tensorpack),
        "grain": _cell(grain),
    },
    cases=cases,
    targets=targets(),
    prepare=prepare,
)

if __name__ == "__main__":
    main(BENCH)
