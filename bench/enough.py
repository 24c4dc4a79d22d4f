"""Decoding only what augmentors take: processor time an image, beside decoding everything.

    python bench/enough.py [--quick] [--runs 5] [--python PEER=PATH]

One thread. Photographs of three sizes, quality 90, made of the demo's by enlarging, with a little
noise as sensors have it; two beginnings of training's augmentation. "OpenCV" is a bare loop that
decodes everything by it; "by OpenCV" is ``decode="enough"`` without the native decoder.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from suite import Bench, Case, Column, Config, Target, main

SIZES = {"0.2 Mpx": (500, 375, 64), "1.2 Mpx": (1280, 960, 32), "12 Mpx": (4000, 3000, 6)}
CHAINS = {"random resized crop": "random", "shortest edge": "shortest"}
NATIVE, BY_OPENCV, FULL, BARE = "enough, native", "enough, by OpenCV", "full", "OpenCV, full"


def photos(quick: bool) -> Config:
    """Make the photographs, once."""
    import cv2
    import numpy as np

    from dataflow.demo.photos import ensure_photos
    from dataflow.utils.folders import cache_folder

    base = sorted(Path(ensure_photos(1000)).rglob("*.jpg"))
    root = cache_folder() / "bench-enough"
    for name, (width, height, count) in SIZES.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for at, source in enumerate(base[:count]):
            path = folder / f"{at:02}.jpg"
            if path.exists():
                continue
            image: Any = cv2.imread(str(source))
            if (image.shape[1], image.shape[0]) != (width, height):
                large = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
                noise = np.random.default_rng(at).normal(0, 1, large.shape)
                image = np.clip(large + noise, 0, 255).astype(np.uint8)
            part = path.with_suffix(".part.jpg")
            cv2.imwrite(str(part), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
            part.rename(path)
    return {"root": str(root), "seconds": 0.3 if quick else 3.0}


def measure(config: Config) -> dict[str, Any]:
    if config["how"] == BY_OPENCV:
        os.environ["DATAFLOW_NATIVE"] = "0"
    import cv2

    import dataflow as df

    cv2.setNumThreads(1)
    files = sorted(map(str, (Path(config["root"]) / config["size"]).glob("*.jpg")))
    augmentors = df.imgaug.AugmentorList(
        [df.imgaug.GoogleNetRandomCropAndResize()]
        if config["chain"] == "random"
        else [df.imgaug.ResizeShortestEdge(256), df.imgaug.CenterCrop(224)]
    )
    images = bare(files, augmentors) if config["how"] == BARE else ours(files, augmentors, config)
    for _ in files:
        next(images)
    count, begun = 0, time.process_time()
    while time.process_time() < begun + config["seconds"]:
        for _ in files:  # all of them equally often
            next(images)
            count += 1
    return {"ms": 1e3 * (time.process_time() - begun) / count}


def bare(files: list[str], augmentors: Any) -> Any:
    import cv2
    import numpy as np

    while True:
        for path in files:
            data = np.frombuffer(Path(path).read_bytes(), np.uint8)
            yield augmentors.augment(cv2.imdecode(data, cv2.IMREAD_COLOR))


def ours(files: list[str], augmentors: Any, config: Config) -> Any:
    import dataflow as df

    decode: Any = "full" if config["how"] == FULL else "enough"
    source = df.dataset.FileImages(on_error="raise", decode=decode)
    source.datapoints = [[path] for path in files]
    ds = df.AugmentImageComponent(source, augmentors)
    while True:
        for (image,) in ds:
            yield image


def cases(quick: bool) -> list[Case]:
    return [
        Case(
            f"{size}, {chain}: {how}",
            "bare" if how == BARE else "dataflow",
            "measure",
            {"size": size, "chain": short, "how": how},
        )
        for size in SIZES
        for chain, short in CHAINS.items()
        for how in (BARE, FULL, NATIVE, BY_OPENCV)
    ]


BENCH = Bench(
    name="enough",
    title="Processor time of decoding and cutting out a JPEG, by how much is decoded",
    columns=(Column("ms", "ms an image", 2),),
    cells={"measure": measure},
    cases=cases,
    targets=tuple(
        Target(f"of {BARE}", f"12 Mpx, {chain}: {how}", bound, f"12 Mpx, {chain}: {BARE}", True)
        for chain in CHAINS
        for how, bound in ((NATIVE, 1 / 6), (BY_OPENCV, 1 / 3.5))
    ),
    less_is_better=True,
    references={
        f"{size}, {chain}: {how}": f"{size}, {chain}: {BARE}"
        for size in SIZES
        for chain in CHAINS
        for how in (FULL, NATIVE, BY_OPENCV)
    },
    prepare=photos,
)

if __name__ == "__main__":
    main(BENCH)
