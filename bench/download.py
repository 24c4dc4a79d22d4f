"""A list of URLs to tar shards: `dataflow download` beside img2dataset.

    python bench/download.py [--quick] [--runs 3] [--python img2dataset=PATH]

nginx on loopback serves JPEGs of ImageNet's sizes, and such of 2 megapixels. Both write the same
shards of 1,000 from the same Parquet file: the files as they are served, or made anew with a
shortest side of 256 pixels, as JPEGs of quality 95. img2dataset does without hashes and EXIF
tables, which are there by default. What counts are images for a second of one core's time, those of
nginx left out, so that neither waiting nor the number of processes counts. Beside it stand images a
second of the whole call, with the start of its processes, and what img2dataset says itself of its
shards, without that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import cpu_of_all
from suite import Bench, Case, Column, Config, Target, main

SHARD = 1000
SIDE = 256
QUALITY = 95
LARGE = (1224, 1632)  # height and width of the large ones


def ours(config: Config, out: Path, table: Path) -> None:
    from dataflow.cli.main import main as command

    words = ["download", str(table), str(out), "--shard-size", str(SHARD)]
    words += ["--resize", config["resize"], "--size", str(SIDE), "--quality", str(QUALITY)]
    words += ["--threads", str(config["threads"]), "--procs", str(config["procs"])]
    assert command(words) == 0


def img2dataset(config: Config, out: Path, table: Path) -> None:
    from img2dataset import download

    resized = config["resize"] != "no"
    download(
        url_list=str(table),
        input_format="parquet",
        url_col="url",
        output_folder=str(out),
        output_format="webdataset",
        processes_count=config["procs"],
        thread_count=config["threads"],
        image_size=SIDE,
        resize_mode="keep_ratio" if resized else "no",
        disable_all_reencoding=not resized,
        encode_quality=QUALITY,
        number_sample_per_shard=SHARD,
        compute_hash=None,
        extract_exif=False,
        min_image_size=0,
    )


def cell(config: Config) -> dict[str, Any]:
    """Serve, download, and look whether all is there."""
    import pyarrow
    import pyarrow.parquet

    run = {"dataflow": ours, "img2dataset": img2dataset}[config["system"]]
    folder = Path(config["large" if config["large_ones"] else "small"])
    photos = sorted(path.relative_to(folder) for path in folder.rglob("*.jpg"))[: config["files"]]
    work = Path(tempfile.mkdtemp(prefix="bench-download-"))
    try:
        urls = [
            f"{config['base']}/{folder.name}/{photos[i % len(photos)]}?{i}"
            for i in range(config["images"])
        ]
        pyarrow.parquet.write_table(pyarrow.table({"url": urls}), work / "list.parquet")
        cpu, begun = cpu_of_all(), time.perf_counter()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            run(config, work / "out", work / "list.parquet")
        seconds, cpu = time.perf_counter() - begun, cpu_of_all() - cpu
        images = check(work / "out", resized=config["resize"] != "no")
        assert images == config["images"], (images, config["images"])
        told = [json.loads(path.read_text()) for path in (work / "out").glob("*_stats.json")]
        of_shards = sum(one.get("duration", 0.0) for one in told)
        own = {"own": images / of_shards * config["procs"]} if of_shards else {}
        return {"per_core": images / cpu, "whole": images / seconds, **own}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check(out: Path, *, resized: bool) -> int:
    """How many images the shards have; some of them are looked at."""
    import cv2
    import numpy as np

    images = 0
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            for number, member in enumerate(tar):
                if not member.name.endswith(".jpg"):
                    continue
                images += 1
                if number < 30:
                    file = tar.extractfile(member)
                    assert file is not None
                    image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
                    assert image is not None
                    assert not resized or min(image.shape[:2]) == SIDE, image.shape
    return images


# -- the whole --------------------------------------------------------------------------------


def prepare(quick: bool) -> Config:
    """Draw the photos, make the large ones of some, and serve both."""
    import atexit

    import cv2
    from nginx import serve

    from dataflow.demo.photos import ensure_photos, photo_path

    count = 20 if quick else 1000
    small = ensure_photos(count)
    root = Path(tempfile.mkdtemp(prefix="bench-photos-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    root.chmod(0o755)
    (root / "small").symlink_to(small)
    (root / "large").mkdir()
    for number in range(count // 5):
        image: Any = cv2.imread(str(small / photo_path(number)))
        if image.shape[0] > image.shape[1]:
            image = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
        image = cv2.resize(image, LARGE[::-1], interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "large" / f"{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    server = serve(root)
    base = server.__enter__()
    atexit.register(server.__exit__, None, None, None)
    return {
        "base": base,
        "small": str(root / "small"),
        "large": str(root / "large"),
        "files": count,
    }


def cases(quick: bool) -> list[Case]:
    found = []
    for large in (False, True):
        for resize in ("no", "shortest"):
            size = "2 megapixels" if large else "ImageNet's sizes"
            what = "as served" if resize == "no" else f"shortest side {SIDE}"
            images = 200 if quick else (3000 if large else 6000)
            config = {"large_ones": large, "resize": resize, "images": images}
            own = [{"procs": 1, "threads": 64}]  # as it is by default
            peer = [{"procs": p, "threads": t} for p, t in ((2, 64), (3, 32))]
            for system, ways in (("dataflow", own), ("img2dataset", peer)):
                whole = {**config, "system": system}
                trial = {"images": 200 if quick else images // 2}
                settings = tuple(ways[-1:] if quick else ways)
                name = f"{system}, {size}, {what}"
                found.append(Case(name, system, "cell", whole, settings, trial))
    return found


def targets() -> tuple[Target, ...]:
    found = []
    for size in ("ImageNet's sizes", "2 megapixels"):
        for what, bound in (("as served", 4.0), (f"shortest side {SIDE}", 3.0)):
            one, other = (f"{system}, {size}, {what}" for system in ("dataflow", "img2dataset"))
            found.append(Target(f"of img2dataset, {size}, {what}", one, bound, other))
    return tuple(found)


BENCH = Bench(
    name="download",
    title="images a second from URLs into tar shards",
    columns=(
        Column("per_core", "images/s and core", 0),
        Column("whole", "images/s of the whole call", 0),
        Column("own", "images/s by its own figure", 0),
    ),
    cells={"cell": cell},
    cases=cases,
    targets=targets(),
    prepare=prepare,
    timeout=300,
)

if __name__ == "__main__":
    main(BENCH)
