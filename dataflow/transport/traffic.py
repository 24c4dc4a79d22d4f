"""What passed between a runner and its workers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Traffic"]


@dataclass(slots=True)
class Traffic:
    """Counters of one end; they only grow.

    Attributes:
        passed: size of all messages, those to the workers included. (Consumer only.)
        bytes: size of the results' messages, arrays included.
        seconds: time spent on them: encoding and copying on the worker's side (without waiting
            for a free slot), decoding on the consumer's.
    """

    bytes: int = 0
    seconds: float = 0.0
    passed: int = 0
