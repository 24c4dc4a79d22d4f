"""Show the images that a server sends, with their labels.

In a window where there is a display (space: pause, any key: go on, q: end), or as a PNG with
--out. Components that look like images are shown, side by side where there are several, such as an
input and its target; the others become the labels. Images of Tensorcom's URLs are taken for RGB,
those of tcp:// and ipc:// for BGR. A zsub:// or zrsub:// only listens along; from all other URLs it
takes datapoints that a trainer would have got. Succeeds Tensorcom's tensorshow.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.cli.arguments import count, png
from dataflow.cli.listen import add_listening, add_unbatched

if TYPE_CHECKING:
    from dataflow.cli.cells import Sheet
    from dataflow.image.view import Window

TITLE = "dataflow show"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_listening(parser, timeout=30)
    add_unbatched(parser)
    parser.add_argument("--out", type=png, metavar="PNG", help="write a picture, and end")
    parser.add_argument(
        "-c", "--count", type=count, metavar="N", help="how many sheets (1 with --out; numbered)"
    )
    parser.add_argument("--every", type=count, default=1, metavar="N", help="only each Nth (1)")
    parser.add_argument(
        "--rows", type=count, default=4, metavar="N", help="of a sheet, at most (%(default)s)"
    )
    parser.add_argument(
        "--columns", type=count, metavar="N", help="of it, at most (8; 4 of pairs of images)"
    )
    parser.add_argument(
        "--size", type=_size, default=112, metavar="PIXELS", help="an image's side (%(default)s)"
    )
    order = parser.add_mutually_exclusive_group()
    for name, first in (("rgb", "red"), ("bgr", "blue")):
        told = f"the first channel is {first}"
        order.add_argument(f"--{name}", action="store_const", const=name, dest="order", help=told)
    parser.add_argument(
        "--classes", type=Path, metavar="JSON", help="names of labels: a list, or an object"
    )


def _size(text: str) -> int:
    if not 16 <= (size := count(text)) <= 4096:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 16 to 4096")
    return size


def run(args: argparse.Namespace) -> int:
    """Show sheet after sheet."""
    import sys

    from dataflow.cli.cells import NoImages

    classes = _classes(args.classes)
    window = None if args.out is not None else _window()
    limit = args.count or (1 if args.out is not None else None)
    shown = 0
    try:
        with closing(_sheets(args, classes)) as sheets:
            for sheet in sheets:
                shown += 1
                if window is None:
                    path = args.out
                    if limit != 1:
                        path = path.with_stem(f"{path.stem}-{shown}")
                    _write(sheet, args, path)
                    print(f"{path}: {sheet.told()}", flush=True)
                else:
                    print(sheet.told(), flush=True)
                    window.show(sheet.picture(size=args.size))
                    if not _go_on(window):
                        break
                if shown == limit:
                    break
    except NoImages as error:
        print(f"{args.parser.prog}: {error}", file=sys.stderr)
        return 1
    finally:
        if window is not None:
            window.close()
    if not shown:
        print(f"{args.parser.prog}: the senders ended before any datapoint came", file=sys.stderr)
    return 0 if shown else 1


def _sheets(args: argparse.Namespace, classes: Mapping[str, str]) -> Generator[Sheet, None, None]:
    """Each batch is one; single datapoints fill one together."""
    from dataflow.cli.cells import Sheet
    from dataflow.cli.listen import datapoints
    from dataflow.errors import PeerTimeout

    sheet = Sheet(args.rows, args.columns, classes)
    silence: PeerTimeout | None = None
    with closing(datapoints(args)) as stream:
        try:
            for number, heard in enumerate(stream):
                if number % args.every:
                    continue
                rgb = (args.order or ("rgb" if heard.source.foreign else "bgr")) == "rgb"
                batch = sheet.add(heard.datapoint, heard.infos, rgb=rgb, unbatched=args.unbatched)
                if batch or sheet.full:
                    yield sheet
                    sheet = Sheet(args.rows, args.columns, classes)
        except PeerTimeout as error:
            silence = error
    if sheet.cells:
        yield sheet
    if silence is not None:
        raise silence


def _write(sheet: Sheet, args: argparse.Namespace, path: Path) -> None:
    from dataflow.errors import ConfigError
    from dataflow.image.sheet import write_png

    picture = sheet.picture(size=args.size)
    try:
        write_png(path, picture)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def _window() -> Window:
    from dataflow.errors import ConfigError
    from dataflow.image.view import Window, has_display

    if not has_display():
        raise ConfigError("there is no display for a window: write a picture with --out sheet.png")
    window = Window(TITLE, (0, 0))
    if not window.works:
        raise ConfigError(
            "this OpenCV has no windows (opencv-python has, opencv-python-headless has not): "
            "write a picture with --out sheet.png"
        )
    return window


def _go_on(window: Window) -> bool:
    """Let the window draw itself and take keys; whether to go on."""
    key = window.wait(0.03)
    if key == " ":
        while not (key := window.wait(0.2)):
            pass
    return key not in ("q", "\x1b")


def _classes(path: Path | None) -> dict[str, str]:
    import json

    from dataflow.errors import ConfigError

    if path is None:
        return {}
    try:
        found: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --classes {path}: {error}") from error
    if isinstance(found, list):
        found = dict(enumerate(found))
    if not isinstance(found, dict):
        raise ConfigError(f"--classes {path} is neither a list nor an object")
    return {str(label): str(name) for label, name in found.items()}
