"""Each parallel wrapper beside the one of the same name of tensorpack's, on small datapoints.

    python bench/parallel.py [--quick] [--runs 5] [--python tensorpack=PATH]

Both get the datapoints [0], [1], … and a function that returns them as they are, on 4 threads or
in 2 processes, with the same buffer. The clock runs from a tenth of them on, so that starting
workers does not count, up to the last or for 4 s. Ours delivers each datapoint once; theirs is
endless inside and, but for the maps, runs the whole flow in each worker.

tensorpack's process wrappers hang now and then: such a run is ended after a minute, left out, and
told in the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import steady
from suite import Bench, Case, Column, Config, Target, main

THREADS, PROCS = 4, 2
WINDOW = 200  # datapoints under way
BATCH = 20

_kept: list[Any] = []  # until the cell's process ends: theirs take their time to be collected


def nothing(datapoint: list[int]) -> list[int]:
    return datapoint


def mapped(kit: Any, count: int) -> Any:
    return kit.MapData(numbers(kit, count), nothing)


def numbers(kit: Any, count: int) -> Any:
    return kit.DataFromList([[i] for i in range(count)], shuffle=False)


WRAPPERS: dict[str, Callable[[Any, int], Any]] = {
    "MultiThreadMapData": lambda kit, count: kit.MultiThreadMapData(
        numbers(kit, count), THREADS, nothing, buffer_size=WINDOW
    ),
    "MultiThreadRunner": lambda kit, count: kit.MultiThreadRunner(
        lambda: mapped(kit, count), WINDOW, THREADS
    ),
    "MultiProcessMapData": lambda kit, count: kit.MultiProcessMapData(
        numbers(kit, count), PROCS, nothing, buffer_size=WINDOW
    ),
    "MultiProcessRunnerZMQ": lambda kit, count: kit.MultiProcessRunnerZMQ(
        mapped(kit, count), PROCS, hwm=WINDOW
    ),
    "MultiProcessRunner": lambda kit, count: kit.MultiProcessRunner(
        mapped(kit, count), WINDOW, PROCS
    ),
    "MultiProcessMapAndBatchData": lambda kit, count: kit.MultiProcessMapAndBatchData(
        numbers(kit, count), PROCS, nothing, BATCH, WINDOW
    ),
}


def measured(kit: Any, config: Config, *, exact: bool) -> dict[str, Any]:
    """Datapoints a second through one wrapper; whether all came once is looked at."""
    count, wrapper = config["items"], config["wrapper"]
    ds = WRAPPERS[wrapper](kit, count)
    _kept.append(ds)
    ds.reset_state()
    size = BATCH if wrapper.endswith("BatchData") else 1
    seen = bytearray(count)

    def see(datapoint: Any) -> None:
        for index in datapoint[0].tolist() if size > 1 else datapoint:
            seen[index] += exact

    found = steady(
        ds,
        see,
        warm=count // 10 // size,
        stop=count // size,
        seconds=config["seconds"],
        warm_seconds=1.0,
    )
    if exact and (found["seen"] * size != sum(seen) or max(seen) > 1):
        raise RuntimeError("a datapoint came twice")
    items = found["items"] * size
    return {
        "rate": items / found["seconds"],
        "us": 1e6 * found["cpu_of_all"] / items,
        "items": items,
    }


def ours(config: Config) -> dict[str, Any]:
    import dataflow as df

    return measured(df, config, exact=True)


def theirs(config: Config) -> dict[str, Any]:
    import tensorpack.dataflow as tp

    return measured(tp, config, exact=False)


def cases(quick: bool) -> list[Case]:
    config = {"items": 4000, "seconds": 0.3} if quick else {"items": 300_000, "seconds": 4.0}
    return [
        case
        for wrapper in WRAPPERS
        for case in (
            Case(_name("dataflow", wrapper), "dataflow", "ours", config | {"wrapper": wrapper}),
            Case(
                _name("tensorpack", wrapper),
                "tensorpack",
                "theirs",
                config | {"wrapper": wrapper},
            ),
        )
    ]


def _name(kit: str, wrapper: str) -> str:
    return f"{kit}, {wrapper}"


BENCH = Bench(
    name="parallel",
    title="Parallel wrappers on datapoints of one integer",
    columns=(
        Column("rate", "datapoints/s", digits=0),
        Column("us", "µs of CPU a datapoint, in all processes"),
    ),
    cells={"ours": ours, "theirs": theirs},
    cases=cases,
    targets=tuple(
        Target(
            f"{wrapper}, times tensorpack's",
            _name("dataflow", wrapper),
            4 if wrapper == "MultiProcessMapData" else 1,
            against=_name("tensorpack", wrapper),
        )
        for wrapper in WRAPPERS
    ),
    references={_name("dataflow", wrapper): _name("tensorpack", wrapper) for wrapper in WRAPPERS},
    timeout=60.0,
    peers_may_fail=True,
)

if __name__ == "__main__":
    main(BENCH)
