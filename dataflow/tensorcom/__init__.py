"""Tensorcom's connections: lists of arrays to and from programs that use the package tensorcom.

Its modules `tenbin` and `zcom` are here, too, with their functions: of a script only the import has
to be changed (``docs/tensorcom.md``).
"""

from dataflow.tensorcom.connection import Connection
from dataflow.tensorcom.serving import serve
from dataflow.tensorcom.zcom import TensorcomDataset

__all__ = ["Connection", "TensorcomDataset", "serve"]
