"""As ``tensorpack.dataflow.imgaug.transform``."""

from dataflow.imgaug.augmentor import ImageAugmentor
from dataflow.imgaug.transforms import (
    CropTransform,
    FlipTransform,
    NoOpTransform,
    PhotometricTransform,
    ResizeTransform,
    Transform,
    TransformFactory,
    TransformList,
    TransposeTransform,
    WarpAffineTransform,
)

__all__ = [
    "BaseTransform",
    "CropTransform",
    "FlipTransform",
    "ImageTransform",
    "NoOpTransform",
    "PhotometricTransform",
    "ResizeTransform",
    "Transform",
    "TransformAugmentorBase",
    "TransformFactory",
    "TransformList",
    "TransposeTransform",
    "WarpAffineTransform",
]

BaseTransform = Transform

ImageTransform = Transform
"""The name of releases up to 0.9.5."""

TransformAugmentorBase = ImageAugmentor
"""Was, up to 0.9.5, the base of augmentors whose parameters are a transform. Any one's may be."""
