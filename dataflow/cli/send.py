"""Send the datapoints of a dataflow to other machines.

FLOW is package.module:function, a function without arguments that returns the dataflow; modules in
the current folder are found. Whoever receives runs `df.receive(ADDRESS)`.
"""

from __future__ import annotations

import argparse
from typing import Any

from dataflow.cli.arguments import count
from dataflow.cli.flow import load_flow
from dataflow.cli.progress import Shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("flow", metavar="FLOW", help="package.module:function")
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


def run(args: argparse.Namespace) -> int:
    """Send, with a progress bar."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from dataflow.remote.sender import Sender

    ds = load_flow(args.flow)
    epochs = None if args.forever else args.epochs
    with (
        logging_redirect_tqdm(),
        Sender(
            args.address,
            bind=args.bind,
            copies=args.copies,
            receivers=args.receivers,
            keys=args.keys,
            server_key=args.server_key,
            insecure=args.insecure,
            name=args.name,
        ) as sender,
        tqdm(total=_total(ds, epochs), unit="datapoint", smoothing=0.1) as bar,
    ):

        def tell() -> None:
            found = sender.stats()
            bar.set_postfix_str(_text(found), refresh=False)

        with Shown(ds, bar, tell) as shown:
            sender.send(shown, epochs)
        tell()
    return 0


def _total(ds: Any, epochs: int | None) -> int | None:
    try:
        return None if epochs is None else len(ds) * epochs
    except (NotImplementedError, TypeError):
        return None


def _text(found: dict[str, Any]) -> str:
    megabytes = found["bytes"] / found["seconds"] / 1e6
    behind = sum(peer["unacknowledged"] for peer in found["peers"])
    there = sum(peer["connected"] for peer in found["peers"])
    return f"{megabytes:.1f} MB/s, {behind} under way, {there} receivers"
