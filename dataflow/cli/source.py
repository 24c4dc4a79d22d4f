"""Where the images of a command come from: a list of URLs, a folder, or drawn photos."""

from __future__ import annotations

import argparse
import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Input", "open_input"]

Points: TypeAlias = Sequence[Sequence[Any]]

DRAWN = 500  # different photos; a run over more sees them again under other URLs


@dataclass(frozen=True)
class Input:
    """The images of one run.

    Attributes:
        title: what they are, for a person.
        identity: what they are, for a comparison with an earlier run.
        points: URL or path, and label, of each.
        files: whether they are paths.
        classes: names of the labels, where they have names.
    """

    title: str
    identity: str
    points: Points
    files: bool = False
    classes: Sequence[str] | None = None


@contextlib.contextmanager
def open_input(args: argparse.Namespace, *, latency: float) -> Iterator[Input]:
    """The images that ``--urls``, ``--dir`` and ``--images`` ask for.

    Args:
        args: the parsed command line.
        latency: seconds that the embedded server waits before it answers, where it is used.

    Yields:
        The input, with its server running as long as the block.
    """
    if args.urls is not None:
        from dataflow.cli.urls import read_points

        points = _sample(read_points(args.urls, args.url_col, args.label_col), args.images)
        title = f"{len(points)} images from the URLs in {args.urls}"
        yield Input(title, identity=f"urls {_digest(points)}", points=points)
    elif args.dir is not None:
        from dataflow.dataset import ImageFolder

        folder = ImageFolder(args.dir)
        points = _sample(folder.datapoints, args.images)
        title = f"{len(points)} images in the {len(folder.classes)} classes of {args.dir}"
        identity = f"files {_digest(points)}"
        yield Input(title, identity, points, files=True, classes=folder.classes)
    else:
        from dataflow.demo.photos import CLASSES, ensure_photos, label_of, photo_path
        from dataflow.demo.server import serve

        different = min(args.images, DRAWN)
        with serve(ensure_photos(different), latency=latency) as base:
            points = [
                (f"{base}/{photo_path(i % DRAWN)}{_again(i // DRAWN)}", label_of(i % DRAWN))
                for i in range(args.images)
            ]
            waits = f"with {latency * 1000:g} ms of latency"
            yield Input(
                title=f"{different} drawn photos, from a web server on this machine {waits}",
                identity=f"drawn {different} {waits}",
                points=points,
                classes=CLASSES,
            )


def _again(times: int) -> str:
    return f"?{times}" if times else ""


def _sample(points: Points, most: int) -> Points:
    """Lists are often sorted by class, so a part is drawn from all over; always the same one."""
    if len(points) <= most:
        return points
    kept = sorted(random.Random(0).sample(range(len(points)), most))
    return [points[index] for index in kept]


def _digest(points: Points) -> str:
    import hashlib

    return hashlib.sha256(repr(points).encode()).hexdigest()[:16]
