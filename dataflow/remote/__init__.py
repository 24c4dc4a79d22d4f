"""Preprocessing on other machines: senders there, or workers (``docs/wire.md``)."""

from dataflow.remote.older import RemoteDataZMQ, send_dataflow_zmq
from dataflow.remote.process_queue import dump_dataflow_to_process_queue
from dataflow.remote.receiver import Receiver, receive
from dataflow.remote.runner import PrefetchDataRemote
from dataflow.remote.sender import Sender, send

__all__ = [
    "PrefetchDataRemote",
    "Receiver",
    "RemoteDataZMQ",
    "Sender",
    "dump_dataflow_to_process_queue",
    "receive",
    "send",
    "send_dataflow_zmq",
]
