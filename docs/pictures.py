"""Makes the README's pictures of `dataflow monitor`, `show` and `stat` anew, in this folder.

    pip install -e '.[plot,tools]' && python docs/pictures.py

It serves photos that it draws, noisy ones and what they should become, at a pace of its own: what
the pictures tell of speed is this pace.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

import dataflow as df
from dataflow.cli.gauges import gauges
from dataflow.cli.listen import Listener
from dataflow.cli.main import main
from dataflow.cli.monitor import Board, add_arguments
from dataflow.demo.photos import CLASSES, ensure_photos, label_of, photo_path

HERE = Path(__file__).parent
URLS = ["zpub://127.0.0.1:7880", "zpub://127.0.0.1:7881", "zpub://127.0.0.1:7882"]
SECONDS, STOPS, RATE, BATCH, SIDE, WIDTH = 62, 50, 16, 32, 96, 115


def photos() -> tuple[np.ndarray, np.ndarray]:
    """RGB images, and their labels."""
    folder = ensure_photos(2 * BATCH)
    paths = [str(folder / photo_path(index)) for index in range(2 * BATCH)]
    images = [cv2.resize(cv2.imread(path), (SIDE, SIDE))[:, :, ::-1] for path in paths]
    return np.stack(images), np.array([label_of(index) for index in range(2 * BATCH)], np.int32)


def batches(rng: np.random.Generator) -> Iterator[list[np.ndarray]]:
    """A noisy photo, normalised and with channels first; the photo; its label."""
    images, labels = photos()
    while True:
        chosen = rng.permutation(len(images))[:BATCH]
        clean = images[chosen]
        noisy = (clean / 255 - 0.45) / 0.25 + rng.normal(0, 0.5, clean.shape)
        yield [noisy.transpose(0, 3, 1, 2).astype(np.float32), clean, labels[chosen]]


@contextmanager
def served(url: str, number: int) -> Iterator[None]:
    """Servers at a pace that swings; the last one stops after `STOPS` seconds."""
    over = threading.Event()

    def send() -> None:
        begun = time.monotonic()
        with df.Connection(url, infos=["noisy", "clean", "label"], linger=0) as connection:
            for batch in batches(np.random.default_rng(number)):
                passed = time.monotonic() - begun
                rate = RATE * (1 + 0.4 * math.sin(passed / 6 + 2 * number)) / (1 + number / 2)
                if over.wait(1 / rate):
                    return
                if number < 2 or passed < STOPS:
                    connection.send(batch)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def monitor() -> None:
    """Watch for a minute, and draw the last view."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(["zsub://127.0.0.1:788{0..2}"])
    board = Board(None, unbatched=False)
    listener = Listener(args, board.hear)
    board.begin(listener.sources)
    with listener:
        time.sleep(SECONDS)
        view = gauges(board.readings(), SECONDS, WIDTH)
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(view)
    title = "dataflow monitor zsub://127.0.0.1:788{0..2}"
    # Fonts from elsewhere are not loaded where the picture is shown.
    console.save_svg(str(HERE / "monitor.svg"), title=title, code_format=SVG)


SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def show_and_stat() -> None:
    """The commands themselves."""
    url = URLS[0].replace("zpub", "zsub")
    with tempfile.TemporaryDirectory() as folder:
        classes, sheet = Path(folder, "classes.json"), Path(folder, "sheet.png")
        classes.write_text(json.dumps(CLASSES))
        words = ["show", url, "--out", str(sheet), "--rows", "2", "--classes", str(classes)]
        assert main(words) == 0
        quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
        cv2.imwrite(str(HERE / "show.jpg"), cv2.imread(str(sheet)), quality)
    assert main(["stat", url, "-c", "50", "--out", str(HERE / "stat.png")]) == 0


if __name__ == "__main__":
    ensure_photos(2 * BATCH)
    with served(URLS[0], 0), served(URLS[1], 1), served(URLS[2], 2):
        monitor()
        show_and_stat()
