"""Files of other fields as sources, and dataflows as files.

The libraries that read and write them are extras, imported when one is used.
"""

from dataflow.formats.caffe import CaffeLMDB
from dataflow.formats.example import decode_example
from dataflow.formats.hdf5 import HDF5Data, HDF5Serializer
from dataflow.formats.lmdb import LMDBData, LMDBDataDecoder, LMDBSerializer
from dataflow.formats.npz import NumpySerializer
from dataflow.formats.older import (
    LMDBDataPoint,
    dump_dataflow_to_lmdb,
    dump_dataflow_to_tfrecord,
)
from dataflow.formats.records import decode_record
from dataflow.formats.svmlight import SVMLightData
from dataflow.formats.ten import TenData
from dataflow.formats.tfrecord import TFRecordData, TFRecordSerializer

__all__ = [
    "CaffeLMDB",
    "HDF5Data",
    "HDF5Serializer",
    "LMDBData",
    "LMDBDataDecoder",
    "LMDBDataPoint",
    "LMDBSerializer",
    "NumpySerializer",
    "SVMLightData",
    "TFRecordData",
    "TFRecordSerializer",
    "TenData",
    "decode_example",
    "decode_record",
    "dump_dataflow_to_lmdb",
    "dump_dataflow_to_tfrecord",
]
