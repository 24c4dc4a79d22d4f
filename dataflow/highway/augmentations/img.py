"""As ``highway.augmentations.img``."""

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
    "Zoom",
]
