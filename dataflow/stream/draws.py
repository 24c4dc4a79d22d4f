"""Random bits for a node of a sample, by counting instead of remembering.

A draw is decided by the stream's seed, the sample's index and the node's place in the graph, and
by nothing else, so it does not matter what else was drawn before. Scalars come from one round of
SplitMix64's finalizer [1]_, in plain integers: as cheap as a call of NumPy's. Arrays come from
SFC64 [2]_, whose state is made of these bits: NumPy's fastest generator, and cheap to set.

.. [1] Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
.. [2] Doty-Humphrey, "PractRand", 2010: sfc64.
"""

from __future__ import annotations

import threading
from statistics import NormalDist

import numpy as np

__all__ = ["MASK", "generator", "mix", "normal", "root", "unit"]

MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_SCALE = 2.0**-53


def mix(word: int) -> int:
    """64 bits, each of which depends on each of the given 64."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    word = (word ^ word >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return word ^ word >> 31


def root(seed: int, index: int) -> int:
    """The 64 bits that all draws of a sample start from."""
    return mix(mix((seed + _GOLDEN) & MASK) + index * _GOLDEN & MASK)


def unit(bits: int) -> float:
    """From 64 bits to a number in [0, 1)."""
    return (bits >> 11) * _SCALE


_quantile = NormalDist().inv_cdf


def normal(bits: int) -> float:
    """From 64 bits to a normal number of mean 0 and deviation 1: the quantile of a uniform one."""
    return _quantile(((bits >> 12) + 0.5) * 2.0**-52)


class _Here(threading.local):
    """A generator for each thread: to set its place costs a tenth of making one."""

    def __init__(self) -> None:
        self.generator = np.random.Generator(np.random.SFC64(0))
        self.words = np.ones(4, np.uint64)


_here = _Here()


def generator(bits: int) -> np.random.Generator:
    """A generator for whole arrays; valid until this thread asks for the next one."""
    words, found = _here.words, _here.generator
    # Three words of state that are nothing like each other, and a counter, which begins at 1.
    words[:3] = bits, mix(bits + _GOLDEN & MASK), mix(bits + 2 * _GOLDEN & MASK)
    words[3] = 1
    found.bit_generator.state = {
        "bit_generator": "SFC64",
        "state": {"state": words},
        "has_uint32": 0,
        "uinteger": 0,
    }
    return found
