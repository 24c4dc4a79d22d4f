"""What a framework costs by itself: a map that does nothing, on small datapoints.

    python bench/overhead.py [--quick] [--runs 5] [--python PEER=PATH]

Every system passes the datapoints [0], [1], … through the same function, which returns them as
they are, on 4 threads or in 2 processes. The clock runs from a tenth of them on, so that starting
workers does not count, up to the last or for 4 s. The processor time is the consumer's process's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from harness import steady
from suite import Bench, Case, Column, Config, Target, main

THREADS, PROCS = 4, 2
BARE = f"ThreadPoolExecutor, {THREADS} threads"
WINDOW = 200  # datapoints under way, tensorpack's default


def nothing(datapoint: list[int]) -> list[int]:
    return datapoint


class Numbers:
    """The datapoints, map-style."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> list[int]:
        if index >= self._count:
            raise IndexError(index)
        return nothing([index])


def timed(stream: Iterable[list[int]], config: Config, *, exact: bool = True) -> dict[str, Any]:
    """Time a stream, and look whether everything came, and once."""
    count = config["items"]
    seen = bytearray(count)

    def see(datapoint: list[int]) -> None:
        seen[datapoint[0]] += 1

    found = steady(
        stream, see, warm=count // 10, stop=count, seconds=config["seconds"], warm_seconds=1.0
    )
    if exact and (found["seen"] != sum(seen) or max(seen) > 1):
        raise RuntimeError("a datapoint came twice")
    return {
        "us": 1e6 * found["seconds"] / found["items"],
        "cpu_us": 1e6 * found["cpu_seconds"] / found["items"],
        "all_us": 1e6 * found["cpu_of_all"] / found["items"],
        "items": found["items"],
    }


# -- this project -----------------------------------------------------------------------------


def ours_threads(config: Config) -> dict[str, Any]:
    import dataflow as df

    source = df.DataFromList([[i] for i in range(config["items"])], shuffle=False)
    ds: Any
    if hasattr(df, "MultiThreadMapData"):
        ds = df.MultiThreadMapData(source, num_thread=THREADS, map_func=nothing)
    else:
        from dataflow.engine.runners import ThreadRunner

        ds = ThreadRunner(df.MapData(source, nothing), THREADS)
    return timed(ds, config)


def ours_processes(config: Config) -> dict[str, Any]:
    import dataflow as df

    source = df.DataFromList([[i] for i in range(config["items"])], shuffle=False)
    return timed(df.PrefetchDataZMQ(df.MapData(source, nothing), num_proc=PROCS), config)


# -- the bare minimum -------------------------------------------------------------------------


def executor(config: Config) -> dict[str, Any]:
    """`ThreadPoolExecutor` with a window of futures."""
    from concurrent.futures import ThreadPoolExecutor

    def stream() -> Iterator[list[int]]:
        datapoints = ([i] for i in range(config["items"]))
        with ThreadPoolExecutor(THREADS) as pool:
            window = deque(pool.submit(nothing, dp) for dp in islice(datapoints, WINDOW))
            while window:
                result = window.popleft().result()
                window.extend(pool.submit(nothing, dp) for dp in islice(datapoints, 1))
                yield result

    return timed(stream(), config)


# -- peers ------------------------------------------------------------------------------------


def tensorpack_threads(config: Config) -> dict[str, Any]:
    import tensorpack.dataflow as td

    ds = td.DataFromList([[i] for i in range(config["items"])], shuffle=False)
    ds = td.MultiThreadMapData(ds, THREADS, nothing, buffer_size=WINDOW)
    ds.reset_state()
    return timed(ds, config, exact=False)  # it is endless inside, and mixes epochs


def tensorpack_processes(config: Config) -> dict[str, Any]:
    import tensorpack.dataflow as td

    ds = td.DataFromList([[i] for i in range(config["items"])], shuffle=False)
    ds = td.MultiProcessMapDataZMQ(ds, PROCS, nothing, buffer_size=WINDOW)
    ds.reset_state()
    return timed(ds, config, exact=False)


def torchdata(config: Config) -> dict[str, Any]:
    from torchdata.nodes import IterableWrapper, Loader, ParallelMapper

    source = IterableWrapper([[i] for i in range(config["items"])])
    return timed(Loader(ParallelMapper(source, nothing, THREADS, method="thread")), config)


def torch(config: Config) -> dict[str, Any]:
    from torch.utils.data import DataLoader

    return timed(DataLoader(Numbers(config["items"]), batch_size=None, num_workers=PROCS), config)


def grain(config: Config) -> dict[str, Any]:
    import grain

    ds = grain.MapDataset.source(range(config["items"])).map(_datapoint).map(nothing)
    # No threads below the workers: without them it was fastest.
    reading = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    options = grain.MultiprocessingOptions(num_workers=PROCS, per_worker_buffer_size=WINDOW)
    return timed(ds.to_iter_dataset(reading).mp_prefetch(options), config)


def _datapoint(index: int) -> list[int]:
    return [index]


def spdl(config: Config) -> dict[str, Any]:
    from spdl.pipeline import PipelineBuilder

    builder: Any = PipelineBuilder().add_source([i] for i in range(config["items"]))
    builder = builder.pipe(nothing, concurrency=THREADS).add_sink(WINDOW)
    pipeline = builder.build(num_threads=THREADS)
    with pipeline.auto_stop():
        return timed(pipeline, config)


def cases(quick: bool) -> list[Case]:
    config = {"items": 2000, "seconds": 0.3} if quick else {"items": 100_000, "seconds": 4.0}
    return [
        Case(f"dataflow, {THREADS} threads", "dataflow", "ours_threads", config),
        Case(f"dataflow, {PROCS} processes", "dataflow", "ours_processes", config),
        Case(BARE, "bare", "executor", config),
        Case(f"tensorpack, {THREADS} threads", "tensorpack", "tensorpack_threads", config),
        Case(f"tensorpack, {PROCS} processes", "tensorpack", "tensorpack_processes", config),
        Case(f"torchdata nodes, {THREADS} threads", "torchdata", "torchdata", config),
        Case(f"torch DataLoader unbatched, {PROCS} processes", "torch", "torch", config),
        Case(f"Grain, {PROCS} processes", "grain", "grain", config),
        Case(f"SPDL, {THREADS} threads", "spdl", "spdl", config),
    ]


BENCH = Bench(
    name="overhead",
    title="A map that does nothing, on datapoints of one integer",
    columns=(
        Column("us", "µs an item"),
        Column("cpu_us", "µs of CPU in the consumer's process"),
        Column("all_us", "in all processes"),
    ),
    cells={
        "ours_threads": ours_threads,
        "ours_processes": ours_processes,
        "executor": executor,
        "tensorpack_threads": tensorpack_threads,
        "tensorpack_processes": tensorpack_processes,
        "torchdata": torchdata,
        "torch": torch,
        "grain": grain,
        "spdl": spdl,
    },
    cases=cases,
    targets=(
        *(
            Target(f"{workers}, of ThreadPoolExecutor", f"dataflow, {workers}", 0.45, BARE, True)
            for workers in (f"{THREADS} threads", f"{PROCS} processes")
        ),
        Target(
            "processes, of tensorpack", "dataflow, 2 processes", 1, "tensorpack, 2 processes", True
        ),
    ),
    less_is_better=True,
)

if __name__ == "__main__":
    main(BENCH)
