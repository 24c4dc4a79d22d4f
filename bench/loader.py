"""PyTorch's data sets through its own DataLoader and through dataflow's.

    python bench/loader.py [--quick] [--runs 5] [--python torch=PATH]

Both get the same arguments. The JPEGs are those of `bench/files.py`, decoded, cut at random to 224
and flipped, in batches of 64; the tensors have 150 kB each, which an item only copies, in batches
of 64 (9.6 MB) and one by one. A few runs with 1, 2 and 3 workers decide which are measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from files import Files, one_thread, paths_of, photos
from harness import steady
from suite import Bench, Case, Column, Config, Target, main

SIDES = (3, 100, 125)  # of float32: 150 kB


class Tensors:
    """Items that are tensors, and cost their copying."""

    def __init__(self, size: int) -> None:
        import torch

        self._size = size
        self._tensor = torch.zeros(SIDES)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Any:
        return self._tensor.clone(), index


def timed(loader: Iterable[Any], config: Config) -> dict[str, Any]:
    """Items a second, once it flows."""
    import torch

    torch.set_num_threads(1)
    labels: list[int] = []

    def see(batch: Any) -> None:
        labels.extend(torch.as_tensor(batch[1]).reshape(-1).tolist())

    each = config["batch"] or 1
    stop = config["items"] // each - 4
    found = steady(loader, see, warm=max(1, stop // 6), stop=stop, warm_seconds=5, seconds=20)
    if labels != sorted(set(labels)):
        raise RuntimeError("an item came twice, or not in its place")
    return {"rate": found["items"] * each / found["seconds"]}


def run(config: Config, loader: Any) -> dict[str, Any]:
    jpegs = config["of"] == "JPEGs"
    dataset: Any = Files(paths_of({**config, "images": config["items"]})) if jpegs else None
    return timed(
        loader(
            dataset or Tensors(config["items"]),
            batch_size=config["batch"],
            num_workers=config["workers"],
            worker_init_fn=one_thread,
        ),
        config,
    )


def ours(config: Config) -> dict[str, Any]:
    from dataflow.adapters.torch import DataLoader

    return run(config, DataLoader)


def theirs(config: Config) -> dict[str, Any]:
    from torch.utils.data import DataLoader

    return run(config, DataLoader)


WORK = {
    "JPEG files, batches of 64": ({"of": "JPEGs", "batch": 64}, 4800, 1.2),
    "tensors, batches of 9.6 MB": ({"of": "tensors", "batch": 64}, 64_000, 1.2),
    "tensors of 150 kB, one by one": ({"of": "tensors", "batch": None}, 12_000, 2.0),
}


def cases(quick: bool) -> list[Case]:
    found = []
    for name, (config, items, _) in WORK.items():
        items = min(items, 640) if quick else items
        counts = (2,) if quick else (1, 2, 3)
        settings = tuple({"workers": count} for count in counts)
        whole, trial = {**config, "items": items}, {"items": items if quick else items // 2}
        found += [
            Case(f"dataflow, {name}", "dataflow", "ours", whole, settings, trial),
            Case(f"torch, {name}", "torch", "theirs", whole, settings, trial),
        ]
    return found


BENCH = Bench(
    name="loader",
    title="PyTorch's data sets, through its DataLoader and through this one",
    columns=(Column("rate", "items/s", 0),),
    cells={"ours": ours, "theirs": theirs},
    cases=cases,
    targets=tuple(
        Target(f"of torch's, {name}", f"dataflow, {name}", bound, f"torch, {name}")
        for name, (_, _, bound) in WORK.items()
    ),
    references={
        case: f"torch, {name}" for name in WORK for case in (f"dataflow, {name}", f"torch, {name}")
    },
    prepare=photos,
)

if __name__ == "__main__":
    main(BENCH)
