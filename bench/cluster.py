"""On a Ray cluster: URLs and files to images by `PrefetchDataRay`, beside Ray Data on the same one.

    python bench/cluster.py [--quick] [--runs 3]

A Ray of two CPUs on this machine. URLs are served by nginx on loopback, files lie in a folder:
JPEGs of ImageNet's size mix, all decoded. Ray Data does it by its own `download` and `read_images`.
The clock runs once images flow.

Then what an image costs the trainer, whose loop it is, with 1 to 64 actors that have little to do:
milliseconds of processor time of its process alone.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness import steady
from images import SHAPE, from_memory
from suite import Bench, Case, Column, Config, Target, main
from urls import decode

from dataflow.demo.photos import photo_path

PHOTOS = 500
CPUS = 2
TRANSFERS = 32


def timed(images: Iterable[Any], config: Config) -> dict[str, Any]:
    """Images a second, once they flow; and what they cost the process that takes them."""
    count = config["images"]

    def see(image: Any) -> None:
        assert image.ndim == 3, image.shape

    warm = count // 6
    found = steady(images, see, warm=warm, stop=count - 100, warm_seconds=10, seconds=25)
    return {
        "rate": found["items"] / found["seconds"],
        "trainer": 1e3 * found["cpu_seconds"] / found["items"],
    }


def begin(cpus: int = CPUS) -> Any:
    """Start a Ray on this machine."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_TMPDIR", "/tmp")
    ray.init(
        "local",
        num_cpus=cpus,
        include_dashboard=False,
        logging_level=logging.ERROR,
        object_store_memory=2 << 30,
    )
    return ray


def urls_of(config: Config) -> list[str]:
    base, photos = config["base"], config["photos"]
    return [f"{base}/{photo_path(i % photos)}?{i}" for i in range(config["images"])]


def files_of(config: Config) -> list[str]:
    folder = Path(config["folder"])
    return [str(folder / photo_path(i % config["photos"])) for i in range(config["images"])]


def _read(datapoint: list[Any]) -> list[Any]:
    return [decode(Path(datapoint[0]).read_bytes()), datapoint[1]]


# -- this project -----------------------------------------------------------------------------


def ours(config: Config) -> dict[str, Any]:
    """URLs or files through actors."""
    import dataflow as df

    begin()
    ds: Any
    if config["from"] == "urls":
        ds = df.dataset.NetworkImages(shuffle=True)
        ds.datapoints = [[url, 0] for url in urls_of(config)]
        ds = ds.parallel(num_threads=TRANSFERS // config["actors"])
    else:
        ds = df.DataFromList([[path, 0] for path in files_of(config)], shuffle=True).map(_read)
    with df.PrefetchDataRay(ds, config["actors"]) as ds:
        return timed((image for image, _ in ds), config)


def trainer(config: Config) -> dict[str, Any]:
    """Images that cost their actors next to nothing."""
    import dataflow as df

    begin(max(CPUS, config["actors"]))
    ds: Any = df.DataFromList([[i] for i in range(config["images"])], shuffle=False)
    with df.PrefetchDataRay(ds.map(from_memory), config["actors"]) as ds:

        def images() -> Iterator[Any]:
            for image, _ in ds:
                assert image.shape == SHAPE
                yield image

        return timed(images(), config)


# -- Ray Data ---------------------------------------------------------------------------------


def ray_data(config: Config) -> dict[str, Any]:
    """Its own download, or reader of images."""
    ray = begin()
    ray.data.DataContext.get_current().enable_progress_bars = False
    if config["from"] == "urls":
        from ray.data.expressions import download

        rows = ray.data.from_items([{"url": url} for url in urls_of(config)])
        made = rows.with_column("bytes", download("url"))
        made = made.map(lambda row: {"image": decode(row["bytes"])})
    else:
        made = ray.data.read_images(files_of(config), mode="RGB")
    return timed((row["image"] for row in made.iter_rows()), config)


# -- the whole --------------------------------------------------------------------------------


def prepare(quick: bool) -> Config:
    """Draw the photos, and serve them."""
    from nginx import serve

    from dataflow.demo.photos import ensure_photos

    count = 50 if quick else PHOTOS
    folder = ensure_photos(count)
    server = serve(folder, 0.0)
    base = server.__enter__()
    atexit.register(server.__exit__, None, None, None)
    return {"photos": count, "folder": str(folder), "base": base}


def cases(quick: bool) -> list[Case]:
    images = 600 if quick else 6000
    found = []
    for kind in ("urls", "files"):
        config = {"images": images, "from": kind}
        for actors in (1, 2):
            one = {**config, "actors": actors}
            found.append(Case(f"{kind}, dataflow, {actors} actors", "dataflow", "ours", one))
        found.append(Case(f"{kind}, Ray Data", "ray", "ray_data", config))
    for actors in (2,) if quick else (1, 8, 64):
        one = {"images": 20 * images, "actors": actors}
        found.append(Case(f"from memory, {actors} actors", "dataflow", "trainer", one))
    return found


BENCH = Bench(
    name="cluster",
    title="images a second on a Ray cluster of two CPUs",
    columns=(
        Column("rate", "images/s", 0),
        Column("trainer", "ms of the trainer's processor time an image", 3),
    ),
    cells={"ours": ours, "trainer": trainer, "ray_data": ray_data},
    cases=cases,
    targets=tuple(
        Target("of Ray Data", f"{kind}, dataflow, 2 actors", 5, f"{kind}, Ray Data")
        for kind in ("urls", "files")
    ),
    prepare=prepare,
    timeout=300,
    peers_may_fail=True,
)

if __name__ == "__main__":
    main(BENCH)
