"""As ``tensorpack.dataflow.base``."""

from dataflow.errors import (
    DataFlowTerminated,
)
from dataflow.flow import (
    DataFlow,
)
from dataflow.kinds import (
    ProxyDataFlow,
    RNGDataFlow,
)

__all__ = [
    "DataFlow",
    "DataFlowTerminated",
    "ProxyDataFlow",
    "RNGDataFlow",
]
