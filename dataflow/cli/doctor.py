"""Print what one would paste into a bug report, and check what the package needs.

Versions, cores, limits, features of libcurl and OpenCV, and whether sockets and shared memory
work. It holds nothing personal. The exit status is 1 where a check fails.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator

Section = Callable[[], Iterator[tuple[str, str]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--host", action="store_true", help="print the machine's name, too")


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    from dataflow.cli.checks import CHECKS

    if args.host:
        _print("host", platform.node())
    for title, section in _sections():
        print(f"{title}")
        for name, value in section():
            _print(name, value)
        print(flush=True)
    print("checks")
    failed = 0
    for name, check in CHECKS:
        try:
            _print(name, f"ok    {check() or ''}".rstrip())
        except Exception as error:  # whatever it is, is the finding
            failed += 1
            _print(name, f"FAIL  {type(error).__name__}: {error}".replace("\n", " "))
    if failed:
        print(f"\n{failed} of {len(CHECKS)} checks failed")
    return 1 if failed else 0


def _print(name: str, value: str) -> None:
    print(f"  {name:<18}{value}", flush=True)


def _sections() -> list[tuple[str, Section]]:
    from dataflow.cli import features

    return [
        ("versions", _versions),
        ("machine", features.machine),
        ("libcurl", features.libcurl),
        ("opencv", features.opencv),
        ("extras", features.extras),
    ]


def _versions() -> Iterator[tuple[str, str]]:
    from dataflow.cli.versions import commit, versions

    yield "platform", platform.platform()
    for name, value in versions().items():
        if name == "python":
            value += f" ({platform.python_implementation()})"
        if name == "dataflow" and (source := commit()):
            value += f" (commit {source})"
        if name == "pyzmq":
            value += _libzmq()
        yield name, value
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        yield "gil", "off"


def _libzmq() -> str:
    try:
        import zmq
    except ImportError as error:
        return f" (cannot be imported: {error})"
    return f" (libzmq {zmq.zmq_version()}, curve {'yes' if zmq.has('curve') else 'no'})"
