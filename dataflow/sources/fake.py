"""Random arrays, for tests and measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np

from dataflow.epoch import Epoch
from dataflow.errors import ConfigError
from dataflow.randomness import Tag, datapoint_rng, generator
from dataflow.sources.keyed import KeyedSource

__all__ = ["FakeData"]

_Uniform: TypeAlias = Callable[[tuple[int, ...]], np.ndarray]


class FakeData(KeyedSource):
    """Datapoints of random arrays with the given shapes.

    Args:
        shapes: one shape a component.
        size: datapoints in an epoch.
        random: draw each datapoint anew; otherwise all are the same arrays, which costs nothing.
        dtype: one dtype, or one a component.
        domain: (low, high) of the values, or a list with one pair a component.
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        size: int = 1000,
        random: bool = True,
        dtype: Any = "float32",
        domain: Any = (0, 1),
    ) -> None:
        count = len(shapes)
        self.shapes = [tuple(shape) for shape in shapes]
        self._size = int(size)
        self.random = random
        self.dtype = list(dtype) if isinstance(dtype, (list, tuple)) else [dtype] * count
        self.domain = [domain] * count if isinstance(domain, tuple) else list(domain)
        for name, value in (("dtype", self.dtype), ("domain", self.domain)):
            if len(value) != count:
                raise ConfigError(f"{name} has {len(value)} entries for {count} shapes")
        if self._size < 0:
            raise ConfigError(f"size={size!r} must not be negative")

    def keys(self) -> range:
        return range(self._size)

    def loader(self) -> Callable[[int], list[np.ndarray]]:
        return self._draw if self.random else _Same(self._fill)

    def _columns(self, epoch: Epoch, start: int = 0) -> tuple[Iterator[Tag], Iterator[int]]:
        tags, keys = super()._columns(epoch, start)
        # The pass's seed decides what is always the same; only here is it known.
        return tags, keys if self.random else repeat(epoch.seed, max(0, self._size - start))

    def _key_at(self, epoch: Epoch, place: int) -> tuple[Tag, int]:
        tag, key = super()._key_at(epoch, place)
        return tag, key if self.random else epoch.seed

    def _draw(self, key: int) -> list[np.ndarray]:
        rng = datapoint_rng()
        assert rng is not None, "loaders run inside a datapoint"
        return self._fill(rng.random_sample)

    def _fill(self, uniform: _Uniform) -> list[np.ndarray]:
        return [
            (uniform(shape) * (high - low) + low).astype(dtype)
            for shape, dtype, (low, high) in zip(self.shapes, self.dtype, self.domain, strict=True)
        ]


class _Same:
    """A loader that returns the same arrays as long as the seed is the same."""

    def __init__(self, fill: Callable[[_Uniform], list[np.ndarray]]) -> None:
        self._fill = fill
        self._drawn: tuple[int, list[np.ndarray]] | None = None

    def __call__(self, seed: int) -> list[np.ndarray]:
        drawn = self._drawn
        if drawn is None or drawn[0] != seed:
            drawn = self._drawn = (seed, self._fill(generator(seed, "fake").random))
        return list(drawn[1])
