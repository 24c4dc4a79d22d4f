"""Preprocessing on other machines: a sender there, a receiver here (``docs/wire.md``)."""

from dataflow.remote.older import RemoteDataZMQ, send_dataflow_zmq
from dataflow.remote.receiver import Receiver, receive
from dataflow.remote.sender import Sender, send

__all__ = ["Receiver", "RemoteDataZMQ", "Sender", "receive", "send", "send_dataflow_zmq"]
