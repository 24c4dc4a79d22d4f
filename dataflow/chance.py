"""Whether a datapoint that fails now may be tried once more later in the epoch."""

from __future__ import annotations

from enum import Enum

__all__ = ["Chance"]


class Chance(Enum):
    """Which chance of a datapoint this is.

    What waits for somebody who does not answer may be postponed where nothing depends on its
    order, and comes again when the rest of the epoch is done.
    """

    ONLY = 0
    """It is delivered in its order, or needed at once: whatever can be done is done now."""
    FIRST = 1
    """If it fails for a reason that may pass (`DatapointError.passing`), there is another."""
    LAST = 2
    """It is the other."""
