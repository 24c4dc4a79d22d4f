"""Tensorcom's five programs under their own names, with their options: each is a newer command.

They say which one on standard error, and run it. What differs is in ``docs/tensorcom.md``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from dataflow.cli.main import Parser, main

__all__ = ["mon", "serve_imagenet_dir", "serve_imagenet_shards", "show", "stat"]

_URL = "zsub://127.0.0.1:7880"
_FOUR = "zsub://127.0.0.1:788{0..3}"
_SERVED = "zpub://127.0.0.1:7880"


def mon(argv: Sequence[str] | None = None) -> int:
    """``tensormon``: how fast a server sends."""
    parser = _parser("tensormon", "Watch how fast a server sends.", _URL)
    parser.add_argument("-R", "--raw", action="store_true", help="as without it")
    parser.add_argument("-r", "--report", type=int, help="is a line a second now")
    parser.add_argument("-c", "--count", type=int, help="end after so many batches")
    args = parser.parse_args(argv)
    return _run(parser, ["monitor", *args.url, *_given("--count", args.count)])


def show(argv: Sequence[str] | None = None) -> int:
    """``tensorshow``: the images that a server sends."""
    parser = _parser("tensorshow", "Show the images that a server sends.", _FOUR)
    parser.add_argument("-b", "--unbatched", action="store_true", help="single samples come")
    parser.add_argument(
        *("-m", "--mode"), choices=("imgclass", "img2img"), help="is found by itself now"
    )
    parser.add_argument("-B", "--perbatch", type=int, default=1, help="images of each batch (1)")
    parser.add_argument("-C", "--classes", help="a JSON file with names of labels")
    parser.add_argument("-t", "--timeout", type=float, help="space pauses now, any key goes on")
    parser.add_argument("--out", metavar="PNG", help="write a picture instead, and end")
    args = parser.parse_args(argv)
    options = ["--rows", "1", "--columns", str(args.perbatch)]
    options += [*_given("--out", args.out), *_given("--classes", args.classes)]
    options += ["--unbatched"] if args.unbatched else []
    return _run(parser, ["show", *args.url, *options])


def stat(argv: Sequence[str] | None = None) -> int:
    """``tensorstat``: what the numbers are that a server sends."""
    parser = _parser("tensorstat", "Tell what the numbers are that a server sends.", _URL)
    parser.add_argument("-b", "--unbatched", action="store_true", help="as without it")
    parser.add_argument("-c", "--count", type=int, default=20, help="how many batches (20)")
    parser.add_argument("-r", "--raw", action="store_true", help="as without it")
    args = parser.parse_args(argv)
    return _run(parser, ["stat", *args.url, "--count", str(args.count)])


def serve_imagenet_dir(argv: Sequence[str] | None = None) -> int:
    """``serve-imagenet-dir``: one epoch of a folder's images, cut at random."""
    parser = _serving("serve-imagenet-dir", "Serve the images of a folder for training, once.")
    parser.add_argument("-d", "--dir", default="./imagenet", help="the folder (./imagenet)")
    parser.add_argument("-w", "--workers", type=int, default=0, help="processes (one a core)")
    parser.add_argument("-P", "--parallel", type=int, default=0, help="processes, too")
    parser.add_argument("-S", "--no-shuffle", action="store_true", help="in the order of names")
    parser.add_argument("-n", "--normalize", action="store_true", help="is no more")
    args = parser.parse_args(argv)
    if args.normalize:
        parser.error(
            "--normalize sent floats, four times as many bytes: let the job do it, as in "
            "Connection(url, batch_transforms=[normalize, None])"
        )
    options = ["--imagenet-dir", args.dir, "--epochs", "1"]
    options += ["--no-shuffle"] if args.no_shuffle else []
    return _serve(parser, args, options, args.workers or args.parallel)


def serve_imagenet_shards(argv: Sequence[str] | None = None) -> int:
    """``serve-imagenet-shards``: images of tar files as they are, epoch after epoch."""
    parser = _serving("serve-imagenet-shards", "Serve the images of tar shards for training.")
    parser.add_argument("-u", "--url", required=True, metavar="TARS", help="tar files, or URLs")
    parser.add_argument("-p", "--parallel", type=int, default=0, help="processes, too")
    parser.add_argument("-S", "--shuffle", action="store_true", help="in a new order each time")
    parser.add_argument("-N", "--num-workers", type=int, default=0, help="processes (one a core)")
    args = parser.parse_args(argv)
    options = ["--shards", args.url, "--augment", "none"]
    options += [] if args.shuffle else ["--no-shuffle"]
    return _serve(parser, args, options, args.num_workers or args.parallel)


def _parser(name: str, description: str, url: str) -> Parser:
    parser = Parser(prog=name, description=description)
    parser.add_argument("url", nargs="*", metavar="URL", default=[url], help=f"({url})")
    return parser


def _serving(name: str, description: str) -> Parser:
    parser = Parser(prog=name, description=description)
    parser.add_argument("service_address", nargs="*", metavar="URL", help=f"where ({_SERVED})")
    parser.add_argument("-b", "--batch-size", type=int, default=32, help="images in a batch (32)")
    parser.add_argument("-r", "--report", type=int, help="is a progress bar now")
    parser.add_argument("-B", "--benchmark", action="store_true", help="is no more")
    return parser


def _serve(parser: Parser, args: argparse.Namespace, options: list[str], processes: int) -> int:
    if args.benchmark:
        parser.error(
            "--benchmark served one batch again and again: bench/transport.py measures that now"
        )
    urls = args.service_address or [_SERVED]
    options += ["--batch-size", str(args.batch_size)]
    return _run(parser, ["serve", *urls, *options, *_given("--procs", processes or None)])


def _given(option: str, value: object) -> list[str]:
    return [] if value is None else [option, str(value)]


def _run(parser: Parser, words: list[str]) -> int:
    print(f"{parser.prog} is `dataflow {shlex.join(words)}` now", file=sys.stderr)
    return main(words)
