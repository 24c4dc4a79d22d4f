"""The generators that all code of a process shares, begun anew for one piece of it."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = ["begun_anew"]

_BITS32 = (1 << 32) - 1


@contextmanager
def begun_anew(seed: int, home: int | None) -> Iterator[None]:
    """Inside, `random`, `numpy.random` and torch (where somebody imported it) draw by a seed.

    In a thread beside the main one nothing is done: all threads draw from the same generators, in
    no fixed order.

    Args:
        seed: 64 bits.
        home: a process in which others draw from them, too: there they go on afterwards as if
            nothing had been. None: there is none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    torch = sys.modules.get("torch")
    own: Any = getattr(torch, "default_generator", None)
    before = None
    if os.getpid() == home:
        before = random.getstate(), np.random.get_state(), own and own.get_state()
    # All are Mersenne twisters: with one seed, some would draw the same numbers.
    random.seed(seed)
    np.random.seed(seed >> 32 & _BITS32)
    if own is not None:
        own.manual_seed(seed ^ _BITS32)
    try:
        yield
    finally:
        if before is not None:
            random.setstate(before[0])
            np.random.set_state(before[1])
            if own is not None and before[2] is not None:
                own.set_state(before[2])
