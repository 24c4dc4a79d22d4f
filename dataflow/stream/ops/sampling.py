"""Random numbers. Each function draws by itself, or like others that have the same `seed`."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Any

from dataflow.errors import ConfigError
from dataflow.stream.draws import normal as _normal
from dataflow.stream.draws import unit
from dataflow.stream.graph import Node, constant, known
from dataflow.stream.operation import macro, op
from dataflow.stream.types import ANYTHING, BOOL, FLOAT, INT, SEED, List, Number, Type

__all__ = [
    *("bernoulli", "binomial", "boolean", "finite", "index", "integer", "likely", "normal"),
    *("seed", "spread", "uniform", "weighted"),
]

_MOST = 1_000_000


def _probability(p: Node) -> Type:
    value = known(p)
    if value is not None and not 0 <= value <= 1:
        raise ConfigError(f"p={value!r} must be from 0 to 1")
    return BOOL


@op("fresh_seed", draws=True, gives=SEED)
def _fresh_seed(bits: int) -> int:
    """A seed of its own."""
    return bits


@op("derived_seed", of=ANYTHING, number=INT, gives=SEED)
def _derived_seed(of: Any, number: int) -> Any:
    """Another seed, decided by one and a number."""
    return of, number


@macro
def seed(of: Any = None, number: int = 0) -> Node:
    """A seed that several random nodes share, so that they draw alike.

    Args:
        of: an int, or another seed: what is made of equal ones is equal. None for a seed unlike
            all others of the graph.
        number: tells seeds of the same one apart.
    """
    if of is None:
        return _fresh_seed()
    node = constant(of)
    if not (SEED.accepts(node.type) or (node.op is None and INT.accepts(node.type))):
        raise ConfigError(f"of must be a seed or an int, and is {node.type}")
    return _derived_seed(node, number)


@op("sample_index", gives=INT, foldable=False, code="index")
def index() -> int:
    """The sample's index."""
    raise AssertionError("the compiled function has it")


def finite(**values: Node) -> None:
    """Raise where a constant is no finite number."""
    for name, node in values.items():
        value = known(node)
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"{name}={value!r} must be a finite number")


def spread(mean: Node, deviation: Node) -> Type:
    """Raise where constants are not those of a normal distribution."""
    finite(mean=mean, deviation=deviation)
    value = known(deviation)
    if value is not None and value < 0:
        raise ConfigError(f"deviation={value!r} must not be negative")
    return FLOAT


def _between(low: Node, high: Node) -> Type:
    finite(low=low, high=high)
    ends = known(low), known(high)
    if None not in ends and not 0 <= ends[1] - ends[0] < math.inf:
        raise ConfigError(f"low={ends[0]!r} must not be above high={ends[1]!r}, nor too far below")
    return FLOAT


@op(draws=True, low=FLOAT, high=FLOAT, gives=_between)
def uniform(bits: int, low: float = 0.0, high: float = 1.0) -> float:
    """A number in [low, high), each as likely as any other."""
    if not 0 <= high - low < math.inf:
        raise ValueError(f"uniform(): there is none from {low!r} to {high!r}")
    return low + (high - low) * unit(bits)


def _some(low: Node, high: Node) -> Type:
    ends = known(low), known(high)
    if None not in ends and ends[0] >= ends[1]:
        raise ConfigError(f"high={ends[1]!r} must be above low={ends[0]!r}: there is no integer")
    return INT


@op(draws=True, low=INT, high=INT, gives=_some)
def integer(bits: int, low: int, high: int) -> int:
    """An integer from low to high - 1, each as likely as any other."""
    if high <= low:
        raise ValueError(f"integer(): there is none from {low} to {high} - 1")
    # The upper bits of a product: no bias that anybody could see.
    return low + (bits * (high - low) >> 64)


@op(draws=True, mean=FLOAT, deviation=FLOAT, gives=spread)
def normal(bits: int, mean: float = 0.0, deviation: float = 1.0) -> float:
    """A normal number."""
    if not 0 <= deviation < math.inf:
        raise ValueError(f"normal(): deviation={deviation!r} must not be negative")
    return mean + deviation * _normal(bits)


@op(draws=True, p=FLOAT, gives=_probability)
def bernoulli(bits: int, p: float = 0.5) -> bool:
    """True with probability p."""
    return unit(bits) < likely("bernoulli", p)


def likely(name: str, p: float) -> float:
    """A probability, if it is one."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}(): p={p!r} must be from 0 to 1")
    return p


@macro
def boolean(seed: Any = None) -> Node:
    """True or False, each as likely."""
    return bernoulli(0.5, seed=seed)


def _count(trials: Node, p: Node) -> Type:
    _probability(p)
    value = known(trials)
    if value is not None and not 0 <= value <= _MOST:
        raise ConfigError(f"trials={value!r} must be from 0 to {_MOST}")
    return INT


@op(draws=True, trials=INT, p=FLOAT, gives=_count)
def binomial(bits: int, trials: int, p: float) -> int:
    """How many of some trials succeed, each with probability p."""
    return bisect_right(_binomial_sums(trials, p), unit(bits))


@lru_cache(maxsize=64)
def _binomial_sums(trials: int, p: float) -> list[float]:
    """How likely are at most 0, 1, … successes, without the last, which is certain."""
    if not (0 <= trials <= _MOST and 0 <= p <= 1):
        raise ValueError(f"binomial(): trials={trials!r}, p={p!r} make no sense")
    if p in (0, 1):
        return [float(p == 0)] * trials
    of_all = math.lgamma(trials + 1)
    logs = (
        of_all
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(p)
        + (trials - k) * math.log1p(-p)
        for k in range(trials)
    )
    return list(accumulate(map(math.exp, logs)))


def _places(sums: Node) -> Type:
    assert isinstance(sums.type, List) and isinstance(sums.type.element, Number)
    return INT


@op("weighted", draws=True, sums=List(FLOAT), gives=_places)
def weighted(bits: int, sums: list[float]) -> int:
    """A place in a list of weights that are summed up from the first one on."""
    return min(bisect_right(sums, unit(bits) * sums[-1]), len(sums) - 1)
