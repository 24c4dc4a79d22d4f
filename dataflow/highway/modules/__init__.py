"""Highway's nodes: sources, maps of batches, sinks."""

from dataflow.highway.modules.db import LevelDBSink, LevelDBSource, LMDBSink, LMDBSource
from dataflow.highway.modules.network import ZMQSink, ZMQSource
from dataflow.highway.modules.processing import Augmentations, Benchmark, Noise
from dataflow.highway.modules.readers import ImageFileReader, ImgReader
from dataflow.highway.modules.writers import ImgDumper, ImgSaver

__all__ = [
    "Augmentations",
    "Benchmark",
    "ImageFileReader",
    "ImgDumper",
    "ImgReader",
    "ImgSaver",
    "LMDBSink",
    "LMDBSource",
    "LevelDBSink",
    "LevelDBSource",
    "Noise",
    "ZMQSink",
    "ZMQSource",
]
