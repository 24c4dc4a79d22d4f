"""How long a PyTorch training loop is kept waiting for its batches: a step takes 5 ms.

    python bench/frameworks.py [--quick] [--runs 5] [--python torch=PATH]

The files, their decoding and the random parts are those of `bench/files.py`, in small batches. A
step computes on one core for 5 ms, or, as with a GPU, it only waits that long. Where a system has
settings, a few runs of each decide which of them is measured; so does how long it waits. The limit
is a loop whose batches are there already.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from files import Files, one_thread, paths_of, photos
from images import SHAPE
from suite import Bench, Case, Column, Config, Target, main

STEP = 0.005  # seconds


def trained(batches: Iterable[Any], config: Config) -> dict[str, Any]:
    """Train on batches of [images, labels], as tensors, and see how long the loop waits."""
    import torch

    torch.set_num_threads(1)
    weights = torch.zeros(3, requires_grad=True)
    matrix = torch.eye(64)
    iterator = iter(batches)
    labels: list[int] = []
    waited, begun, number = 0.0, time.perf_counter(), 0
    first = config["steps"] // 6
    while number < config["steps"]:
        if number == first:  # those before were the warm-up
            waited, begun = 0.0, time.perf_counter()
        asked = time.perf_counter()
        images, numbers = next(iterator)
        came = time.perf_counter()
        waited += came - asked
        assert tuple(images.shape[1:]) == SHAPE, images.shape
        labels.extend(numbers.tolist())
        (images[:, ::16, ::16].float().mean((0, 1, 2)) * weights).sum().backward()  # type: ignore[no-untyped-call]
        if config["step"] == "computes":
            while time.perf_counter() < came + STEP:
                matrix @ matrix
        else:
            time.sleep(max(0.0, came + STEP - time.perf_counter()))
        number += 1
    seconds = time.perf_counter() - begun
    if len(set(labels)) != len(labels):
        raise RuntimeError("an image came twice")
    return {"waiting": 100 * waited / seconds, "rate": (number - first) / seconds}


def bare(config: Config) -> dict[str, Any]:
    """The batches are in memory."""
    import torch

    def there() -> Iterator[Any]:
        images = torch.zeros((config["batch"], *SHAPE), dtype=torch.uint8)
        for number in range(config["steps"]):
            first = number * config["batch"]
            yield images, torch.arange(first, first + config["batch"])

    return trained(there(), config)


def ours(config: Config) -> dict[str, Any]:
    import dataflow as df
    from dataflow.adapters.torch import to_device

    source = df.dataset.FileImages(on_error="raise")
    source.datapoints = paths_of(config)
    ds: Any = source.augment([df.imgaug.GoogleNetRandomCropAndResize(), df.imgaug.Flip(horiz=True)])
    if config["procs"]:
        ds = ds.batch(config["batch"]).prefetch(config["procs"])
    else:
        from dataflow.engine.runners import ThreadRunner

        one_thread()
        ds = ThreadRunner(ds, config["threads"]).batch(config["batch"])
    with ds:
        return trained(to_device(ds, "cpu"), config)


def torch_loader(config: Config) -> dict[str, Any]:
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        Files(paths_of(config)),
        batch_size=config["batch"],
        num_workers=config["procs"],
        prefetch_factor=config["ahead"],
        worker_init_fn=one_thread,
        drop_last=True,
    )
    return trained(loader, config)


def cases(quick: bool) -> list[Case]:
    steps, tried = (60, 60) if quick else (1200, 400)
    own = [{"procs": 1}, {"procs": 2}, {"procs": 0, "threads": 1}, {"procs": 0, "threads": 2}]
    theirs = [{"procs": procs, "ahead": ahead} for procs in (1, 2, 3) for ahead in (2, 8)]
    if quick:
        own, theirs = own[:1], theirs[:1]
    found = []
    for step, batch in (("computes", 2), ("waits", 4)):
        config = {"step": step, "batch": batch, "steps": steps, "images": batch * (steps + 40)}
        trial = {"steps": tried, "images": batch * (tried + 40)}
        name = f"batches of {batch}, a step that {step}"
        found += [
            Case(f"in memory, {name}", "bare", "bare", config),
            Case(f"dataflow, {name}", "dataflow", "ours", config, tuple(own), trial),
            Case(f"torch DataLoader, {name}", "torch", "torch", config, tuple(theirs), trial),
        ]
    return found


NAMES = ("batches of 2, a step that computes", "batches of 4, a step that waits")

BENCH = Bench(
    name="frameworks",
    title="a PyTorch training loop over JPEG files, whose step takes 5 ms",
    columns=(
        Column("waiting", "% of the time that the loop waits for batches", 2),
        Column("rate", "steps/s", 1),
    ),
    less_is_better=True,
    cells={"bare": bare, "ours": ours, "torch": torch_loader},
    cases=cases,
    targets=tuple(
        Target(f"of torch's, {name}", f"dataflow, {name}", 1, f"torch DataLoader, {name}", True)
        for name in NAMES
    ),
    references={
        case: f"torch DataLoader, {name}"
        for name in NAMES
        for case in (f"dataflow, {name}", f"torch DataLoader, {name}", f"in memory, {name}")
    },
    prepare=photos,
)

if __name__ == "__main__":
    main(BENCH)
