"""The stream of examples/streams/birds.py, beside the same work written by hand.

    python bench/streams.py [--quick] [--runs 5]

Both read, decode and resize a photo, change it in one of five ways, and invert one in ten. By hand
it is a plain Python function with the same calls of OpenCV and NumPy, and random numbers that
nobody could repeat. The clock runs from the twentieth image on.

The share of time outside of OpenCV and NumPy is measured after that, one image after the other,
with their functions timed; reading the file and the timers count as outside, too.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from harness import steady
from suite import Bench, Case, Column, Config, Target, main

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "streams"))

PHOTOS = 96
WEIGHTS = (0.3, 0.3, 0.3, 0.2, 0.2)
CALLS = ("imdecode", "resize", "addWeighted", "add", "remap", "flip", "bitwise_not")

Image = Any


# -- by hand ----------------------------------------------------------------------------------


def by_hand(
    folder: str, make: Callable[[int], Any] = np.random.default_rng
) -> Callable[[int], list[Image]]:
    """The function index → [image]; `make` makes the generator of arrays."""
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    rng, arrays = random.Random(1), make(1)

    def sample(index: int) -> list[Image]:
        with open(rng.choice(paths), "rb") as file:
            image: Image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
        image = cv2.resize(image, (160, 120))
        (way,) = rng.choices(range(5), WEIGHTS)
        if way == 0:
            image = cv2.addWeighted(image, 1, image, 0, rng.uniform(-90, 90))
        elif way == 1:
            noise = arrays.standard_normal(image.shape, np.float32)
            noise *= 255 * rng.uniform(0, 0.1)
            image = cv2.add(image, noise, dtype=cv2.CV_8U)
        elif way == 2:
            pulls = arrays.standard_normal((2, 5, 5), np.float32) * 5
            x, y = (cv2.resize(pull, (160, 120)) for pull in pulls)
            x += np.arange(160, dtype=np.float32)
            y += np.arange(120, dtype=np.float32)[:, np.newaxis]
            image = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        elif way == 3:
            across, down = rng.random() < 0.5, rng.random() < 0.5
            if across or down:
                image = cv2.flip(image, -1 if across and down else int(across))
        return [image if rng.random() < 0.9 else cv2.bitwise_not(image)]

    return sample


def bare(config: Config) -> dict[str, Any]:
    cv2.setNumThreads(1)
    found = timed(map(by_hand(config["folder"]), count()), config)

    def watched() -> Callable[[int], Any]:
        return by_hand(config["folder"], Timers(np.random.default_rng))

    return {**found, "outside": outside(watched, config)}


# -- this project -----------------------------------------------------------------------------


def ours(config: Config) -> dict[str, Any]:
    from birds import birds

    import dataflow as df

    cv2.setNumThreads(1)
    flow: Any = (stream := birds(config["folder"]).seed(1))
    if threads := config.get("threads"):
        flow = flow.parallel(num_threads=threads)
    if procs := config.get("procs"):
        flow = df.PrefetchDataZMQ(flow, procs)
    found = timed(flow, config)

    def watched() -> Callable[[int], Any]:
        from dataflow.stream.ops import noise, views

        for module in (noise, views):
            vars(module)["generator"] = Timers(module.generator)
        sampler = stream.loader()
        return lambda index: sampler((1, index))

    return {**found, "outside": outside(watched, config)}


def timed(images: Iterator[Any], config: Config) -> dict[str, Any]:
    """Images a second."""

    def see(sample: list[Image]) -> None:
        assert sample[0].shape == (120, 160, 3)

    found = steady(images, see, warm=20, stop=config["images"], seconds=config["seconds"])
    return {"rate": found["items"] / found["seconds"], "items": found["items"]}


# -- what is outside ----------------------------------------------------------------------------

inside = 0.0  # seconds in functions that are watched


def watch(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; what it takes is counted."""

    def call(*args: Any, **kwargs: Any) -> Any:
        global inside
        begun = perf_counter()
        result = function(*args, **kwargs)
        inside += perf_counter() - begun
        return result

    return call


class Timers:
    """What makes generators whose arrays are watched."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __call__(self, bits: int) -> Timers:
        self.standard_normal = watch(self.make(bits).standard_normal)
        return self


def outside(made: Callable[[], Callable[[int], Any]], config: Config) -> float:
    """Percent of the time outside of functions of OpenCV and of NumPy's generators."""
    for name in CALLS:
        setattr(cv2, name, watch(getattr(cv2, name)))
    sample, images = made(), min(config["images"], 400)
    begun = perf_counter()
    for index in range(images):
        assert len(sample(index)) == 1
    return 100 * (1 - inside / (perf_counter() - begun))


# -- the cases --------------------------------------------------------------------------------


def cases(quick: bool) -> list[Case]:
    config = {"images": 60, "seconds": 1.0} if quick else {"images": 20_000, "seconds": 6.0}
    made = [Case("by hand", "bare", "bare", config), Case("dataflow", "dataflow", "ours", config)]
    for what, name in (("threads", "thread"), ("procs", "process")):
        for number in (1, 2):
            plural = "" if number == 1 else "es" if name == "process" else "s"
            settings = {**config, what: number}
            made.append(Case(f"dataflow, {number} {name}{plural}", "dataflow", "ours", settings))
    return made


def prepare(quick: bool) -> Config:
    from dataflow.demo.photos import ensure_photos, photo_path

    root = ensure_photos(12 if quick else PHOTOS)
    return {"folder": str((root / photo_path(0)).parent)}


BENCH = Bench(
    name="streams",
    title="A stream of photos with random changes",
    columns=(
        Column("rate", "images/s", digits=0),
        Column("outside", "% outside of OpenCV and NumPy"),
    ),
    cells={"bare": bare, "ours": ours},
    cases=cases,
    targets=(
        Target("by hand", "dataflow", 0.95, against="by hand"),
        Target("two threads, times one", "dataflow, 2 threads", 1.7, against="dataflow, 1 thread"),
    ),
    references={None: "by hand"},
    prepare=prepare,
)

if __name__ == "__main__":
    main(BENCH)
