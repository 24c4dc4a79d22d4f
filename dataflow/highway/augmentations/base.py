"""As ``highway.augmentations.base``."""

from dataflow.highway.transforms.base import Transform as Augmentation

__all__ = ["Augmentation"]
