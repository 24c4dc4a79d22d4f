"""As ``tensorpack.dataflow.dataset.ilsvrc``, and as that of wbaek/dataflow."""

from dataflow.dataset.ilsvrc12 import (
    ILSVRC12,
    ILSVRC12Local,
)
from dataflow.dataset.ilsvrc_files import (
    ILSVRC12Files,
)
from dataflow.dataset.ilsvrc_meta import (
    ILSVRCMeta,
)
from dataflow.dataset.tiny_imagenet import (
    TinyImageNet,
)

__all__ = [
    "ILSVRC12",
    "ILSVRC12Files",
    "ILSVRC12Local",
    "ILSVRCMeta",
    "TinyImageNet",
]
