"""As ``tensorpack.dataflow.serialize``."""

from dataflow.formats import (
    HDF5Serializer,
    LMDBSerializer,
    NumpySerializer,
    TFRecordSerializer,
)

__all__ = [
    "HDF5Serializer",
    "LMDBSerializer",
    "NumpySerializer",
    "TFRecordSerializer",
]
