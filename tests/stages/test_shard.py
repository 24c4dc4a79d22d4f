"""Every rank's share: together exactly the epoch, and a state for other numbers of ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as df


def numbers(size: int, shuffle: bool = True) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=shuffle)


def ranks(size: int, count: int, **options: Any) -> list[df.DataFlow]:
    return [numbers(size).shard(rank, count, **options).seed(3) for rank in range(count)]


def values(flow: Any) -> list[int]:
    return [int(value) for (value,) in flow]


def joined(shares: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(shares))


SIZES = st.integers(0, 40)
COUNTS = st.integers(1, 7)


@given(size=SIZES, count=COUNTS)
@settings(max_examples=60, deadline=None)
def test_every_datapoint_is_on_one_rank(size: int, count: int) -> None:
    whole = numbers(size).seed(3)
    kept, padded, dropped = (
        ranks(size, count, uneven=uneven) for uneven in ("keep", "pad", "drop")
    )
    for _ in range(2):  # each epoch in another order
        expected = values(whole)
        shares = [values(flow) for flow in kept]
        assert shares == [expected[rank::count] for rank in range(count)]
        assert [len(flow) for flow in kept] == list(map(len, shares))

        shares = [values(flow) for flow in padded]
        assert {len(share) for share in shares} == {-(-size // count)} == {len(padded[0])}
        assert Counter(joined(shares)).keys() == set(expected)
        for share, flow in zip(shares, padded, strict=True):
            assert len(share) == len(flow)

        shares = [values(flow) for flow in dropped]
        assert {len(share) for share in shares} == {size // count} == {len(dropped[0])}
        assert sorted(joined(shares)) == sorted(expected[: size // count * count])


@given(
    size=SIZES,
    before=COUNTS,
    steps=st.integers(0, 12),
    after=COUNTS,
    more=st.integers(0, 3),
    last=COUNTS,
)
@settings(max_examples=80, deadline=None)
def test_a_state_of_any_rank_goes_on_with_other_numbers(
    size: int, before: int, steps: int, after: int, more: int, last: int
) -> None:
    steps = min(steps, size // before)
    state, found = None, []
    for count, taken in ((before, steps), (after, more), (last, None)):
        flows = ranks(size, count, uneven="keep")
        if state is not None:
            for flow in flows:
                flow.load_state_dict(state)
        left = size - len(found)
        taken = taken if taken is None else min(taken, left // count)
        iterators = [iter(flow) for flow in flows]
        shares = [values(islice(iterator, taken)) for iterator in iterators]
        found += joined(shares)
        if taken is not None and taken < left // count:
            states = [flow.state_dict() for flow in flows]
            assert all(one == states[0] for one in states)
            state = states[0]
        elif taken is not None:
            return  # the epoch is over, or nearly
    assert sorted(found) == list(range(size))
    assert sorted(joined(map(values, flows))) == list(range(size))


def noisy(datapoint: list[int]) -> list[int]:
    return [datapoint[0] + 100]


def test_batches_in_threads_go_on_with_fewer_ranks() -> None:
    def make(rank: int, count: int) -> df.DataFlow:
        flow = numbers(64).shard(rank, count).map(noisy)
        return df.MultiThreadMapData(flow, 2, noisy).batch(4).seed(1)

    flows = [make(rank, 4) for rank in range(4)]
    iterators = [iter(flow) for flow in flows]
    found = [next(iterator)[0] for iterator in iterators for _ in range(2)]
    state = flows[2].state_dict()
    for flow in flows:
        flow.close()
    for rank in range(2):
        with make(rank, 2) as flow:
            flow.load_state_dict(state)
            batches = [batch for (batch,) in flow]
            assert len(batches) == 4
            found += batches
    assert sorted(int(n) - 200 for batch in found for n in batch) == list(range(64))


def test_random_access() -> None:
    flows = [df.MapData(numbers(7).shard(rank, 3), lambda dp: dp).seed(2) for rank in range(3)]
    for flow in flows:
        assert [flow[i] for i in range(len(flow))] == list(flow)
        with pytest.raises(IndexError):
            flow[3]


def test_over_batches_and_over_what_can_only_be_iterated() -> None:
    flows = [numbers(12, shuffle=False).batch(2).shard(rank, 2).seed(1) for rank in range(2)]
    assert [[b.tolist() for (b,) in flow] for flow in flows] == [
        [[0, 1], [4, 5], [8, 9]],
        [[2, 3], [6, 7], [10, 11]],
    ]
    lines = [
        df.DataFromIterable([[i] for i in range(7)]).shard(rank, 2, uneven="pad").seed(1)
        for rank in range(2)
    ]
    assert [values(flow) for flow in lines] == [[0, 2, 4, 6], [1, 3, 5, 6]]


def test_what_cannot_be_is_refused() -> None:
    ds = numbers(8)
    with pytest.raises(df.ConfigError, match="rank=2 of world_size=2"):
        ds.shard(2, 2)
    with pytest.raises(df.ConfigError, match="uneven='cut'"):
        ds.shard(0, 2, uneven="cut")
    with pytest.raises(df.ConfigError, match=r"torch\.distributed has no process group"):
        ds.shard()
    with pytest.raises(df.ConfigError, match="without a seed"):
        next(iter(ds.shard(0, 2)))
    assert len(list(ds.shard(0, 1))) == 8


def test_states_that_cannot_be_taken_over_are_refused() -> None:
    below = numbers(8).shard(0, 2).repeat(2).seed(1)
    next(iter(below))
    state = below.state_dict()
    numbers(8).shard(1, 2).repeat(2).seed(1).load_state_dict(state)
    with pytest.raises(df.StateError, match="downstream of all that decides the order"):
        numbers(8).shard(1, 3).repeat(2).seed(1).load_state_dict(state)
    above = numbers(8).repeat(2).shard(0, 2).seed(1)
    iterator = iter(above)
    first = values(islice(iterator, 5))
    others = values(numbers(8).repeat(2).shard(1, 2).seed(1))[:5]
    rest = []
    for rank in range(3):
        flow = numbers(8).repeat(2).shard(rank, 3, uneven="keep").seed(1)
        flow.load_state_dict({**above.state_dict(), "chain": _keeping(above.state_dict())})
        rest += values(flow)
    assert sorted(first + others + rest) == sorted([*range(8)] * 2)


def test_several_in_a_chain() -> None:
    def make(machine: int, device: int, machines: int = 2) -> df.DataFlow:
        return numbers(24).shard(machine, machines).shard(device, 3).seed(1)

    flow = make(1, 2)
    iterator = iter(flow)
    first, state = next(iterator), flow.state_dict()
    again = make(1, 2)
    again.load_state_dict(state)
    assert [first, *again] == list(make(1, 2))
    with pytest.raises(df.StateError, match="another number of ranks"):
        make(1, 2, machines=4).load_state_dict(state)


def _keeping(state: dict[str, Any]) -> list[str]:
    return [line.replace("'pad'", "'keep'") for line in state["chain"]]


def dropping(rank: int, ranks: int) -> df.DataFlow:
    points = df.DataFromList([[i] for i in range(40)], shuffle=False).seed(1)
    return points.shard(rank, ranks).filter(lambda dp: dp[0] != 0)


def test_the_state_of_a_rank_that_dropped_others(caplog: pytest.LogCaptureFixture) -> None:
    """At the same step it has come further: its own state is told from that of others."""
    for made in (dropping, lambda *share: dropping(*share).fill_up()):
        one, other = made(0, 2), made(1, 2)
        states = []
        for flow in (one, other):
            iterator = iter(flow)
            next(iterator)
            states.append(flow.state_dict())
            iterator.close()
        caplog.clear()
        again = made(0, 2)
        again.load_state_dict(states[0])
        assert next(iter(again)) == [4] and not caplog.records
        made(1, 2).load_state_dict(states[0])
        assert "of rank 0" in caplog.text
    with pytest.raises(df.StateError, match="FillUpData"):
        dropping(0, 3).fill_up().load_state_dict(states[0])
