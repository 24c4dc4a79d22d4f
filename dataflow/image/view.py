"""Looking at the images that pass by."""

from __future__ import annotations

import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import ConfigError
from dataflow.image.sheet import Picture, displayable, write_png
from dataflow.imgaug.arguments import probability
from dataflow.kinds import ProxyDataFlow, component
from dataflow.opening import at, stream
from dataflow.randomness import Tag, generator

__all__ = ["Viewer", "Window", "has_display"]


def _is_class_zero(datapoint: Datapoint) -> bool:
    return bool(component(datapoint, 1) == 0)


class Viewer(ProxyDataFlow):
    """Show some of the images, component 0 of the datapoints, and pass every datapoint on.

    In a window where there is a display and an OpenCV that has windows (opencv-python has,
    opencv-python-headless has not). Otherwise the images become files
    ``<folder>/000000.png``, ``000001.png`` …, and a warning says so once.

    Args:
        ds: the input, of datapoints ``[image, …]`` with images as for `displayable`.
        condition: datapoint → whether it may be shown. By default those whose component 1, the
            label, is 0.
        name: the window's name.
        prob: how many of the matching datapoints are shown, from 0 to 1; which ones is decided by
            the chain's seed.
        pos: where the window stands on the screen, (x, y) in pixels.
        folder: where the files go; default ``./viewer/<name>``. Given, it is used even where a
            window could be shown.
    """

    def __init__(
        self,
        ds: Any,
        condition: Callable[[Datapoint], Any] = _is_class_zero,
        name: str = "label-0",
        prob: float = 0.1,
        pos: tuple[int, int] = (0, 0),
        *,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(ds)
        if not callable(condition):
            raise ConfigError(f"condition={condition!r} must be callable")
        if len(pos) != 2:
            raise ConfigError(f"pos={pos!r} must be a pair (x, y)")
        self.condition = condition
        self.name = name
        self.prob = probability("prob", prob)
        self.pos = pos
        self.folder = folder
        self._told = False

    def _stream(self, epoch: Epoch) -> Stream:
        # One number for each datapoint, matching or not, so that the condition does not shift them.
        chance = generator(epoch.seed, "viewer", epoch.number, self._stage_number()).random
        show: Callable[[Picture], None] | None = None
        for tag, datapoint in stream(self.ds, epoch):
            if datapoint is not DROPPED and chance() < self.prob and self.condition(datapoint):
                show = show or self._screen()
                show(displayable(component(datapoint, 0)))
            yield tag, datapoint

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        return at(self.ds, epoch, index)

    def _screen(self) -> Callable[[Picture], None]:
        if self.folder is None and has_display():
            window = Window(self.name, self.pos)
            if window.works:
                return window.show
        if self.folder is not None:
            return _Folder(Path(self.folder)).show
        folder = Path("viewer", re.sub(r"[^\w.-]+", "_", self.name).strip(".") or "images")
        if not self._told:
            self._told = True
            warnings.warn(
                f"there is no window to show images in; {self.name!r} goes to {folder}",
                RuntimeWarning,
                stacklevel=3,
            )
        return _Folder(folder).show


class Window:
    """A window of OpenCV's.

    Attributes:
        works: whether there is one; OpenCV may have been built without.
    """

    def __init__(self, name: str, pos: tuple[int, int]) -> None:
        self._name = name
        try:
            cv2.namedWindow(name)
            cv2.moveWindow(name, *pos)
        except cv2.error:  # built without windows
            self.works = False
        else:
            self.works = True

    def show(self, picture: Picture) -> None:
        """Show a picture instead of the one before."""
        cv2.imshow(self._name, picture)
        cv2.waitKey(1)  # lets the window draw itself

    def wait(self, seconds: float) -> str:
        """The key that is pressed within that time, or ``""``; ``"q"`` also where it was closed."""
        pressed = cv2.waitKey(max(1, int(seconds * 1000)))
        if pressed < 0 and cv2.getWindowProperty(self._name, cv2.WND_PROP_VISIBLE) < 1:
            return "q"
        return "" if pressed < 0 else chr(pressed & 0xFF)

    def close(self) -> None:
        """Take it away."""
        with suppress(cv2.error):
            cv2.destroyWindow(self._name)


class _Folder:
    """A directory of numbered files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Go on behind what earlier epochs and runs have left.
        taken = [int(file.stem) for file in folder.glob("*.png") if file.stem.isdigit()]
        self._numbers = itertools.count(max(taken, default=-1) + 1)

    def show(self, picture: Picture) -> None:
        write_png(self._folder / f"{next(self._numbers):06}.png", picture)


def has_display() -> bool:
    """Whether a window could appear. Asked first: without a display Qt ends the process."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
