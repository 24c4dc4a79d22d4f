"""Send the datapoints of a dataflow to other machines.

FLOW is package.module:function or path/to/file.py:function, a function without arguments that
returns the dataflow; modules in the current folder are found. Whoever receives runs
`df.receive(ADDRESS)`; with --format it is tensorpack's `RemoteDataZMQ(ADDRESS)`, or ours with the
same format=.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from dataflow.cli.arguments import count
from dataflow.cli.flow import load_flow
from dataflow.cli.progress import Shown
from dataflow.errors import ConfigError

if TYPE_CHECKING:
    from dataflow.remote.sender import Sender
    from dataflow.remote.tensorpack import PushSender

_FORMATS = ("msgpack", "pickle")  # of `dataflow.remote.tensorpack`, which `--help` need not import
_NOT_THERE = ("keys", "server_key", "name", "receivers")  # options that need an answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("flow", metavar="FLOW", help="package.module:function or file.py:function")
    parser.add_argument(
        "address", metavar="ADDRESS", nargs="+", help="such as tcp://trainer:5555; one or several"
    )
    parser.add_argument("--bind", action="store_true", help="listen there; receivers connect")
    parser.add_argument("--keys", metavar="FOLDER", help="encrypt with these (see dataflow keys)")
    parser.add_argument(
        "--server-key", metavar="KEY", help="public key of the receivers, or its file (own key)"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="listen without keys where others can connect"
    )
    parser.add_argument(
        "--name", help="started again with it, the sender goes on where its receiver is"
    )
    times = parser.add_mutually_exclusive_group()
    times.add_argument("--epochs", type=count, default=1, metavar="N", help="how often (1)")
    times.add_argument("--forever", action="store_true", help="epoch after epoch, until Ctrl-C")
    parser.add_argument(
        "--copies", choices=("one", "all"), default="one", help="who gets a datapoint (one)"
    )
    parser.add_argument(
        "--receivers", type=count, metavar="N", help="wait for so many before the first datapoint"
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="on tensorpack's wire, as its receivers have it in TENSORPACK_SERIALIZE (pickle where "
        "that is not set); what breaks off is lost there",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="needed for --format pickle: its receivers run the code of whoever reaches them",
    )


def run(args: argparse.Namespace) -> int:
    """Send, with a progress bar."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    ds = load_flow(args.flow)
    epochs = None if args.forever else args.epochs
    columns = None if sys.stderr.isatty() else 0  # a file has no width to cut the text at
    with (
        logging_redirect_tqdm(),
        _sender(args) as sender,
        tqdm(total=_total(ds, epochs), unit="datapoint", smoothing=0.1, ncols=columns) as bar,
    ):

        def tell() -> None:
            found = sender.stats()
            bar.set_postfix_str(_text(found), refresh=False)

        with Shown(ds, bar, tell) as shown:
            sender.send(shown, epochs)
        tell()
    return 0


def _sender(args: argparse.Namespace) -> Sender | PushSender:
    if args.format is not None:
        return _push_sender(args)
    from dataflow.remote.sender import Sender

    return Sender(
        args.address,
        bind=args.bind,
        copies=args.copies,
        receivers=args.receivers,
        keys=args.keys,
        server_key=args.server_key,
        insecure=args.insecure,
        name=args.name,
    )


def _push_sender(args: argparse.Namespace) -> PushSender:
    from dataflow.remote.tensorpack import PushSender
    from dataflow.transport.addresses import check_addresses, is_local

    given = [name for name in _NOT_THERE if getattr(args, name) is not None]
    if given or args.copies != "one" or len(args.address) > 1:
        what = f"--{given[0].replace('_', '-')}" if given else "several addresses or --copies all"
        raise ConfigError(f"--format {args.format}: tensorpack's wire does not have {what}")
    if args.format == "pickle" and not args.allow_pickle:
        raise ConfigError(
            "--format pickle: whoever receives runs the code of whoever reaches it. Where all who "
            "can are trusted, say --allow-pickle; --format msgpack is without risk (tensorpack "
            "speaks it where TENSORPACK_SERIALIZE=msgpack is set)"
        )
    (address,) = check_addresses(args.address, bind=args.bind)
    if args.bind and not is_local(address) and not args.insecure:
        raise ConfigError(
            f"{address} would let every host that reaches it connect: there are no keys on "
            "tensorpack's wire. Bind to 127.0.0.1, or say --insecure"
        )
    return PushSender(address, format=args.format, allow_pickle=args.allow_pickle, bind=args.bind)


def _total(ds: Any, epochs: int | None) -> int | None:
    try:
        return None if epochs is None else len(ds) * epochs
    except (NotImplementedError, TypeError):
        return None


def _text(found: dict[str, Any]) -> str:
    megabytes = found["bytes"] / found["seconds"] / 1e6
    if "peers" not in found:
        return f"{megabytes:.1f} MB/s"
    behind = sum(peer["unacknowledged"] for peer in found["peers"])
    there = sum(peer["connected"] for peer in found["peers"])
    return f"{megabytes:.1f} MB/s, {behind} under way, {there} receivers"
