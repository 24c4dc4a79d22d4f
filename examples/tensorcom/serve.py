"""Serves batches of images to any number of training jobs, as serve-imagenet-dir does.

    python examples/tensorcom/serve.py -d /data/imagenet/train zpub://127.0.0.1:7880

The folder has one sub-folder a class. Batches are uint8 N×H×W×3, RGB, and int32 labels. The jobs
may use this package (train.py) or tensorcom. For more servers give a URL each: 788{0..3}.
"""

from __future__ import annotations

import argparse
import threading

import dataflow as df
from dataflow import imgaug
from dataflow.utils.braces import expand_braces


def rgb(image):
    return image[:, :, ::-1]


def serve(args: argparse.Namespace, url: str) -> None:
    ds = df.dataset.ImageFolder(args.dir, shuffle=True)
    ds = ds.augment([imgaug.GoogleNetRandomCropAndResize(target_shape=args.size)])
    ds = ds.augment([imgaug.Flip(horiz=True)]).map_component(rgb)
    with ds.prefetch(args.workers).batch(args.batch_size) as ds:
        df.serve(ds, url, epochs=None, report=args.report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="zpub://127.0.0.1:7880")
    parser.add_argument("-d", "--dir", required=True, help="one sub-folder a class")
    parser.add_argument("-b", "--batch-size", type=int, default=32)
    parser.add_argument("-s", "--size", type=int, default=224)
    parser.add_argument("-w", "--workers", type=int, default=2, help="processes of each server")
    parser.add_argument("-r", "--report", type=int, default=-1, help="after so many images")
    args = parser.parse_args()

    servers = [(args, url) for url in expand_braces(args.url)]
    for one in servers[1:]:
        threading.Thread(target=serve, args=one, daemon=True).start()
    serve(*servers[0])


main()
