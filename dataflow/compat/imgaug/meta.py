"""As ``tensorpack.dataflow.imgaug.meta``."""

from dataflow.imgaug.chain import (
    MapImage,
)
from dataflow.imgaug.choice import (
    Identity,
    RandomApplyAug,
    RandomChooseAug,
    RandomOrderAug,
)

__all__ = [
    "Identity",
    "MapImage",
    "RandomApplyAug",
    "RandomChooseAug",
    "RandomOrderAug",
]
