"""A composable input pipeline in plain Python.

::

    import dataflow as df

    ds = Pets(shuffle=True).parallel(num_threads=64)   # a subclass of df.dataset.NetworkImages
    ds = df.AugmentImageComponent(ds, [df.imgaug.ResizeShortestEdge(256)])
    ds = df.PrefetchDataZMQ(ds, num_proc=8)
    ds = df.BatchData(ds, 64)
"""

from __future__ import annotations

import dataflow.utils.image  # noqa: F401 - so that `df.utils.image` is there
from dataflow import dataset, imgaug, utils
from dataflow.base import DataFlow, ProxyDataFlow, RNGDataFlow
from dataflow.engine.runners import (
    MultiProcessMapData,
    MultiProcessMapDataZMQ,
    MultiProcessRunnerZMQ,
    MultiThreadMapData,
    PrefetchDataZMQ,
)
from dataflow.errors import (
    ConfigError,
    DataFlowError,
    DataFlowTerminated,
    DatapointError,
    DecodeError,
    FetchError,
    MissingData,
    MissingExtra,
    PoisonedDatapoint,
    TooManyErrors,
    WorkerDied,
    WorkerError,
)
from dataflow.image.augment import AugmentImageComponent
from dataflow.methods import attach
from dataflow.sources import DataFromGenerator, DataFromList, FakeData
from dataflow.stages import (
    BatchData,
    FilterData,
    FixedSizeData,
    LocallyShuffleData,
    MapData,
    MapDataComponent,
    PrintData,
    RepeatedData,
    TestDataSpeed,
)
from dataflow.version import __version__

__all__ = [
    "AugmentImageComponent",
    "BatchData",
    "ConfigError",
    "DataFlow",
    "DataFlowError",
    "DataFlowTerminated",
    "DataFromGenerator",
    "DataFromList",
    "DatapointError",
    "DecodeError",
    "FakeData",
    "FetchError",
    "FilterData",
    "FixedSizeData",
    "LocallyShuffleData",
    "MapData",
    "MapDataComponent",
    "MissingData",
    "MissingExtra",
    "MultiProcessMapData",
    "MultiProcessMapDataZMQ",
    "MultiProcessRunnerZMQ",
    "MultiThreadMapData",
    "PoisonedDatapoint",
    "PrefetchDataZMQ",
    "PrintData",
    "ProxyDataFlow",
    "RNGDataFlow",
    "RepeatedData",
    "TestDataSpeed",
    "TooManyErrors",
    "WorkerDied",
    "WorkerError",
    "__version__",
    "dataset",
    "imgaug",
    "utils",
]

attach(DataFlow)
