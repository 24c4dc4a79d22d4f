"""As ``tensorpack.dataflow.format``."""

from dataflow.formats import (
    CaffeLMDB,
    HDF5Data,
    LMDBData,
    LMDBDataDecoder,
    LMDBDataPoint,
    SVMLightData,
)

__all__ = [
    "CaffeLMDB",
    "HDF5Data",
    "LMDBData",
    "LMDBDataDecoder",
    "LMDBDataPoint",
    "SVMLightData",
]
