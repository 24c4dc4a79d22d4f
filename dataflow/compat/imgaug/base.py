"""As ``tensorpack.dataflow.imgaug.base``."""

from dataflow.imgaug.augmentor import (
    Augmentor,
    ImageAugmentor,
    PhotometricAugmentor,
)
from dataflow.imgaug.chain import (
    AugmentorList,
)

__all__ = [
    "Augmentor",
    "AugmentorList",
    "ImageAugmentor",
    "PhotometricAugmentor",
]
