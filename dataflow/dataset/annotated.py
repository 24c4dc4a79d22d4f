"""Images in files, and objects in them that other files tell of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.dataset.files import FileImages
from dataflow.dataset.frames import Frame, frame_of
from dataflow.errors import ConfigError, DatapointError
from dataflow.image.boxes import clipped
from dataflow.image.decode import checked
from dataflow.sources.read import Counts
from dataflow.stages.item import ItemStage

__all__ = ["AnnotatedFiles", "ObjectsStage"]


class AnnotatedFiles(FileImages):
    """Images in files with objects in them, which a stage of its own reads before the decoding.

    Keys are ``[path, …]``; that stage gets ``[bytes, path, …]``.
    """

    __built_here: list[ItemStage] | None = None

    def loader(self) -> Callable[[Any], Any]:
        return _with_path

    def _objects(self) -> ItemStage:
        """That stage."""
        raise NotImplementedError(f"{type(self).__name__} defines no _objects()")

    def _stages(self) -> list[ItemStage]:
        if self.__built_here is None:
            reader, decoder = super()._stages()
            self.__built_here = [reader, self._objects(), decoder]
        return self.__built_here

    def _decoder(self) -> ItemStage:
        self._require_whole_images()
        return super()._decoder()

    def _require_whole_images(self) -> None:
        if self.decode == "enough":
            raise ConfigError(
                'decode="enough" would cut images without their boxes: leave it at "full"'
            )

    def close(self) -> None:
        super().close()
        for stage in self.__built_here or ():
            stage.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_AnnotatedFiles__built_here": None}


def _with_path(key: list[Any]) -> list[Any]:
    """Component 0 once to be read, and once for messages."""
    return [key[0], *key]


class ObjectsStage(Counts):
    """What stages that read objects have in common; counts those that no box is left of.

    Args:
        exif: the image, which is still bytes, will be turned as it asks for.
        max_pixels: larger images are refused, before masks of their size are made.
    """

    gauge = "dropped_objects"

    def __init__(self, exif: bool, max_pixels: int) -> None:
        super().__init__()
        self._exif = exif
        self._max_pixels = max_pixels

    def frame(self, body: bytes, said: tuple[int, int] | None, path: str, who: str) -> Frame:
        """How objects fit an image.

        Args:
            body: the image's file.
            said: (height, width) of what the objects are of; None: it is not told.
            path: the image's.
            who: tells that, for the message.

        Raises:
            DatapointError: the image has another size, or none that is known (reason ``size``).
            DecodeError: it is too large, or no image.
        """
        checked(body, max_pixels=self._max_pixels, url=path, lenient=True)
        try:
            found = frame_of(body, said, self._exif, who)
        except DatapointError as error:
            error.url = path
            raise
        if found is not None:
            return found
        # Of a format that others decode: what they make of it has to be believed.
        if said is None or math.prod(said) > self._max_pixels:
            what = f"{path}: how large it is cannot be told before it is decoded"
            raise DatapointError(what, reason="size", url=path)
        return Frame(said, said, 1)

    def inside(
        self, boxes: NDArray[np.float32], size: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Boxes clipped to an image, and which of them have an area."""
        boxes, shares = clipped(boxes, size)
        kept = shares > 0
        self.count(len(kept) - int(kept.sum()))
        return boxes, kept
