"""As ``tensorcom.zcom``: connections, and what becomes of what they receive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from dataflow.tensorcom.connection import Connection
from dataflow.tensorcom.convert import applied, to_numpy, to_torch
from dataflow.tensorcom.statistics import Statistics
from dataflow.tensorcom.urls import SCHEMES as schemes  # noqa: N811 - its name there
from dataflow.tensorcom.urls import parse

__all__ = [
    "Connection",
    "Statistics",
    "TensorcomDataset",
    "converter_table",
    "listify",
    "schemes",
    "tonumpy",
    "totorch",
    "transform_with",
    "zconnect",
]

converter_table = {
    "torch": to_torch(),
    "torch_cuda": to_torch(device="cuda"),
    "numpy": to_numpy(),
}
"""The converters that have a name."""

totorch = to_torch
tonumpy = to_numpy


def TensorcomDataset(urls: str | Iterable[str], length: int = 1000000) -> Any:  # noqa: N802
    """A dataset of PyTorch with the next `length` messages in each pass.

    Whoever iterates opens a connection, which stays for its next passes: each worker of a
    ``DataLoader`` its own. So with ``num_workers=4`` four times `length` messages come.

    Args:
        urls: as of `Connection`.
        length: how many, and what `len` says.
    """
    from dataflow.adapters.torch import Opened

    return Opened(partial(Connection, urls), length)


def transform_with(sample: Any, transformers: Any) -> Any:
    """Each function on its component; where there are fewer functions, they begin again."""
    return applied(transformers or [], sample, "transformers") if transformers else sample


def listify(x: Any) -> Any:
    """A list as it is, and None; anything else as the only one of a list."""
    return x if x is None or isinstance(x, (list, tuple)) else [x]


def zconnect(url: str, context: Any = None) -> Any:
    """A socket of ZeroMQ, connected or bound as the URL says; it is yours to close.

    Raises:
        ConfigError: `url` is none, see `Connection`.
    """
    import zmq

    place = parse(url)
    socket = (context or zmq.Context.instance()).socket(place.kind)
    socket.linger = 0
    if place.kind == zmq.SUB:
        socket.subscribe(place.topic)
    open_: Callable[[str], Any] = socket.bind if place.bind else socket.connect
    open_(place.address)
    return socket
