"""Types of options, and the options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from dataflow.errors import ConfigError

__all__ = [
    "add_input",
    "count",
    "counts",
    "milliseconds",
    "output_folder",
    "png",
    "port",
    "seconds",
]


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def counts(text: str) -> list[int]:
    """Such numbers with commas between them, sorted, each once."""
    return sorted({count(word.strip()) for word in text.split(",")})


def milliseconds(text: str) -> float:
    """A number of milliseconds from 0 to a minute."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 60_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds up to 60000")
    return value


def seconds(text: str) -> float:
    """A number of seconds above 0, up to a year."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 366 * 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def png(text: str) -> Path:
    """The path of a picture to be written."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end with .png")
    return Path(text)


def port(text: str) -> int:
    """A TCP port; 0 is any that is free."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def add_input(parser: argparse.ArgumentParser, *, images: int) -> None:
    """Declare ``--urls`` with its columns, ``--dir`` and ``--images``.

    Args:
        parser: the command's.
        images: the default of ``--images``.
    """
    places = parser.add_mutually_exclusive_group()
    places.add_argument(
        "--urls",
        metavar="FILE",
        type=Path,
        help="download these instead of drawn photos: text with a URL and an integer label a line, "
        "or a table in Parquet, CSV, TSV or JSON Lines",
    )
    places.add_argument(
        "--dir",
        metavar="DIR",
        type=Path,
        help="read files instead: a folder with one sub-folder of images a class",
    )
    parser.add_argument(
        "--url-col", metavar="NAME", help="the column of the table that has the URLs"
    )
    parser.add_argument(
        "--label-col", metavar="NAME", help="the one that has the labels, numbers or captions"
    )
    parser.add_argument(
        "--images",
        metavar="N",
        type=count,
        default=images,
        help="how many images, at most (default: %(default)s)",
    )


def output_folder(path: Path) -> Path:
    """Make the folder for the results.

    Raises:
        ConfigError: where it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to --out {path}: {error.strerror}") from error
    return path
