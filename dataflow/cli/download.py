"""Download a list of URLs into shards of images.

LIST is a table in Parquet, CSV, TSV or JSON Lines, or text with a URL a line; OUT is a folder. It
gets shards, and beside each of them a table that tells what became of each of its rows. A run that
was ended, in whatever way, is gone on with by the same command, and nothing is there twice.

    dataflow download list.parquet shards/ --url-col URL --caption-col TEXT \\
        --resize shortest --size 256

On more machines: --pool tcp://HOST:PORT here, and on each of them `dataflow download --work-for
tcp://HOST:PORT` with the same options for the images. Or --ray N, in a Ray cluster.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.cli.arguments import count, seconds

if TYPE_CHECKING:
    from dataflow.download import Settings, Summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("list", metavar="LIST", nargs="?", help="the table (quote patterns)")
    parser.add_argument("out", metavar="OUT", nargs="?", help="the folder for the shards")
    _add_list(parser.add_argument_group("the list"))
    _add_shards(parser.add_argument_group("the shards"))
    _add_images(parser.add_argument_group("the images"))
    _add_requests(parser.add_argument_group("the requests"))
    _add_machines(parser.add_argument_group("who does it"))


def _add_list(group: Any) -> None:
    group.add_argument(
        "--url-col", metavar="NAME", help="the column of addresses (the one so called)"
    )
    group.add_argument("--caption-col", metavar="NAME", help="a column that becomes KEY.txt, too")
    group.add_argument(
        "--columns", metavar="A,B", help="the columns that are carried along (all); '' for none"
    )
    group.add_argument(
        "--shuffle", metavar="SEED", type=int, help="take the rows in a random order of this seed"
    )
    group.add_argument(
        "--ordered",
        action="store_true",
        help="write them in the order of the list, or of --shuffle: slow hosts hold up others",
    )


def _add_shards(group: Any) -> None:
    group.add_argument(
        "--format",
        choices=("webdataset", "parquet", "folder"),
        default="webdataset",
        help="tar archives, tables, or folders of files (default: %(default)s)",
    )
    group.add_argument(
        "--shard-size",
        metavar="N",
        type=count,
        default=10_000,
        help="rows in a shard, failed ones included (default: %(default)s)",
    )


def _add_images(group: Any) -> None:
    group.add_argument(
        "--resize",
        choices=("no", "shortest", "border", "crop"),
        default="no",
        help="leave the files as they are served (no), make the shorter side --size pixels, fit "
        "into a white square, or cut one out (default: %(default)s)",
    )
    group.add_argument(
        "--size", metavar="N", type=count, default=256, help="(default: %(default)s)"
    )
    group.add_argument("--only-larger", action="store_true", help="never enlarge")
    group.add_argument(
        "--encode",
        choices=("jpg", "png", "webp"),
        default="jpg",
        help="what resized images become (default: %(default)s)",
    )
    group.add_argument(
        "--quality", metavar="Q", type=count, default=95, help="1 to 100 (default: %(default)s)"
    )
    group.add_argument("--white", action="store_true", help="put transparent images on white")
    group.add_argument(
        "--hash", metavar="NAME", help="a column with such a hash of the bytes, as sha256 or md5"
    )


def _add_requests(group: Any) -> None:
    group.add_argument(
        "--timeout", metavar="S", type=seconds, default=30.0, help="for one image (%(default)g)"
    )
    group.add_argument(
        "--trials", metavar="N", type=count, default=3, help="for one image (%(default)s)"
    )
    group.add_argument("--max-per-host", metavar="N", type=count, help="transfers at once")
    group.add_argument("--contact", metavar="TEXT", help="address or URL, for the User-Agent")
    group.add_argument("--user-agent", metavar="TEXT", help="another one")
    group.add_argument(
        "--respect-opt-outs",
        action="store_true",
        help="leave out what its server wants to be left out (X-Robots-Tag: noai)",
    )
    group.add_argument("--cache", metavar="DIR", help="keep what was served there, too")


def _add_machines(group: Any) -> None:
    group.add_argument(
        "--threads",
        metavar="N",
        type=count,
        default=64,
        help="transfers at once in each process (default: %(default)s)",
    )
    group.add_argument("--procs", metavar="N", type=count, help="processes (this one)")
    group.add_argument("--pool", metavar="ADDRESS", help="listen for other machines")
    group.add_argument(
        "--work-for", metavar="ADDRESS", help="be one of them; LIST and OUT are not needed"
    )
    group.add_argument("--keys", metavar="FOLDER", help="of the pool (see dataflow keys)")
    group.add_argument(
        "--server-key", metavar="KEY", help="public key of who listens, or its file (own key)"
    )
    group.add_argument("--ray", metavar="N", type=count, help="actors of a Ray cluster")


def run(args: argparse.Namespace) -> int:
    """Download, and tell how it went."""
    from dataflow.download import Settings, download_images
    from dataflow.errors import ConfigError, DataFlowError, MissingData

    settings = Settings(
        format=args.format,
        shard_size=args.shard_size,
        resize=args.resize,
        size=args.size,
        only_larger=args.only_larger,
        encoding=args.encode,
        quality=args.quality,
        white=args.white,
        hash=args.hash,
        caption=args.caption_col,
        ordered=args.ordered,
        seed=args.shuffle,
    )
    if args.work_for is not None:
        return _work(settings, args)
    if args.list is None or args.out is None:
        raise ConfigError("LIST and OUT are needed: a table of URLs, and a folder for the shards")
    try:
        summary = download_images(
            args.list,
            Path(args.out),
            args.url_col,
            _columns(args),
            settings=settings,
            threads=args.threads,
            runner=_runner(args),
            **_options(args),
        )
    except MissingData:
        raise
    except OSError as error:
        what = f"{args.out} cannot be written: {error.strerror or error}"
        raise DataFlowError(f"{what}. The same command goes on where this one ended") from error
    print(_told(summary, args.out))
    return 0 if summary.images else 1


def _columns(args: argparse.Namespace) -> list[str] | None:
    if args.columns is None:
        return None
    names = [name.strip() for name in args.columns.split(",") if name.strip()]
    caption = args.caption_col
    return names if caption is None or caption in names else [caption, *names]


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """What a `NetworkImages` is told of the requests."""
    return {
        "timeout": args.timeout,
        "max_trials": args.trials,
        "max_per_host": args.max_per_host,
        "contact": args.contact,
        "user_agent": args.user_agent,
        "respect_opt_outs": args.respect_opt_outs,
        "cache_dir": args.cache,
    }


def _runner(args: argparse.Namespace) -> Any:
    """Puts the runner on the flow that was asked for."""
    import dataflow as df
    from dataflow.errors import ConfigError

    ways = {"--pool": args.pool, "--ray": args.ray}
    asked = [name for name, value in ways.items() if value is not None]
    if len(asked) > 1:
        raise ConfigError("--pool and --ray do not go together")
    ordered = {"ordered": args.ordered}
    if args.ray is not None:
        return partial(df.PrefetchDataRay, num_actors=args.ray, **ordered)
    if args.pool is not None:
        return partial(
            df.PrefetchDataRemote,
            address=args.pool,
            num_proc=args.procs or 0,
            keys=args.keys,
            **ordered,
        )
    if (args.procs or 1) > 1:
        return partial(df.PrefetchDataZMQ, num_proc=args.procs, **ordered)
    return None


def _work(settings: Settings, args: argparse.Namespace) -> int:
    """Be a machine of a pool."""
    from dataflow.cli import worker
    from dataflow.download.pictures import Pictures

    flow = Pictures(settings, **_options(args)).parallel(args.threads)
    parser = argparse.ArgumentParser()
    worker.add_arguments(parser)
    options = parser.parse_args(["flow", args.work_for])  # with what is usual there
    options.procs, options.keys, options.server_key = args.procs, args.keys, args.server_key
    return worker.work(flow, options)


def _told(summary: Summary, out: str) -> str:
    """The figures, as text."""
    from tabulate import tabulate

    rows = [("images", f"{summary.images:,}", f"{summary.bytes / 1e6:,.1f} MB in {out}")]
    if summary.new:
        rate = summary.new / summary.seconds
        rows.append(("images/s", f"{rate:,.0f}", f"{summary.new:,} in {summary.seconds:.1f} s"))
    else:
        rows.append(("", "", "all of it was there already"))
    rows.append(("shards", f"{summary.shards:,}", ""))
    failed = summary.done - summary.images
    rows.append(("failed", f"{failed:,}", f"of {summary.done:,} rows"))
    rows += [("", f"{number:,}", reason) for reason, number in summary.reasons.most_common()]
    return str(tabulate(rows, tablefmt="plain", colalign=("left", "right", "left")))
