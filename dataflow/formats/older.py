"""What older releases of tensorpack have for its serializers."""

from __future__ import annotations

import os
from typing import Any

from dataflow.errors import ConfigError
from dataflow.formats.lmdb import LMDBData, LMDBSerializer
from dataflow.formats.records import Decoder
from dataflow.formats.tfrecord import TFRecordSerializer
from dataflow.stages.map import MapData
from dataflow.utils.spelling import tell

__all__ = ["LMDBDataPoint", "dump_dataflow_to_lmdb", "dump_dataflow_to_tfrecord"]


class LMDBDataPoint(MapData):
    """The datapoints of an LMDB database, as `LMDBSerializer.load` gives them. Until 0.9.1.

    Args:
        source: an `LMDBData`, or what stages were put on one; else the arguments of `LMDBData`.
        allow_pickle: unpickle records that are pickled, as releases before 0.9 wrote them.
    """

    def __init__(self, source: Any, *args: Any, allow_pickle: bool = False, **kwargs: Any) -> None:
        tell("LMDBDataPoint", "LMDBSerializer.load")
        if hasattr(source, "__iter__") and not isinstance(source, (str, bytes)):
            if args or kwargs:
                raise ConfigError("LMDBDataPoint takes a dataflow, or arguments of LMDBData")
        else:
            source = LMDBData(source, *args, **kwargs)
        super().__init__(source, Decoder("the database", allow_pickle))


def dump_dataflow_to_lmdb(
    df: Any, lmdb_path: str | os.PathLike[str], write_frequency: int = 5000
) -> None:
    """The older spelling of `LMDBSerializer.save`."""
    tell("dump_dataflow_to_lmdb", "LMDBSerializer.save")
    LMDBSerializer.save(df, lmdb_path, write_frequency)


def dump_dataflow_to_tfrecord(df: Any, path: str | os.PathLike[str]) -> None:
    """The older spelling of `TFRecordSerializer.save`."""
    tell("dump_dataflow_to_tfrecord", "TFRecordSerializer.save")
    TFRecordSerializer.save(df, path)
