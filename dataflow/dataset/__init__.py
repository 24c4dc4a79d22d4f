"""Data sets: subclasses of `NetworkImages`, and what they are made of."""

from dataflow.dataset.download import PublishedFile
from dataflow.dataset.files import FileImages, ImageFolder
from dataflow.dataset.ilsvrc import ILSVRC12, ILSVRC12Local
from dataflow.dataset.network import NetworkImages

__all__ = [
    "ILSVRC12",
    "FileImages",
    "ILSVRC12Local",
    "ImageFolder",
    "NetworkImages",
    "PublishedFile",
]
