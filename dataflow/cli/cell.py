"""One cell of the grid: a program that measures one configuration and says so in JSON.

It reads one line of JSON from its standard input, and writes lines of JSON to its standard output:
``{"images": n}`` as they come, at last ``{"result": …}`` or ``{"error": "…"}``. When its input
ends, nobody waits any more, and it ends, too.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import sys
import threading
import time
from typing import Any

REPORT_EVERY = 0.2  # seconds
WARM_UP = 4  # images for each transfer that runs at once
GRACE = 2.0  # seconds for an orderly end


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Measure one configuration.

    Args:
        config: ``points`` (URL or path, and label, of each image), ``files`` (whether they are
            paths), ``augment``, ``threads``, ``procs``.

    Returns:
        ``seconds``, ``images``, ``images_per_second``, ``warm_up`` in seconds, ``failures`` by
        reason, ``worker_restarts``.
    """
    from dataflow.cli.flows import first_flow

    start = time.perf_counter()
    source = first_flow(config["points"], files=config["files"])
    # The pipeline works on copies of the source, but they all read this list when an epoch begins.
    source.datapoints = points = list(config["points"])
    ds = build(source, config)
    with ds:
        # The processes start, and connections open, while a few images go through; the clock runs
        # over a whole epoch after that, from its first request to its last image.
        few = max(32, WARM_UP * config["threads"] * config["procs"])
        points[:] = config["points"][:few]
        for _ in ds:
            pass
        points[:] = config["points"]
        before = ds.stats()
        began = time.perf_counter()
        images = _count(ds)
        seconds = time.perf_counter() - began
        after = ds.stats()
    if not images:
        raise RuntimeError(f"no image came; failures: {after['errors']}")
    return {
        "images": images,
        "seconds": round(seconds, 6),
        "images_per_second": round(images / seconds, 2),
        "warm_up": round(began - start, 4),
        "failures": _difference(before["errors"], after["errors"]),
        "worker_restarts": after["worker_restarts"],
    }


def build(source: Any, config: dict[str, Any]) -> Any:
    """The pipeline over a source."""
    import dataflow as df

    ds = source.parallel(num_threads=config["threads"])
    if config["augment"]:
        ds = df.AugmentImageComponent(ds, resnet_augmentors())
    return df.PrefetchDataZMQ(ds, num_proc=config["procs"])


def resnet_augmentors() -> list[Any]:
    """The augmentation with which ResNet is usually trained on ImageNet.

    The axes and variances of `Lighting` are those published with AlexNet (Krizhevsky et al., NIPS
    2012, section 4.1), turned from RGB to BGR.
    """
    import numpy as np

    from dataflow import imgaug

    variances = np.array([0.2175, 0.0188, 0.0045])
    axes = np.array(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    return [
        imgaug.GoogleNetRandomCropAndResize(target_shape=224),
        imgaug.RandomOrderAug(
            [
                imgaug.BrightnessScale((0.6, 1.4)),
                imgaug.Contrast((0.6, 1.4), clip=False),
                imgaug.Saturation(0.4),
                imgaug.Lighting(0.1, eigval=variances[::-1] * 255, eigvec=axes[::-1, ::-1]),
            ]
        ),
        imgaug.Flip(horiz=True),
    ]


def _count(ds: Any) -> int:
    """Iterate over `ds` and report now and then how many images came."""
    images = told = 0
    next_report = time.perf_counter() + REPORT_EVERY
    for _ in ds:
        images += 1
        if (now := time.perf_counter()) > next_report:
            _say({"images": images - told})
            told = images
            next_report = now + REPORT_EVERY
    return images


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    counts = {reason: count - before.get(reason, 0) for reason, count in after.items()}
    return {reason: count for reason, count in counts.items() if count}


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def _end_with_parent() -> None:
    """Wait for the end of the input, then end: orderly if that works, at once if it does not."""
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    _thread.interrupt_main()
    time.sleep(GRACE)
    os._exit(1)


def main() -> int:
    """Read a configuration, measure, report."""
    config = json.loads(sys.stdin.buffer.readline())
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        _say({"result": measure(config)})
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    except Exception as error:  # the grid reports it and goes on
        first_line = str(error).partition("\n")[0]
        _say({"error": f"{type(error).__name__}: {first_line}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
