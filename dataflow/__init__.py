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
from dataflow.base import DataFlow
from dataflow.engine.runners import (
    MultiProcessMapData,
    MultiProcessMapDataZMQ,
    MultiProcessRunnerZMQ,
    MultiThreadMapData,
    PrefetchDataZMQ,
)
from dataflow.errors import (
    CodecError,
    ConfigError,
    DataFlowError,
    DataFlowTerminated,
    DatapointError,
    DecodeError,
    Dropped,
    FetchError,
    MissingData,
    MissingExtra,
    NotResumable,
    PeerError,
    PoisonedDatapoint,
    StateError,
    TooManyErrors,
    UnknownLength,
    WorkerDied,
    WorkerError,
)
from dataflow.flows import ProxyDataFlow, RNGDataFlow
from dataflow.image.augment import AugmentImageComponent
from dataflow.methods import attach
from dataflow.remote import RemoteDataZMQ, receive, send, send_dataflow_zmq
from dataflow.sources import Columns, DataFromGenerator, DataFromList, FakeData
from dataflow.stages import (
    BatchData,
    ConcatData,
    FilterData,
    FixedSizeData,
    JoinData,
    LocallyShuffleData,
    MapData,
    MapDataComponent,
    PrintData,
    RandomChooseData,
    RandomMixData,
    RepeatedData,
    RepeatedDataPoint,
    SelectComponent,
    TestDataSpeed,
)
from dataflow.version import __version__

__all__ = [
    "AugmentImageComponent",
    "BatchData",
    "CodecError",
    "Columns",
    "ConcatData",
    "ConfigError",
    "DataFlow",
    "DataFlowError",
    "DataFlowTerminated",
    "DataFromGenerator",
    "DataFromList",
    "DatapointError",
    "DecodeError",
    "Dropped",
    "FakeData",
    "FetchError",
    "FilterData",
    "FixedSizeData",
    "JoinData",
    "LocallyShuffleData",
    "MapData",
    "MapDataComponent",
    "MissingData",
    "MissingExtra",
    "MultiProcessMapData",
    "MultiProcessMapDataZMQ",
    "MultiProcessRunnerZMQ",
    "MultiThreadMapData",
    "NotResumable",
    "PeerError",
    "PoisonedDatapoint",
    "PrefetchDataZMQ",
    "PrintData",
    "ProxyDataFlow",
    "RNGDataFlow",
    "RandomChooseData",
    "RandomMixData",
    "RemoteDataZMQ",
    "RepeatedData",
    "RepeatedDataPoint",
    "SelectComponent",
    "StateError",
    "TestDataSpeed",
    "TooManyErrors",
    "UnknownLength",
    "WorkerDied",
    "WorkerError",
    "__version__",
    "dataset",
    "imgaug",
    "receive",
    "send",
    "send_dataflow_zmq",
    "utils",
]

attach(DataFlow)
