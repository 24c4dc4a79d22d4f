"""The transforms, where Highway has them."""

from dataflow.highway.transforms import (
    AdditiveNoise,
    FlipX,
    HistEq,
    PadCrop,
    RescaleImages,
    Resize,
    Rotate,
    Shift,
    Slicer,
    TopCenterCrop,
    Transform,
    Zoom,
)

__all__ = [
    "AdditiveNoise",
    "FlipX",
    "HistEq",
    "PadCrop",
    "RescaleImages",
    "Resize",
    "Rotate",
    "Shift",
    "Slicer",
    "TopCenterCrop",
    "Transform",
    "Zoom",
]
