"""Looking at a dataflow while it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import ConfigError
from dataflow.kinds import ProxyDataFlow
from dataflow.node import reset
from dataflow.opening import at, stream
from dataflow.randomness import Tag
from dataflow.utils.spelling import renamed, tell

__all__ = ["PrintData", "TestDataSpeed"]


class PrintData(ProxyDataFlow):
    """Pass everything on, and print types, shapes and ranges of the first few datapoints.

    Args:
        ds: the input.
        num: datapoints to print.
        name: what to call this place in the output.
        max_depth: print nested lists and dicts down to this depth.
        max_list: print this many entries of a list or dict.
    """

    @renamed(label="name")
    def __init__(
        self, ds: Any, num: int = 1, name: str | None = None, max_depth: int = 3, max_list: int = 3
    ) -> None:
        super().__init__(ds)
        self.num = num
        self.name = name
        self.max_depth = max_depth
        self.max_list = max_list
        self._printed = 0

    def _stream(self, epoch: Epoch) -> Stream:
        for tag, datapoint in stream(self.ds, epoch):
            if self._printed < self.num and datapoint is not DROPPED:
                print("\n".join(self._describe(datapoint)), file=sys.stderr)
                self._printed += 1
            yield tag, datapoint

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        return at(self.ds, epoch, index)

    def _describe(self, datapoint: Datapoint) -> Iterator[str]:
        where = f" of {self.name}" if self.name else ""
        yield f"datapoint {self._printed + 1} of {self.num}{where}: {_summary(datapoint)}"
        yield from self._children(datapoint, 1)

    def _children(self, value: Any, depth: int) -> Iterator[str]:
        if not isinstance(value, (list, tuple, dict)):
            return
        indent = "   " * depth
        if depth > self.max_depth:
            yield f"{indent}..."
            return
        for shown, (key, child) in enumerate(
            value.items() if isinstance(value, dict) else enumerate(value)
        ):
            # The components themselves are all worth a line; only what is inside them is cut.
            if depth > 1 and shown == self.max_list:
                yield f"{indent}..."
                return
            yield f"{indent}{key}: {_summary(child)}"
            yield from self._children(child, depth + 1)


def _summary(value: Any) -> str:
    match value:
        case np.ndarray():
            text = f"ndarray:{value.dtype} of shape {value.shape}"
            if value.size and (np.issubdtype(value.dtype, np.number) or value.dtype == bool):
                text += f" in range [{value.min():.6g}, {value.max():.6g}]"
            return text
        case list() | tuple() | dict():
            return f"{type(value).__name__} of len {len(value)}"
        case bytes() | str():
            text = repr(value[:40])
            return f"{type(value).__name__} of len {len(value)}, {text}"
        case _:
            return f"{type(value).__name__} with value {value!r}"


class TestDataSpeed(ProxyDataFlow):
    """Run through datapoints with a progress bar that shows their speed.

    Args:
        ds: the dataflow to test.
        size: datapoints to run through, at most; an epoch may end earlier.
        warmup: datapoints to run through before.
    """

    __test__ = False  # pytest would take it for a test by its name

    def __init__(self, ds: Any, size: int = 5000, warmup: int = 0) -> None:
        super().__init__(ds)
        for name, value in (("size", size), ("warmup", warmup)):
            if value < 0:
                raise ConfigError(f"{name}={value!r} must not be negative")
        self.test_size = int(size)
        self.warmup = int(warmup)

    def _stream(self, epoch: Epoch) -> Stream:
        self.start()
        return stream(self.ds, epoch)

    def start(self) -> None:
        """Run the test now."""
        from tqdm import tqdm

        reset(self.ds)
        iterator = iter(self.ds)
        for _ in zip(range(self.warmup), iterator, strict=False):
            pass
        with tqdm(total=self.test_size, unit="datapoint", smoothing=0.2) as bar:
            for _, _ in zip(range(self.test_size), iterator, strict=False):
                bar.update()
        # Frees what works for the pass before the next one begins.
        del iterator

    def start_test(self) -> None:
        """The older spelling of `start`."""
        tell("start_test", "start")
        self.start()
