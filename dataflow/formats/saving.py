"""One pass over a dataflow that is to be saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.node import is_flow, reset

__all__ = ["datapoints"]


@contextmanager
def datapoints(ds: Any) -> Iterator[Iterator[Datapoint]]:
    """The next epoch of a dataflow, ours or one of tensorpack's kind, with progress on stderr.

    The pass ends with the context; the dataflow is not closed.

    Raises:
        ConfigError: `ds` is no dataflow.
    """
    from tqdm import tqdm

    if not is_flow(ds):
        text = f"df={str(ds)[:100]} must be a dataflow; df.DataFromList makes one of a list"
        raise ConfigError(text)
    reset(ds)
    try:
        total = len(ds)
    except (NotImplementedError, TypeError):
        total = None
    iterator = iter(ds)
    try:
        with tqdm(total=total, unit=" datapoints") as bar:
            yield _counted(iterator, bar)
    finally:
        if callable(close := getattr(iterator, "close", None)):
            close()


def _counted(iterator: Iterator[Datapoint], bar: Any) -> Iterator[Datapoint]:
    for datapoint in iterator:
        yield datapoint
        bar.update()
