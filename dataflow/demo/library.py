"""The drawn photos on disk: drawn once, kept in the user's cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dataflow.errors import ConfigError, DataFlowError
from dataflow.utils.folders import cache_folder

__all__ = ["ensure_photos", "photo_path"]

# Part of the folder's name; counted up when the drawing changes, so that old photos are not mixed
# with new ones.
EDITION = 1


def photo_path(index: int) -> str:
    """Where photo `index` lies within the folder: ``class/number.jpg``."""
    from dataflow.demo.scenes import SCENES, label_of

    return f"{SCENES[label_of(index)].name}/{index:05d}.jpg"


def ensure_photos(count: int, *, folder: Path | None = None, progress: bool = True) -> Path:
    """Draw the photos 0 to `count` - 1, those that are not there yet.

    Args:
        count: how many.
        folder: where they go, one sub-directory a class; the user's cache folder by default.
        progress: show a progress bar while they are drawn, on a terminal.

    Returns:
        The folder.

    Raises:
        ConfigError: where the folder cannot be written.
    """
    if folder is None:
        folder = cache_folder() / f"photos-{EDITION}"
    missing = [index for index in range(count) if not (folder / photo_path(index)).is_file()]
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error.strerror or str(error)) from error
        _draw(missing, folder, progress)
    return folder


def _draw(missing: list[int], folder: Path, progress: bool) -> None:
    from tqdm import tqdm

    workers = min(_cores(), 1 + len(missing) // 25)
    bar = tqdm(
        total=len(missing),
        desc="drawing photos",
        unit=" photos",
        leave=False,
        disable=None if progress else True,
    )
    with bar:
        for _ in _drawn_by_processes(missing, folder, workers):
            bar.update()


def _drawn_by_processes(missing: list[int], folder: Path, workers: int) -> Iterator[int]:
    """Let `workers` processes draw; yields each index when its file is there."""
    reading, writing = os.pipe()
    # They must find the same package, wherever this one was imported from.
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with open(reading) as lines:
            try:
                for worker in range(workers):
                    process = subprocess.Popen(
                        [sys.executable, "-m", "dataflow.demo.library", str(folder)],
                        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                        stdin=subprocess.PIPE,
                        stdout=writing,
                        start_new_session=True,  # Ctrl-C comes to this process, which ends them
                    )
                    processes.append(process)
                    assert process.stdin is not None
                    with suppress(BrokenPipeError), process.stdin:
                        process.stdin.write(" ".join(map(str, missing[worker::workers])).encode())
            finally:
                os.close(writing)  # the pipe ends with the last worker
            for line in lines:
                if not line.strip().isdigit():
                    raise _unwritable(folder, line.strip())
                yield int(line)
        if any(process.wait() for process in processes):
            raise DataFlowError("the photos could not be drawn")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _unwritable(folder: Path, why: str) -> ConfigError:
    return ConfigError(
        f"cannot write to the cache folder {folder}: {why} "
        "(set DATAFLOW_CACHE to a folder that can be written)"
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _work(folder: Path) -> None:
    """One worker: draw the photos whose numbers come in, print each number when it is done.

    It ends with its parent: nobody reads the pipe then.
    """
    import cv2

    from dataflow.demo.photos import draw_photo

    cv2.setNumThreads(1)
    try:
        for index in map(int, sys.stdin.read().split()):
            path = folder / photo_path(index)
            path.parent.mkdir(parents=True, exist_ok=True)
            # Complete or not there, whatever happens meanwhile.
            unfinished = path.with_suffix(f".{os.getpid()}.part")
            try:
                unfinished.write_bytes(draw_photo(index))
                os.replace(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)
            os.write(1, f"{index}\n".encode())  # in one piece: the workers share the pipe
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        os.write(1, f"{error.strerror or error}\n".encode())


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
