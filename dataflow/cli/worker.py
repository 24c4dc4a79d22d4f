"""Work for a trainer on another machine.

FLOW is package.module:function or path/to/file.py:function, a function without arguments that
returns the same dataflow as the trainer's; modules in the current folder are found. The trainer
runs `df.PrefetchDataRemote(flow(), ADDRESS)`. Where the function's dataflow has a
PrefetchDataRemote in it, what is upstream of that counts.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from typing import Any

from dataflow.cli.arguments import count, seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("flow", metavar="FLOW", help="package.module:function or file.py:function")
    parser.add_argument(
        "address",
        metavar="ADDRESS",
        nargs="+",
        help="of the trainer, such as tcp://trainer:5555; several are served together, with N "
        "processes each",
    )
    parser.add_argument("--procs", type=count, metavar="N", help="processes (one a core)")
    parser.add_argument(
        "--threads", type=count, metavar="T", help="threads in each (as the dataflow says)"
    )
    parser.add_argument("--keys", metavar="FOLDER", help="encrypt with these (see dataflow keys)")
    parser.add_argument(
        "--server-key", metavar="KEY", help="public key of the trainer, or its file (own key)"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=5.0,
        metavar="S",
        help="a trainer that is silent for half as many seconds is taken for gone (5)",
    )
    parser.add_argument(
        "--max-message-bytes",
        type=count,
        metavar="N",
        help="of a message; a datapoint may have three quarters of it (2 GiB)",
    )
    parser.add_argument(
        "--allow-different-code",
        action="store_true",
        help="work although functions of the flow differ from the trainer's, which is told there",
    )
    parser.add_argument(
        "--stay", action="store_true", help="wait for the next trainer when one has finished"
    )


def run(args: argparse.Namespace) -> int:
    """Work, with a progress bar, until the trainer has finished."""
    from dataflow.cli.flow import load_flow

    return work(load_flow(args.flow), args)


def work(flow: Any, args: argparse.Namespace) -> int:
    """Work at a flow.

    Args:
        flow: that of the trainer.
        args: the options of this command.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from dataflow.remote.host import Host
    from dataflow.remote.setup import POOL_BYTES, Notice, options_of
    from dataflow.transport.exchange import Exchange
    from dataflow.utils.machine import usable_cores

    options = options_of(
        args.address,
        bind=False,
        keys=args.keys,
        server_key=args.server_key,
        insecure=False,
        timeout=args.timeout,
        max_message_bytes=args.max_message_bytes or POOL_BYTES,
        max_peers=1,
    )
    procs = args.procs or usable_cores()
    host = Host(
        flow,
        procs=procs,
        threads=args.threads,
        limit=options.limit,
        places=len(options.addresses),
        stay=args.stay,
        different=args.allow_different_code,
    )
    exchange = Exchange(options, host)
    host.wake = exchange.wake
    # Told to stop, it leaves in order: the trainer need not wait until it is missed.
    signal.signal(signal.SIGTERM, lambda *_: host.ended.set())
    with logging_redirect_tqdm(), contextlib.ExitStack() as stack:
        bar = stack.enter_context(tqdm(unit="datapoint", smoothing=0.1, file=sys.stderr))
        stack.callback(host.close)
        stack.callback(exchange.stop)
        exchange.start()
        missing, notice = 0.0, Notice("trainer", exchange.addresses, connects=True)
        while not host.ended.wait(0.2):
            missing = 0.0 if host.trainers else missing + 0.2
            notice(missing)
            _show(bar, host)
        _show(bar, host)
    if host.error is not None:
        raise host.error
    return 0


def _show(bar: Any, host: Any) -> None:
    found = host.tally
    where = f"for {' and '.join(host.trainers)}" if host.trainers else "waiting for a trainer"
    text = f"{found.bytes / 1e6:,.1f} MB, {host.workers} processes {where}"
    if found.failures:
        text += f", {found.failures} failed"
    if found.restarts:
        text += f", {found.restarts} processes died"
    bar.set_postfix_str(text, refresh=False)
    bar.update(found.datapoints - bar.n)
    bar.refresh()
