"""Random numbers that belong to the datapoint.

A draw is decided by (seed, epoch, position, stage) and by nothing else: not by the worker, the
time, the process or how often the datapoint was tried before. So a chain gives the same bytes on
one thread and on eight processes, and a lease that is run again gives what the first run gave.

Before a stage handles a datapoint it calls `enter`; what draws inside asks `datapoint_rng`. The
generator is Philox [1]_, which is made for this: seed and stage are its key, epoch and position
the upper words of its counter, so two datapoints can never share a stretch of the stream.

.. [1] Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "Place",
    "Tag",
    "at_stage",
    "datapoint_rng",
    "enter",
    "first_of",
    "fresh_seed",
    "generator",
    "in_datapoint",
    "leave",
    "nested",
    "place",
]

Tag: TypeAlias = Any
"""Where a datapoint comes from: ``(epoch, position, *branches)``, or a list of tags for a batch."""

_WORD = (1 << 64) - 1
_EMPTY = (0, 0, 0, 0)
_words: dict[tuple[Any, ...], int] = {}


def fresh_seed() -> int:
    """A new seed from the operating system: 32 bits, so that people can type it."""
    return secrets.randbits(32)


def generator(seed: int, *path: int | str) -> np.random.Generator:
    """A generator for what concerns a whole epoch, such as its permutation.

    Args:
        seed: the chain's seed.
        path: what it is for, such as ``("permutation", epoch, stage)``.
    """
    # As an array: of a plain list NumPy makes floats, which merge neighbouring large seeds.
    key = np.array([seed & _WORD, _word(("epoch", *path))], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def _word(path: tuple[Any, ...]) -> int:
    """64 bits for a path: a stable hash (Python's own differs from process to process)."""
    word = _words.get(path)
    if word is None:
        word = int.from_bytes(
            hashlib.blake2b(repr(path).encode(), digest_size=8).digest(), "little"
        )
        if len(_words) < 10_000:
            _words[path] = word
    return word


class _Stream:
    """A RandomState whose place in the stream can be set: building one costs 100 times more."""

    __slots__ = ("serial", "state")

    def __init__(self) -> None:
        self.serial = -1
        self.state = np.random.RandomState(np.random.Philox())

    def move_to(self, key: int, word: int, epoch: int, position: int) -> None:
        # The four words of state also hold half-used output and a cached gaussian: reset them too.
        # Lists where NumPy hands out arrays: it reads them word by word, and arrays cost more.
        self.state.set_state(
            {
                "bit_generator": "Philox",
                "state": {
                    "counter": [0, 0, position & _WORD, epoch & _WORD],
                    "key": [key & _WORD, word],
                },
                "buffer": _EMPTY,
                "buffer_pos": 4,
                "has_uint32": 0,
                "uinteger": 0,
                "has_gauss": 0,
                "gauss": 0.0,
            }
        )


class Place:
    """What a thread is working on.

    Attributes:
        seed: that of the pass; None: the thread works on no datapoint.
        tag: the datapoint's.
        path: the stage's number, and those of parts of it.
        serial: counts datapoints and stages, so that each begins its numbers anew.
    """

    __slots__ = ("path", "seed", "serial", "streams", "tag")

    def __init__(self) -> None:
        self.seed: int | None = None
        self.tag: Tag = None
        self.path: tuple[int, ...] = ()
        self.serial = 0
        self.streams: dict[tuple[int, ...], _Stream] = {}


class _Here(threading.local):
    def __init__(self) -> None:
        # One look-up there costs more than all that is done with it.
        self.place = Place()


_here = _Here()


def place() -> Place:
    """This thread's, for who sets its attributes more often than `enter` could be called."""
    return _here.place


def enter(seed: int, tag: Tag, stage: int) -> None:
    """From here on, this thread's draws belong to the datapoint `tag` at stage number `stage`."""
    here = _here.place
    here.seed = seed
    here.tag = tag
    here.path = (stage,)
    here.serial += 1


def first_of(tag: Tag) -> Tag:
    """The tag of the first datapoint in a batch, or of a datapoint itself."""
    while type(tag) is list:
        tag = tag[0]
    return tag


def leave() -> None:
    """This thread works on no datapoint any more."""
    _here.place.seed = None


class nested:  # noqa: N801 - a context manager that reads as a verb; as a class it costs half
    """Inside, draws belong to part `index` of the stage, so equal augmentors draw differently."""

    __slots__ = ("_index", "_path")

    def __init__(self, index: int) -> None:
        self._index = index

    def __enter__(self) -> None:
        here = _here.place
        path = self._path = here.path
        here.path = (*path, self._index)

    def __exit__(self, *exc: object) -> None:
        _here.place.path = self._path


@contextmanager
def at_stage(number: int) -> Iterator[None]:
    """Inside, draws belong to another stage of the same datapoint, from its first number on."""
    here = _here.place
    path = here.path
    here.path = (number,)
    here.serial += 1
    try:
        yield
    finally:
        here.path = path


def in_datapoint() -> bool:
    """Whether this thread runs a loader or a stage."""
    return _here.place.seed is not None


def _without_copies(branches: list[int | str], stage: int) -> list[int | str]:
    """The branches of a tag for a stage: upstream of the one that makes copies these are all alike.

    So it does not matter whether a datapoint is made once and copied, or made for each copy.
    """
    kept: list[int | str] = []
    words = iter(branches)
    for word in words:
        if isinstance(word, str):  # "copy 3" and the copy's number, see `copy_of`
            number = next(words)
            if int(word.removeprefix("copy ")) > stage:
                continue
            kept += (word, number)
        else:
            kept.append(word)
    return kept


def datapoint_rng() -> np.random.RandomState | None:
    """The generator of the current datapoint and stage, or None outside of any.

    Within one stage of one datapoint every call continues the same stream.
    """
    here = _here.place
    if here.seed is None:
        return None
    stream = here.streams.get(here.path)
    if stream is None:
        stream = here.streams[here.path] = _Stream()
    if stream.serial != here.serial:
        tag = here.tag
        if type(tag) is list:  # a batch draws as its first datapoint
            tag = first_of(tag)
        epoch, position, *branches = tag
        branches = branches and _without_copies(branches, here.path[0])
        path = (*here.path, "of", *branches) if branches else here.path
        stream.move_to(here.seed, _word(path), epoch, position)
        stream.serial = here.serial
    return stream.state
