"""The command line: finds the subcommand, and turns errors into one line and an exit status.

A subcommand is a module of this package with a docstring, whose first line is its help, and

- ``add_arguments(parser)``, which declares its options,
- ``run(args) -> int``, which does the work and returns the exit status.

To add one, write the module and name it in `COMMANDS`. What is dear to import is imported in
``run``, so that ``dataflow --help`` answers at once.

Exit status: 0 done, 1 the work failed, 2 the command line or an input file is wrong, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from dataflow.errors import ConfigError, DataFlowError, MissingData, MissingExtra

__all__ = ["COMMANDS", "main"]

# The last word is the module's name; a word before it is a group of commands.
COMMANDS = (
    *("demo", "doctor", "download", "keys", "monitor", "send", "serve", "show", "stat", "worker"),
    "bench grid",
)
GROUPS = {"bench": "Measure this machine."}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``dataflow``; those of this process by default.

    Returns:
        The exit status.
    """
    parser = _parser()
    try:
        args, unknown = parser.parse_known_args(argv)
        if unknown:  # the subcommand's parser says so: its --help is the one to read
            args.parser.error(f"unknown: {' '.join(unknown)}")
    except SystemExit as end:  # --help, --version, a wrong option
        return end.code if isinstance(end.code, int) else 2
    if args.run is None:
        args.parser.print_help(sys.stderr)
        return 2
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the terminal shows ^C on the progress bar's line
        return 130
    except BrokenPipeError:  # such as `dataflow doctor | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (ConfigError, MissingData, MissingExtra) as error:
        return _fail(args.parser, error, 2)
    except DataFlowError as error:
        return _fail(args.parser, error, 1)
    return status


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, **kwargs: Any) -> None:
        # Shortened options would become ambiguous as commands gain new ones.
        super().__init__(allow_abbrev=False, **kwargs)
        self.set_defaults(run=None, parser=self)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Prints the version, which is looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from dataflow.cli.versions import own_version

        print(f"dataflow {own_version()}")
        parser.exit()


def _parser() -> Parser:
    parser = Parser(
        prog="dataflow", description="Image URLs to training batches, at the speed of the machine."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    places = {"": parser.add_subparsers(title="commands", metavar="COMMAND")}
    for command in COMMANDS:
        group, _, name = command.rpartition(" ")
        if group not in places:
            above = places[""].add_parser(
                group, help=GROUPS[group], description=GROUPS[group], prog=f"dataflow {group}"
            )
            places[group] = above.add_subparsers(title="commands", metavar="COMMAND")
        module = importlib.import_module(f"dataflow.cli.{name}")
        _add_command(places[group], command, name, module)
    return parser


def _add_command(place: Any, command: str, name: str, module: ModuleType) -> None:
    summary, _, more = (module.__doc__ or "").partition("\n")
    parser = place.add_parser(
        name,
        help=summary,
        description=f"{summary}\n{more}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog=f"dataflow {command}",
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run, parser=parser)


def _fail(parser: argparse.ArgumentParser, error: Exception, status: int) -> int:
    print(f"{parser.prog}: {error}", file=sys.stderr)
    return status
