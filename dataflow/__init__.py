"""A composable input pipeline in plain Python.

::

    import dataflow as df

    ds = Pets(shuffle=True).parallel(num_threads=64)   # a subclass of df.dataset.NetworkImages
    ds = df.AugmentImageComponent(ds, [df.imgaug.ResizeShortestEdge(256)])
    ds = df.PrefetchDataZMQ(ds, num_proc=8)
    ds = df.BatchData(ds, 64)
"""

from __future__ import annotations

import sys
import typing

import dataflow.utils.image  # noqa: F401 - so that `df.utils.image` is there
from dataflow import compat, dataset, imgaug, utils
from dataflow.dataset.webdataset import WebDataset
from dataflow.engine.map_runners import (
    MultiProcessMapAndBatchData,
    MultiProcessMapAndBatchDataZMQ,
    MultiProcessMapData,
    MultiProcessMapDataZMQ,
    MultiThreadMapData,
    ThreadedMapData,
)
from dataflow.engine.runners import (
    MultiProcessPrefetchData,
    MultiProcessRunner,
    MultiProcessRunnerZMQ,
    MultiThreadPrefetchData,
    MultiThreadRunner,
    PrefetchData,
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
    PeerTimeout,
    PoisonedDatapoint,
    StateError,
    TooManyErrors,
    UnknownLength,
    WorkerDied,
    WorkerError,
)
from dataflow.flow import DataFlow
from dataflow.image.augment import AugmentImageComponent
from dataflow.image.decode import decode_image
from dataflow.image.from_file import ImageFromFile
from dataflow.image.sample import AugmentImageBoxes, AugmentSample
from dataflow.image.tensor import to_tensor
from dataflow.image.together import AugmentImageComponents, AugmentImageCoordinates
from dataflow.kinds import ProxyDataFlow, RNGDataFlow
from dataflow.remote import (
    PrefetchDataRemote,
    RemoteDataZMQ,
    dump_dataflow_to_process_queue,
    receive,
    send,
    send_dataflow_zmq,
)
from dataflow.sources import (
    Columns,
    DataFromDataset,
    DataFromGenerator,
    DataFromIterable,
    DataFromList,
    DataFromQueue,
    FakeData,
    from_dataset,
    from_ray,
    read_table,
)
from dataflow.stages import (
    BatchData,
    BatchDataByShape,
    CacheData,
    ConcatData,
    FillUpData,
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
    ShardData,
    TestDataSpeed,
)
from dataflow.standard import assemble
from dataflow.version import __version__

if typing.TYPE_CHECKING:
    from dataflow import stream
    from dataflow.engine.ray import PrefetchDataRay
    from dataflow.formats import (
        CaffeLMDB,
        HDF5Data,
        HDF5Serializer,
        LMDBData,
        LMDBDataDecoder,
        LMDBDataPoint,
        LMDBSerializer,
        NumpySerializer,
        SVMLightData,
        TenData,
        TFRecordData,
        TFRecordSerializer,
        dump_dataflow_to_lmdb,
        dump_dataflow_to_tfrecord,
    )
    from dataflow.tensorcom import Connection, serve

__all__ = [
    "AugmentImageBoxes",
    "AugmentImageComponent",
    "AugmentImageComponents",
    "AugmentImageCoordinates",
    "AugmentSample",
    "BatchData",
    "BatchDataByShape",
    "CacheData",
    "CaffeLMDB",
    "CodecError",
    "Columns",
    "ConcatData",
    "ConfigError",
    "Connection",
    "DataFlow",
    "DataFlowError",
    "DataFlowTerminated",
    "DataFromDataset",
    "DataFromGenerator",
    "DataFromIterable",
    "DataFromList",
    "DataFromQueue",
    "DatapointError",
    "DecodeError",
    "Dropped",
    "FakeData",
    "FetchError",
    "FillUpData",
    "FilterData",
    "FixedSizeData",
    "HDF5Data",
    "HDF5Serializer",
    "ImageFromFile",
    "JoinData",
    "LMDBData",
    "LMDBDataDecoder",
    "LMDBDataPoint",
    "LMDBSerializer",
    "LocallyShuffleData",
    "MapData",
    "MapDataComponent",
    "MissingData",
    "MissingExtra",
    "MultiProcessMapAndBatchData",
    "MultiProcessMapAndBatchDataZMQ",
    "MultiProcessMapData",
    "MultiProcessMapDataZMQ",
    "MultiProcessPrefetchData",
    "MultiProcessRunner",
    "MultiProcessRunnerZMQ",
    "MultiThreadMapData",
    "MultiThreadPrefetchData",
    "MultiThreadRunner",
    "NotResumable",
    "NumpySerializer",
    "PeerError",
    "PeerTimeout",
    "PoisonedDatapoint",
    "PrefetchData",
    "PrefetchDataRay",
    "PrefetchDataRemote",
    "PrefetchDataZMQ",
    "PrintData",
    "ProxyDataFlow",
    "RNGDataFlow",
    "RandomChooseData",
    "RandomMixData",
    "RemoteDataZMQ",
    "RepeatedData",
    "RepeatedDataPoint",
    "SVMLightData",
    "SelectComponent",
    "ShardData",
    "StateError",
    "TFRecordData",
    "TFRecordSerializer",
    "TenData",
    "TestDataSpeed",
    "ThreadedMapData",
    "TooManyErrors",
    "UnknownLength",
    "WebDataset",
    "WorkerDied",
    "WorkerError",
    "__version__",
    "dataset",
    "decode_image",
    "dump_dataflow_to_lmdb",
    "dump_dataflow_to_process_queue",
    "dump_dataflow_to_tfrecord",
    "from_dataset",
    "from_ray",
    "imgaug",
    "read_table",
    "receive",
    "send",
    "send_dataflow_zmq",
    "serve",
    "stream",
    "to_tensor",
    "utils",
]

assemble()

# The business of few programs: loaded when one of these is used.
_LATER = {
    "CaffeLMDB": "dataflow.formats",
    "Connection": "dataflow.tensorcom",
    "HDF5Data": "dataflow.formats",
    "HDF5Serializer": "dataflow.formats",
    "LMDBData": "dataflow.formats",
    "LMDBDataDecoder": "dataflow.formats",
    "LMDBDataPoint": "dataflow.formats",
    "LMDBSerializer": "dataflow.formats",
    "NumpySerializer": "dataflow.formats",
    "PrefetchDataRay": "dataflow.engine.ray",
    "SVMLightData": "dataflow.formats",
    "TFRecordData": "dataflow.formats",
    "TFRecordSerializer": "dataflow.formats",
    "TenData": "dataflow.formats",
    "dump_dataflow_to_lmdb": "dataflow.formats",
    "dump_dataflow_to_tfrecord": "dataflow.formats",
    "serve": "dataflow.tensorcom",
}


def __getattr__(name: str) -> typing.Any:
    if name not in _LATER and name != "stream":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    if name == "stream":
        return importlib.import_module("dataflow.stream")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# `dataflow.common` and the like, where scripts for earlier packages look for names.
for _package in (sys.modules[__name__], dataset, imgaug, utils):
    compat.reach(_package)
