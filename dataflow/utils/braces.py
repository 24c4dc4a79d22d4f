"""Bash's braces: ``shard-{000..099}.ten``, ``zsub://{left,right}:7880``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, pairwise
from string import ascii_lowercase, ascii_uppercase

from dataflow.errors import ConfigError

__all__ = ["expand_braces"]

_MOST = 100_000
_NUMBERS = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?", re.ASCII)
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.-?(\d+))?", re.ASCII)
_ALPHABET = ascii_uppercase + ascii_lowercase


def expand_braces(text: str) -> list[str]:
    r"""The texts that a text with braces stands for, in order.

    As in bash: ``{a,b}``, ``{1..3}``, ``{01..10}``, ``{a..e}``, ``{1..9..2}``, one in the other.
    Braces around anything else stay, and a backslash takes away the meaning of what follows it.

    Raises:
        ConfigError: a brace has no partner, or there would be more than 100,000.
    """
    found = list(islice(_expanded(text), _MOST + 1))
    if len(found) > _MOST:
        raise ConfigError(f"{text!r} stands for more than {_MOST} texts")
    return found


def _expanded(text: str) -> Iterator[str]:
    start = next((i for i, char in _plain(text) if char in "{}"), None)
    if start is None:
        yield re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
        return
    before = re.sub(r"\\(.)", r"\1", text[:start], flags=re.DOTALL)
    commas, end = _partner(text, start)
    for choice in _choices(text, start, commas, end):
        for rest in _expanded(text[end + 1 :]):
            yield before + choice + rest


def _choices(text: str, start: int, commas: list[int], end: int) -> Iterator[str]:
    """What the braces from `start` to `end` stand for."""
    inside = text[start + 1 : end]
    if commas:
        bounds = [start, *commas, end]
        for one, other in pairwise(bounds):
            yield from _expanded(text[one + 1 : other])
    elif match := _NUMBERS.fullmatch(inside):
        first, last, step = match.groups()
        padded = any(re.match(r"-?0\d", bound) for bound in (first, last))
        width = max(len(first), len(last)) if padded else 0
        for number in _steps(int(first), int(last), step):
            yield str(number).zfill(width)
    elif match := _LETTERS.fullmatch(inside):
        first, last, step = match.groups()
        for place in _steps(_ALPHABET.index(first), _ALPHABET.index(last), step):
            yield _ALPHABET[place]
    else:
        for choice in _expanded(inside):
            yield "{" + choice + "}"


def _steps(first: int, last: int, step: str | None) -> range:
    stride = int(step or 1) or 1
    return range(first, last + 1, stride) if first <= last else range(first, last - 1, -stride)


def _partner(text: str, start: int) -> tuple[list[int], int]:
    """The commas that part what is in a brace, and the place of the other brace."""
    depth, commas = 0, []
    for place, char in _plain(text, start):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 1:
            commas.append(place)
        if depth <= 0:
            break
    if depth or text[start] == "}":
        raise ConfigError(
            f"a brace in {text!r} has no partner; a backslash before it makes it plain"
        )
    return commas, place


def _plain(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """Places and characters, those after a backslash apart."""
    place = start
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        yield place, text[place]
        place += 1
