"""As ``tensorpack.dataflow.dftools``, of releases up to 0.9.1."""

from dataflow.formats.older import dump_dataflow_to_lmdb, dump_dataflow_to_tfrecord
from dataflow.remote.process_queue import DIE, dump_dataflow_to_process_queue

__all__ = [
    "DIE",
    "dump_dataflow_to_lmdb",
    "dump_dataflow_to_process_queue",
    "dump_dataflow_to_tfrecord",
]
