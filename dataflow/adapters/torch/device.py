"""Batches on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from dataflow.adapters.ahead import Ahead
from dataflow.adapters.structure import each_leaf
from dataflow.adapters.torch.tensors import tensors
from dataflow.errors import ConfigError

__all__ = ["to_device"]


def to_device(
    batches: Iterable[Any],
    device: str | torch.device,
    *,
    ahead: int = 1,
    then: Callable[[Any], Any] | None = None,
) -> Ahead[Any]:
    """The batches on a device; the next ones are copied while this one is used.

    On CUDA devices arrays are copied through pinned memory, on a stream of their own; the stream
    that is current when a batch is asked for waits for the copy. On the CPU nothing is copied.

    What is cheaper there than here belongs into `then`, so that bytes cross the bus::

        normalized = df.to_tensor(dtype="float16")  # N×H×W×3, BGR → N×3×H×W, RGB, half precision

        def prepared(batch):
            images, labels = batch
            return normalized(images).to(memory_format=torch.channels_last), labels

        for images, labels in to_device(ds, "cuda", then=prepared):

    Args:
        batches: a dataflow, a DataLoader or any iterable: arrays and tensors in lists, tuples and
            dicts.
        device: where to.
        ahead: batches that are on their way, at most; each takes memory of the device.
        then: a function of a batch of tensors on the device, called ahead of the loop like the
            copying, on the same stream.

    Returns:
        An iterator, whose `state_dict` is that of a loop which has got what it has handed out; so
        is the flow's own.

    Raises:
        ConfigError: `ahead` is negative.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return _copied(batches, device, ahead, then)

    def begin(batch: Any) -> Any:
        there = _each(lambda one: one.to(device), tensors(batch))
        return there if then is None else then(there)

    if ahead < 0:
        raise ConfigError(f"ahead={ahead!r} must not be negative")
    return Ahead(batches, begin, lambda batch: batch, 0)  # there is nothing to be waited for


def _copied(
    batches: Iterable[Any],
    device: torch.device,
    ahead: int,
    then: Callable[[Any], Any] | None,
) -> Ahead[Any]:
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call, unused-ignore]

    def handed_over(under_way: tuple[Any, torch.cuda.Event]) -> Any:
        batch, copied = under_way
        current = torch.cuda.current_stream(device)
        current.wait_event(copied)
        # The allocator shall not give its memory away before what uses it now has run.
        _each(lambda one: one.record_stream(current), batch)
        return batch

    def begin(batch: Any) -> tuple[Any, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            # PyTorch keeps pinned memory for as long as a copy from it is under way. What the
            # batch came in is free again at once.
            pinned = _each(torch.Tensor.pin_memory, tensors(batch))
            there = _each(lambda one: one.to(device, non_blocking=True), pinned)
            there = there if then is None else then(there)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call, unused-ignore]
            copied.record(stream)
        return there, copied

    return Ahead(batches, begin, handed_over, ahead)


def _each(function: Callable[[torch.Tensor], Any], batch: Any) -> Any:
    return each_leaf(lambda leaf: function(leaf) if isinstance(leaf, torch.Tensor) else leaf, batch)
