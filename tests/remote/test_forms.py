"""Leases and reports between hosts: what is written is read, and what is foreign is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.codec import wire
from dataflow.codec.tensor import Encoder
from dataflow.engine.messages import Failed, Lease, Loose, Outcomes, Report, Whole
from dataflow.epoch import DROPPED
from dataflow.errors import CodecError, FetchError
from dataflow.plan.tasks import EXHAUSTED, Members, Task
from dataflow.remote.forms import pack_lease, pack_report, read_lease, read_report

LIMIT = 1 << 24
STAGES = [2, 0]

plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.text(), st.binary()
)
keys = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple)), max_leaves=8
)
numbers = st.integers(0, 1 << 40)
tags = st.builds(
    lambda words, copies: (*words, *copies),
    st.tuples(numbers, numbers) | st.tuples(numbers, numbers, st.integers(0, 5)),
    st.just(()) | st.tuples(st.just("copy 1"), st.integers(1, 3)),
)
tasks = st.builds(Task, tags, st.integers(0, 1), keys | st.just(DROPPED))
batches = st.lists(tasks, min_size=1, max_size=4).map(
    lambda of_it: Task([one.tag for one in of_it], 1, Members(of_it))
)
leases = st.builds(Lease, numbers, numbers, st.lists(tasks | batches, min_size=1, max_size=6))


def head(sent: Any) -> dict[str, Any]:
    return wire.unpack(sent[0]).fields


def same(one: Any, other: Any) -> bool:
    """Equal, with equal types."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, (list, tuple)):
        equal = len(one) == len(other) and all(map(same, one, other))
        return type(one) is type(other) and equal
    return type(one) is type(other) and one == other


@given(leases)
def test_a_lease_arrives_as_it_was(lease: Lease) -> None:
    sent = pack_lease(3, 4, lease, LIMIT)
    fields = head(sent)
    assert (fields["part"], fields["worker"]) == (3, 4)
    found = read_lease(fields, sent[1], chains=2)
    assert (found.number, found.seed) == (lease.number, lease.seed)
    assert same(list(found.tasks), list(lease.tasks))


def report(*outcomes: Any) -> Report:
    return Report(
        [Outcomes(7, 2, list(outcomes[:2])), Outcomes(9, 0, list(outcomes[2:]))],
        work=[(0, -1, 5, 0.25), (0, 1, 5, 0.5)],
        gauges=[(0, 0, {"bytes": 12.0})],
        cpu=1.5,
        sending=0.5,
        returned=[(7, 4), (7, 5)],
        finished=5,
    )


def test_a_report_arrives_as_it_was() -> None:
    image = np.arange(60_000, dtype=np.uint16).reshape(200, 300)
    failed = Failed.of(FetchError("gone", reason="http", url="http://a", status=410), 1)
    other = Failed.of(KeyError("a"), -1)
    given = report(
        [image, (1, "a")],
        DROPPED,
        EXHAUSTED,
        failed,
        other,
        Whole([np.arange(4), ["a", "b"]], [1]),
        Loose([[image[0]], DROPPED, other]),
    )
    (sent,) = pack_report(0, 1, given, LIMIT)
    found = read_report(head(sent), sent[1], STAGES)
    assert found.work == given.work and found.gauges == given.gauges
    assert (found.cpu, found.sending, found.finished) == (1.5, 0.5, 5)
    assert found.returned == given.returned
    assert [(run.lease, run.first, len(run.outcomes)) for run in found.results] == [
        (7, 2, 2),
        (9, 0, 5),
    ]
    (plain, dropped), (end, fetch, key, whole, loose) = (run.outcomes for run in found.results)
    assert same(plain, [image, (1, "a")]) and dropped is DROPPED and end is EXHAUSTED
    error = fetch.exception()
    assert type(error) is FetchError and (error.reason, error.status) == ("http", 410)
    assert key.exception().type_name == "builtins.KeyError"
    assert same(whole.batch, [np.arange(4), ["a", "b"]]) and whole.plain == [1]
    assert same(loose.outcomes[0], [image[0]]) and loose.outcomes[1] is DROPPED


def test_a_report_of_many_bytes_is_several_messages() -> None:
    images = [[np.full(100_000, i, np.uint8)] for i in range(20)]
    sent = list(pack_report(0, 1, Report([Outcomes(5, 0, images)], finished=20), 1 << 20))
    assert len(sent) > 3
    found = [read_report(head(one), one[1], STAGES) for one in sent]
    assert [one.finished for one in found] == [20] + [0] * (len(sent) - 1)
    runs = [run for one in found for run in one.results]
    assert [run.first for run in runs] == list(np.cumsum([0, *(len(r.outcomes) for r in runs)]))[
        :-1
    ]
    assert same([dp for run in runs for dp in run.outcomes], images)


def test_a_result_that_cannot_be_sent_becomes_a_failure() -> None:
    outcomes = [[1], [object()], [np.zeros(3 << 20, np.uint8)]]
    (*_, sent) = pack_report(0, 1, Report([Outcomes(5, 0, outcomes)]), 1 << 20)
    (run,) = read_report(head(sent), sent[1], STAGES).results
    texts = [str(failed.exception()) for failed in run.outcomes[1:]]
    assert run.outcomes[0] == [1]
    assert "object cannot be sent" in texts[0] and "more than" in texts[1]


def test_a_place_before_the_first_is_refused() -> None:
    (sent,) = pack_report(0, 1, report([1], DROPPED, [2]), LIMIT)
    for name, value in [("returned", [[7, -1]]), ("runs", [[7, -1, b"dxd"]])]:
        with pytest.raises(CodecError, match="no lease has"):
            read_report({**head(sent), name: value}, sent[1], STAGES)


hostile = st.recursive(
    st.one_of(plain, st.floats(), st.integers(-3, 12)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(), inner)),
    max_leaves=12,
)


@given(
    st.sampled_from(["runs", "work", "gauges", "returned", "arrays"]), st.lists(hostile, max_size=4)
)
def test_hostile_fields_of_a_report(name: str, value: Any) -> None:
    (sent,) = pack_report(0, 1, report([1], DROPPED, [2]), LIMIT)
    _read_or_refuse(lambda: read_report({**head(sent), name: value}, sent[1], STAGES))


@given(st.sampled_from(b"dxefwlz\x00"), hostile)
def test_hostile_outcomes(letter: int, value: Any) -> None:
    try:
        (sent,) = pack_report(0, 1, Report([Outcomes(1, 0, [[value]])]), LIMIT)
    except CodecError:
        return
    fields = head(sent) | {"runs": [[1, 0, bytes([letter])]]}
    encoder = Encoder(LIMIT)
    encoder.add(value)
    payload = encoder.take()
    _read_or_refuse(lambda: read_report(fields, payload.frames, STAGES))


@given(hostile)
def test_hostile_leases(value: Any) -> None:
    encoder = Encoder(LIMIT)
    encoder.add(value)
    payload = encoder.take()
    fields = {"lease": 1, "seed": 1, "count": 1, "arrays": payload.table}
    _read_or_refuse(lambda: read_lease(fields, payload.frames, 2))


@pytest.mark.parametrize(
    "columns",
    [
        [[[0, 0]], [2], [1], []],
        [[[0, 0]], [0], [1, 2], []],
        [[[0, None]], [0], [1], []],
        [[[0, 0]], [0], [1], [0]],
        [[[0, 0]], [0], [1], [5]],
        [[[0, 0]], [0], [[[[0, 0]], [0], [[[[0, 0]], [0], [1], []]], [0]]], [0]],
    ],
)
def test_leases_that_are_none(columns: Any) -> None:
    encoder = Encoder(LIMIT)
    encoder.add(columns)
    payload = encoder.take()
    fields = {"lease": 1, "seed": 1, "count": 1, "arrays": payload.table}
    with pytest.raises(CodecError) as caught:
        read_lease(fields, payload.frames, 2)
    assert caught.value.reason == "lease"


def _read_or_refuse(read: Any) -> None:
    try:
        read()
    except CodecError as error:
        assert error.reason
