"""As ``highway.augmentations.img``."""

from dataflow.highway.transforms import *  # noqa: F403 - all of them
from dataflow.highway.transforms import __all__ as __all__
