"""Tensorcom's connections: lists of arrays to and from programs that use the package tensorcom."""

from dataflow.tensorcom.connection import Connection
from dataflow.tensorcom.serving import serve

__all__ = ["Connection", "serve"]
