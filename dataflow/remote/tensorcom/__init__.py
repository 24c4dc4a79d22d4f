"""Tensorcom's connections: lists of arrays to and from programs that use the package tensorcom."""

from dataflow.remote.tensorcom.connection import Connection
from dataflow.remote.tensorcom.serving import serve

__all__ = ["Connection", "serve"]
