"""Serve training batches to any number of jobs.

What is served are images of a folder, those of tar shards, or what a function of yours returns.
Batches of images are [images, labels]: uint8 N×H×W×3, RGB, and int32. Broken images are left out.

To programs that use tensorcom, or df.Connection: zpub://HOST:PORT, where each batch goes to all who
listen; or zpush://HOST:PORT, to one of them. Of several zpub URLs, as 'zpub://127.0.0.1:788{0..3}',
each gets its share: who listens to all of them gets everything once. Nobody can be kept out.

To df.receive(URL, bind=False): tcp://HOST:PORT, where each gets every batch and none is lost. There
--keys encrypts, and keeps others out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from dataflow.cli.arguments import count
from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError, DataFlowError
from dataflow.flow import DataFlow
from dataflow.kinds import ProxyDataFlow

URL = "zpub://127.0.0.1:7880"
BATCH, SIZE = 32, 224


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("url", metavar="URL", nargs="*", help=f"where; one or several ({URL})")
    what = parser.add_argument_group("what").add_mutually_exclusive_group(required=True)
    what.add_argument(
        *("-d", "--imagenet-dir"),
        metavar="DIR",
        type=Path,
        help="images, in one sub-folder a class; or the folder that has these in train",
    )
    what.add_argument(
        "--shards",
        metavar="TARS",
        action="append",
        help="tar files of a WebDataset, or their URLs: 'train-{000..146}.tar'; also several times",
    )
    what.add_argument(
        "--pipeline",
        metavar="FLOW",
        help="package.module:function or file.py:function that returns a dataflow",
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        *("-b", "--batch-size"),
        metavar="N",
        type=count,
        help=f"datapoints in a batch ({BATCH}; of a FLOW: as they come)",
    )
    how.add_argument(
        "--augment",
        choices=("train", "center", "none"),
        help="random crop and flip, the middle, or as they are, then of one size (train)",
    )
    how.add_argument("--size", type=count, metavar="N", help=f"pixels, of both sides ({SIZE})")
    how.add_argument("--no-shuffle", action="store_true", help="in the order of their names")
    how.add_argument("--seed", type=int, metavar="N", help="the same order and crops each time")
    how.add_argument(
        "--procs", type=count, metavar="N", help="processes (one a core; of a FLOW: this one)"
    )
    how.add_argument("--threads", type=count, default=1, metavar="T", help="in each of them (1)")
    how.add_argument("--epochs", type=count, metavar="N", help="how often (until Ctrl-C)")
    how.add_argument("--cache", metavar="DIR", type=Path, help="where downloaded shards are kept")
    how.add_argument("--allow64", action="store_true", help="64-bit arrays to zpub and zpush, too")
    who = parser.add_argument_group("to whom")
    who.add_argument("--keys", metavar="FOLDER", help="encrypt with these (see dataflow keys)")
    who.add_argument(
        "--insecure", action="store_true", help="listen without keys where others can connect"
    )
    who.add_argument(
        "--receivers", type=count, metavar="N", help="at tcp: wait for so many before the first (1)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve, with a progress bar."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from dataflow.cli.progress import Shown
    from dataflow.cli.sinks import open_sink

    _check(args)
    with logging_redirect_tqdm(), ExitStack() as stack:
        sink = stack.enter_context(closing(open_sink(args.url or [URL], args)))
        served = _served(args)
        ds = stack.enter_context(closing(served.ds))
        if args.seed is not None:
            ds.seed(args.seed)
        total = served.size * args.epochs if served.size and args.epochs else None
        print(f"{served.title} on {', '.join(sink.addresses)}", file=sys.stderr, flush=True)
        bar = stack.enter_context(tqdm(total=total, unit=served.unit, smoothing=0.1))

        def tell() -> None:
            lost = sum(ds.stats()["errors"].values())
            bar.set_postfix_str(sink.text() + (f", {lost} left out" if lost else ""), refresh=False)

        try:
            sink.send(Shown(ds, bar, tell, served.samples), args.epochs)
        except ValueError as error:
            if isinstance(error, DataFlowError) or args.augment != "none":
                raise
            raise ConfigError(f"--augment none is for images of one size: {error}") from error
        finally:
            tell()  # also of what Ctrl-C ended
    return 0


class _Served(NamedTuple):
    """What is to be served.

    Attributes:
        ds: the dataflow.
        title: what it is, for a person.
        size: samples in an epoch; None where that is not known.
        unit: what a sample is called.
        samples: how many a datapoint has.
    """

    ds: DataFlow
    title: str
    size: int | None
    unit: str
    samples: Callable[[Datapoint], int]


def _served(args: argparse.Namespace) -> _Served:
    from dataflow.cli import batches

    workers = {"threads": args.threads, "procs": args.procs, "batch": args.batch_size}
    if args.pipeline is not None:
        from dataflow.cli.flow import load_flow

        ds = batches.in_parallel(load_flow(args.pipeline), **workers)
        return _Served(ProxyDataFlow(ds), args.pipeline, _length(ds), " datapoints", _one)
    from dataflow.utils.machine import usable_cores

    source: Any
    if args.shards is not None:
        source = batches.shard_images(args.shards, shuffle=not args.no_shuffle, cache=args.cache)
        where = f"{len(source.urls)} shards"
    else:
        source = batches.folder_images(args.imagenet_dir, shuffle=not args.no_shuffle)
        where = f"{len(source.classes)} classes"
    ds = batches.augmented(source, args.augment or "train", args.size or SIZE)
    workers["procs"] = workers["procs"] or usable_cores()
    workers["batch"] = workers["batch"] or BATCH
    ds = batches.in_parallel(ds, **workers)
    return _Served(ds, f"{len(source)} images of {where}", len(source), " images", _images)


def _check(args: argparse.Namespace) -> None:
    """Raise where an option has nothing to do with what is served."""
    given = {
        "--augment": args.augment is not None,
        "--size": args.size is not None,
        "--no-shuffle": args.no_shuffle,
    }
    if args.pipeline is not None and (wrong := [name for name in given if given[name]]):
        raise ConfigError(f"{', '.join(wrong)}: not with --pipeline, whose function decides that")
    if args.shards is None and args.cache is not None:
        raise ConfigError(f"--cache {args.cache} is for --shards")


def _length(ds: Any) -> int | None:
    try:
        return len(ds)
    except (NotImplementedError, TypeError):
        return None


def _images(batch: Datapoint) -> int:
    return len(batch[0])


def _one(datapoint: Datapoint) -> int:
    return 1
