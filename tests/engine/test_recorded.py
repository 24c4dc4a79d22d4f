"""Streams, states and random access of a few hundred chains, held against those recorded before.

`recorded.json` was written with the engine of version 0.1. Where a change is meant to give other
streams, CHANGELOG.md says so, and ``python -m tests.engine.test_recorded`` writes it anew.
"""

from __future__ import annotations

import hashlib
import json
import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import dataflow as df

from .test_chains import build, rest

RECORD = Path(__file__).parent / "recorded.json"
CHAINS = 320
SEED = 2026

_STEPS = {
    "map": lambda rng: 0,
    "draw": lambda rng: 0,
    "drop": lambda rng: 0,
    "fail": lambda rng: 0,
    "run": lambda rng: 0,
    "batch": lambda rng: rng.randint(1, 7),
    "rest": lambda rng: rng.randint(1, 7),
    "shuffle": lambda rng: rng.randint(1, 20),
    "repeat": lambda rng: rng.randint(1, 2),
    "copies": lambda rng: rng.randint(1, 3),
    "concat": lambda rng: rng.randint(0, 60),
    "mix": lambda rng: rng.randint(0, 60),
    "take": lambda rng: rng.randint(0, 30),
    "choose": lambda rng: rng.randint(1, 20),
    "join": lambda rng: rng.randint(1, 20),
    "share": lambda rng: rng.randint(0, 20),
    "cache": lambda rng: 0,
}


def chain_of(number: int) -> tuple[tuple[str, int, bool], list[tuple[str, int]]]:
    """The source and the stages of a chain, by its number."""
    rng = random.Random(number)
    kind = rng.choice(["list", "keyed", "generator", "columns"])
    start = (kind, rng.choice([rng.randint(0, 12), rng.randint(0, 120)]), rng.random() < 0.5)
    names = [rng.choice(list(_STEPS)) for _ in range(rng.randint(0, 6))]
    return start, [(name, _STEPS[name](rng)) for name in names]


def found(number: int, runner: str | None) -> list[Any]:
    """Two epochs, the state in the middle of the first, and some places of it."""
    start, stages = chain_of(number)
    with build(start, stages, runner, 50, None) as ds:
        ds.seed(SEED)
        iterator = iter(ds)
        first = rest(islice(iterator, number % 17))
        try:
            state = ds.state_dict()
        except df.NotResumable:
            state = None
        first += rest(iterator)
        return [first, rest(ds), _part_of(state), [_at(ds, place) for place in (0, 3, number)]]


def _part_of(state: dict[str, Any] | None) -> Any:
    """What a state says of places."""
    return None if state is None else [state.get(name) for name in ("epoch", "cursors", "replay")]


def _at(ds: df.DataFlow, place: int) -> Any:
    try:
        return rest([ds[place]])
    except (TypeError, LookupError) as error:
        return "TypeError" if isinstance(error, TypeError) else type(error).__name__


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def test_every_chain_gives_what_it_gave() -> None:
    recorded = json.loads(RECORD.read_text())
    assert len(recorded) == CHAINS
    differ = [
        f"chain {number}: {chain_of(number)}"
        for number, digests in enumerate(recorded)
        if [digest(part) for part in found(number, None)] != digests
    ]
    assert not differ


@pytest.mark.parametrize("runner", ["threads", "processes"])
@pytest.mark.parametrize("first", range(0, CHAINS, 64))
def test_runners_give_the_same_streams(runner: str, first: int) -> None:
    recorded = json.loads(RECORD.read_text())
    for number in range(first, first + 64, 1 if runner == "threads" else 16):
        start, stages = chain_of(number)
        with build(start, stages, runner, 50, None) as ds:
            ds.seed(SEED)
            assert [digest(rest(ds)) for _ in range(2)] == recorded[number][:2], (start, stages)


if __name__ == "__main__":
    lines = [json.dumps([digest(part) for part in found(number, None)]) for number in range(CHAINS)]
    RECORD.write_text("[\n" + ",\n".join(lines) + "\n]\n")
