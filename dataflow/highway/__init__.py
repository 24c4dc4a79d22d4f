"""Pipelines in the manner of Highway, on this package's dataflows (``docs/highway.md``)::

from dataflow.highway import Augmentations, ImageFileReader, Pipeline
from dataflow.highway.transforms import FlipX

with Pipeline([ImageFileReader("photos", 16, (240, 320)), Augmentations([FlipX()])]) as p:
    images, labels = p.dequeue()
"""

from dataflow.highway import transforms
from dataflow.highway.adapters import DequeueGenerator, FlowSource
from dataflow.highway.engine import Batch, Ended, Map, Node, Pipeline, Sink, Source
from dataflow.highway.modules import (
    Augmentations,
    Benchmark,
    ImageFileReader,
    ImgDumper,
    ImgReader,
    ImgSaver,
    LevelDBSink,
    LevelDBSource,
    LMDBSink,
    LMDBSource,
    Noise,
    ZMQSink,
    ZMQSource,
)

__all__ = [
    "Augmentations",
    "Batch",
    "Benchmark",
    "DequeueGenerator",
    "Ended",
    "FlowSource",
    "ImageFileReader",
    "ImgDumper",
    "ImgReader",
    "ImgSaver",
    "LMDBSink",
    "LMDBSource",
    "LevelDBSink",
    "LevelDBSource",
    "Map",
    "Node",
    "Noise",
    "Pipeline",
    "Sink",
    "Source",
    "ZMQSink",
    "ZMQSource",
    "transforms",
]
