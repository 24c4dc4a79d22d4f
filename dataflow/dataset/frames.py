"""Whether what was drawn into an image has to be turned with it.

An annotation is of the pixels as they are stored, or of the image the right way up, as the program
showed it in which boxes were drawn; the size that it tells says which.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from dataflow.errors import DatapointError
from dataflow.image.header import read_header
from dataflow.image.orientation import inverse, moved_boxes, orientation, turned_size

__all__ = ["Frame", "frame_of"]


class Frame(NamedTuple):
    """How an annotation fits an image that is decoded.

    Attributes:
        size: (height, width) of the image as it is decoded.
        before: (height, width) of what the annotation is of.
        turn: what is to be done with that, as of EXIF; 1: nothing.
    """

    size: tuple[int, int]
    before: tuple[int, int]
    turn: int

    def boxes(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """Boxes of the annotation, N×4 rows of (x0, y0, x1, y1), in the image."""
        return boxes if self.turn == 1 else moved_boxes(boxes, self.before, self.turn)


def frame_of(data: bytes, said: tuple[int, int] | None, exif: bool, place: str) -> Frame | None:
    """How an annotation of an image fits it.

    Args:
        data: the image's file.
        said: (height, width) in the annotation; None: it has none, and is of the pixels as stored,
            as it is where both sizes are the same.
        exif: the image will be turned as EXIF asks for.
        place: the annotation's, for the error.

    Returns:
        None where the file is no image: its decoder will say so.

    Raises:
        DatapointError: both disagree about the size (reason ``size``).
    """
    header = read_header(data)
    if header is None or header.size is None:
        return None
    how = orientation(data, header)
    stored, up = header.size, turned_size(header.size, how)
    size = up if exif else stored
    if said is None or said == stored:
        return Frame(size, stored, how if exif else 1)
    if said == up:
        return Frame(size, up, 1 if exif else inverse(how))
    raise DatapointError(
        f"{place} is of an image of {said[0]}×{said[1]} pixels (height × width), but the file has "
        f"{stored[0]}×{stored[1]}" + (f", or {up[0]}×{up[1]} turned" if up != stored else ""),
        reason="size",
        url=place,
    )
