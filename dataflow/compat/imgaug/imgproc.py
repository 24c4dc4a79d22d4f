"""As ``tensorpack.dataflow.imgaug.imgproc``."""

from dataflow.imgaug.colour import (
    Brightness,
    BrightnessScale,
    Contrast,
    Hue,
    Lighting,
    Saturation,
)
from dataflow.imgaug.levels import (
    Clip,
    Gamma,
    MeanVarianceNormalize,
    MinMaxNormalize,
)
from dataflow.imgaug.noise import (
    GaussianBlur,
)

__all__ = [
    "Brightness",
    "BrightnessScale",
    "Clip",
    "Contrast",
    "Gamma",
    "GaussianBlur",
    "Hue",
    "Lighting",
    "MeanVarianceNormalize",
    "MinMaxNormalize",
    "Saturation",
]
