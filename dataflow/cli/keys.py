"""Make a pair of keys, for encrypted connections between machines.

FOLDER gets secret.key, which only you can read, public.key, and a folder `allowed` for the public
keys of others (*.key) that may connect to you. The least that works is one folder, copied to all
machines over a safe way: `df.send(…, keys=FOLDER)` there, `df.receive(…, keys=FOLDER)` here.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where they are kept")


def run(args: argparse.Namespace) -> int:
    """Make the keys, and print the public one."""
    from dataflow.transport.keys import make_keys

    print(make_keys(args.folder).decode())
    return 0
