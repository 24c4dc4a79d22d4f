"""Data sets: subclasses of `NetworkImages`, what they are made of, and the well-known ones."""

from dataflow.dataset.bsds500 import BSDS500
from dataflow.dataset.caltech101 import Caltech101Silhouettes
from dataflow.dataset.cifar import Cifar10, Cifar100, CifarBase
from dataflow.dataset.coco import COCO
from dataflow.dataset.download import PublishedFile
from dataflow.dataset.files import FileImages, ImageFolder
from dataflow.dataset.ilsvrc12 import ILSVRC12, ILSVRC12Local
from dataflow.dataset.ilsvrc_files import ILSVRC12Files
from dataflow.dataset.ilsvrc_meta import ILSVRCMeta
from dataflow.dataset.mnist import FashionMnist, Mnist
from dataflow.dataset.network import NetworkImages
from dataflow.dataset.places import Places365Standard
from dataflow.dataset.svhn import SVHNDigit
from dataflow.dataset.tiny_imagenet import TinyImageNet
from dataflow.dataset.voc import PascalVOC
from dataflow.dataset.webdataset import WebDataset
from dataflow.dataset.yolo import YOLO

__all__ = [
    "BSDS500",
    "COCO",
    "ILSVRC12",
    "YOLO",
    "Caltech101Silhouettes",
    "Cifar10",
    "Cifar100",
    "CifarBase",
    "FashionMnist",
    "FileImages",
    "ILSVRC12Files",
    "ILSVRC12Local",
    "ILSVRCMeta",
    "ImageFolder",
    "Mnist",
    "NetworkImages",
    "PascalVOC",
    "Places365Standard",
    "PublishedFile",
    "SVHNDigit",
    "TinyImageNet",
    "WebDataset",
]
