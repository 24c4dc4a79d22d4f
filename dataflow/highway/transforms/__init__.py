"""Highway's transforms of batches of images, for `dataflow.highway.modules.Augmentations`.

Each changes all images of a batch, N×H×W×C, and each image by random numbers of its own, which
belong to the batch (see `dataflow.randomness`). In the deterministic mode nothing is drawn. No
transform writes into its input; dtypes stay, but for `RescaleImages`.
"""

from dataflow.highway.transforms.base import Transform
from dataflow.highway.transforms.moves import FlipX, PadCrop, Rotate, Shift, Zoom
from dataflow.highway.transforms.sizes import Resize, Slicer, TopCenterCrop
from dataflow.highway.transforms.values import AdditiveNoise, HistEq, RescaleImages

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
