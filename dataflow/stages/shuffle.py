"""Shuffling within a buffer, for sources that have no keys to permute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dataflow.epoch import Epoch
from dataflow.errors import ConfigError
from dataflow.randomness import generator
from dataflow.stages.repeat import OrderStage

__all__ = ["LocallyShuffleData"]


class LocallyShuffleData(OrderStage):
    """Hold `buffer_size` datapoints, and deliver a random one of them as each new one comes.

    Every datapoint of an epoch is delivered in that epoch, `num_reuse` times.

    Args:
        ds: the input.
        buffer_size: datapoints held; larger shuffles better.
        num_reuse: how often each datapoint is delivered.
        shuffle_interval: accepted for tensorpack's sake; here every draw is random.
    """

    def __init__(
        self, ds: Any, buffer_size: int, num_reuse: int = 1, shuffle_interval: int | None = None
    ) -> None:
        super().__init__(ds)
        for name, value in (("buffer_size", buffer_size), ("num_reuse", num_reuse)):
            if value < 1:
                raise ConfigError(f"{name}={value!r} must be at least 1")
        self.buffer_size = int(buffer_size)
        self.num_reuse = int(num_reuse)
        self.shuffle_interval = shuffle_interval

    def _length(self) -> int:
        return len(self.ds) * self.num_reuse

    def _order(self, epoch: Epoch, below: Callable[[Epoch], Iterator[Any]]) -> Iterator[Any]:
        rng = generator(epoch.seed, "local shuffle", epoch.number, self._stage_number())
        held: list[Any] = []
        slots: Iterator[int] = iter(
            ()
        )  # drawn in blocks: one call a datapoint would cost more than the rest
        for tag, payload in below(epoch):
            for copy in range(self.num_reuse):
                # Copies draw their own random numbers in the stages above.
                pair = (tag if copy == 0 else _copy_of(tag, copy), payload)
                if len(held) < self.buffer_size:
                    held.append(pair)
                    continue
                slot = next(slots, None)
                if slot is None:
                    slots = iter(rng.integers(self.buffer_size, size=1024).tolist())
                    slot = next(slots)
                held[slot], pair = pair, held[slot]
                yield pair
        for index in rng.permutation(len(held)):
            yield held[index]


def _copy_of(tag: Any, copy: int) -> Any:
    return [_copy_of(part, copy) for part in tag] if type(tag) is list else (*tag, "copy", copy)
