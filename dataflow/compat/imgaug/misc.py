"""As ``tensorpack.dataflow.imgaug.misc``."""

from dataflow.imgaug.flip import (
    Flip,
    Transpose,
)
from dataflow.imgaug.resize import (
    RandomResize,
    Resize,
    ResizeShortestEdge,
)

__all__ = [
    "Flip",
    "RandomResize",
    "Resize",
    "ResizeShortestEdge",
    "Transpose",
]
