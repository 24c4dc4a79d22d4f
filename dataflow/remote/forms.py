"""Leases and reports as messages to other hosts (``docs/wire.md``): no code, no pickle.

A lease is a header and one datapoint of the codec, its columns; a report is a header and the
datapoints that were made. What else becomes of a task than a datapoint has a letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dataflow import errors
from dataflow.codec import wire
from dataflow.codec.tensor import Encoder, bad, decode
from dataflow.codec.wire import Kind
from dataflow.engine.messages import UNSENT, Failed, Lease, Loose, Outcomes, Report, Whole
from dataflow.epoch import DROPPED
from dataflow.errors import CodecError, DatapointError
from dataflow.plan.tasks import EXHAUSTED, Members, Task, Tasks
from dataflow.transport.in_progress import Held

__all__ = ["Sent", "held_of", "pack_held", "pack_lease", "pack_report", "read_lease", "read_report"]

Sent = tuple[bytes, list[Any]]
"""The head and the frames of a message."""

# What became of a task. A datapoint, a batch and what follows it are in the body.
_DATAPOINT, _DROPPED, _EXHAUSTED, _FAILED, _WHOLE, _LOOSE = b"dxefwl"

_TEXT = 100_000  # characters of a traceback


# -- leases ------------------------------------------------------------------------------------


def pack_lease(part: int, worker: int, lease: Lease, limit: int) -> Sent:
    """A lease for a worker of another host.

    Raises:
        CodecError: a key cannot be sent; says which.
    """
    encoder = Encoder(limit, tuples=True)
    try:
        encoder.add(_columns(lease.tasks))
    except CodecError:
        for task in lease.tasks:
            _check_key(task, limit)
        raise
    payload = encoder.take()
    fields = {"lease": lease.number, "seed": lease.seed, "count": 1, "arrays": payload.table}
    return wire.pack(Kind.LEASE, part=part, worker=worker, **fields), payload.frames


def read_lease(fields: dict[str, Any], frames: Sequence[Any], chains: int) -> Lease:
    """The lease that a trainer sent.

    Raises:
        CodecError: it is none.
    """
    found = decode(fields["count"], fields["arrays"], frames, tuples=True)
    if len(found) != 1:
        bad("count", f"a lease of {len(found)} values")
    return Lease(fields["lease"], fields["seed"], Tasks.of(_tasks(found[0], chains, 0)))


def _columns(tasks: Sequence[Task]) -> list[Any]:
    """Tags, numbers of op chains, keys; and which of the keys are no datapoints."""
    special = [_mark(place, task.key) for place, task in enumerate(tasks) if _is_special(task.key)]
    return [
        [_plain(task.tag) for task in tasks],
        [task.chain for task in tasks],
        [_key(task.key) if _is_special(task.key) else task.key for task in tasks],
        special,
    ]


def _is_special(key: Any) -> bool:
    return key is DROPPED or type(key) is Members


def _mark(place: int, key: Any) -> int:
    """The place of a batch's members; the complement of it where a datapoint was dropped."""
    return ~place if key is DROPPED else place


def _key(key: Any) -> Any:
    return None if key is DROPPED else _columns(key)


def _plain(tag: Any) -> list[Any]:
    """A tag without tuples, which would cost more."""
    return [_plain(one) for one in tag] if type(tag) is list else list(tag)


def _tag(value: Any) -> Any:
    if type(value) is list and value and all(type(word) in (int, str) for word in value):
        return tuple(value)
    if type(value) is list and value and all(type(word) is list for word in value):
        return [_tag(one) for one in value]
    return bad("lease", f"a tag {str(value)[:40]}")


def _tasks(columns: Any, chains: int, depth: int) -> list[Task]:
    if type(columns) is not list or [type(column) for column in columns] != [list] * 4:
        bad("lease", "not the columns of one")
    tags, numbers, keys, special = columns
    if not len(tags) == len(numbers) == len(keys):
        bad("lease", "columns of different lengths")
    if not all(type(number) is int and 0 <= number < chains for number in numbers):
        bad("lease", "an op chain that there is not")
    for place in special:
        if type(place) is not int or not -len(keys) <= place < len(keys):
            bad("lease", "a place that there is not")
        if place < 0:
            keys[~place] = DROPPED
        elif depth:
            bad("lease", "a batch in a batch")
        else:
            keys[place] = Members(_tasks(keys[place], chains, 1))
    return list(map(Task, map(_tag, tags), numbers, keys))


def _check_key(task: Task, limit: int) -> None:
    try:
        Encoder(limit, tuples=True).add(task.key)
    except CodecError as error:
        text = f"the key of datapoint {task.tag} cannot be sent to another machine: {error}"
        raise CodecError(text, reason=error.reason) from error


# -- reports -----------------------------------------------------------------------------------


def pack_report(part: int, worker: int, report: Report, limit: int) -> Iterator[Sent]:
    """What a worker got done, as messages of at most `limit` bytes, as far as that is possible."""
    writer = _Writer(limit)
    figures: dict[str, Any] = {
        "work": [list(row) for row in report.work],
        "gauges": [list(row) for row in report.gauges],
        "returned": [list(pair) for pair in report.returned],
        "finished": report.finished,
        "cpu": max(0.0, report.cpu),
        "sending": max(0.0, report.sending),
    }
    nothing = {"work": [], "gauges": [], "returned": [], "finished": 0, "cpu": 0.0, "sending": 0.0}

    def message() -> Sent:
        nonlocal figures
        payload, runs = writer.take()
        fields = {"runs": runs, "count": payload.count, "arrays": payload.table, **figures}
        figures = nothing
        return wire.pack(Kind.REPORT, part=part, worker=worker, **fields), payload.frames

    for lease, first, outcomes in report.results:
        for at, outcome in enumerate(outcomes, first):
            writer.add(lease, at, outcome)
            if writer.full:
                yield message()
    if writer.begun or figures is not nothing:
        yield message()


class _Writer:
    """Collects outcomes until they are enough for a message."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._enough = limit // 4
        self._encoder = Encoder(limit - self._enough, tuples=True)
        self._runs: list[list[Any]] = []

    @property
    def begun(self) -> bool:
        return bool(self._runs)

    @property
    def full(self) -> bool:
        return self._encoder.size >= self._enough or self._encoder.count >= 4096

    def add(self, lease: int, index: int, outcome: Any) -> None:
        letter = self._letter(outcome)
        run = self._runs[-1] if self._runs else None
        if run is None or run[0] != lease or run[1] + len(run[2]) != index:
            self._runs.append([lease, index, bytes([letter])])
        else:
            run[2] += bytes([letter])

    def take(self) -> tuple[Any, list[list[Any]]]:
        runs, self._runs = self._runs, []
        return self._encoder.take(), runs

    def _letter(self, outcome: Any) -> int:
        """Write an outcome's value; returns its letter."""
        letter, value = _described(outcome)
        try:
            self._encoder.add(value)
        except CodecError as error:
            text = f"the resulting datapoint cannot be sent to another machine: {error}"
            failed = Failed.of(CodecError(text, reason=error.reason), UNSENT)
            letter, value = _described(failed)
            self._encoder.add(value)
        return letter


def _described(outcome: Any) -> tuple[int, Any]:
    if outcome is DROPPED:
        return _DROPPED, None
    if outcome is EXHAUSTED:
        return _EXHAUSTED, None
    if isinstance(outcome, Failed):
        return _FAILED, _failure(outcome)
    if isinstance(outcome, Whole):
        return _WHOLE, [outcome.batch, list(outcome.plain)]
    if isinstance(outcome, Loose):
        described = [_described(one) for one in outcome.outcomes]
        return _LOOSE, [bytes(letter for letter, _ in described), [value for _, value in described]]
    return _DATAPOINT, outcome


def _failure(failed: Failed) -> list[Any]:
    """An exception as text; those of this package by their fields."""
    error = failed.exception()
    own: list[Any] | None = None
    if isinstance(error, DatapointError) and type(error).__module__ == errors.__name__:
        own = [type(error).__name__, error.reason, error.url, error.status]
    text = [failed.type_name, failed.message, failed.traceback]
    return [failed.stage, *(_sendable(one) for one in text), own]


def _sendable(text: str) -> str:
    return text[-_TEXT:].encode("utf-8", "backslashreplace").decode()


def read_report(fields: dict[str, Any], frames: Sequence[Any], stages: Sequence[int]) -> Report:
    """The report that a worker of another host sent.

    Args:
        fields: of its head.
        frames: of its body.
        stages: how many each op chain has.

    Raises:
        CodecError: it is none.
    """
    values = iter(decode(fields["count"], fields["arrays"], frames, tuples=True))
    results = [_run(row, values) for row in fields["runs"]]
    if next(values, values) is not values:
        bad("count", "more values than outcomes")
    for row in fields["work"]:
        _check(row, (int, int, int, float))
        _check_place(row[0], row[1], stages)
        if row[2] < 0 or not 0 <= row[3] < 1e9:
            bad("report", "work that nobody can have done")
    for row in fields["gauges"]:
        _check(row, (int, int, dict))
        _check_place(row[0], row[1], stages)
        if not all(type(name) is str and type(x) in (int, float) for name, x in row[2].items()):
            bad("report", "figures that are none")
    for row in fields["returned"]:
        _check(row, (int, int))
        if min(row) < 0:
            bad("report", "a place that no lease has")
    return Report(
        results,
        [tuple(row) for row in fields["work"]],
        [tuple(row) for row in fields["gauges"]],
        fields["cpu"],
        fields["sending"],
        [tuple(row) for row in fields["returned"]],
        fields["finished"],
    )


def _run(row: Any, values: Iterator[Any]) -> Outcomes:
    _check(row, (int, int, bytes))
    lease, first, letters = row
    if lease < 0 or not 0 <= first < 1 << 31:
        bad("report", "a place that no lease has")
    outcomes = []
    for letter in letters:
        value = next(values, values)
        if value is values:
            bad("count", "fewer values than outcomes")
        outcomes.append(_outcome(letter, value))
    return Outcomes(lease, first, outcomes)


def _outcome(letter: int, value: Any) -> Any:
    if letter == _DATAPOINT:
        return bad("report", "a datapoint that is None") if value is None else value
    if letter == _DROPPED:
        return DROPPED
    if letter == _EXHAUSTED:
        return EXHAUSTED
    if letter == _FAILED:
        return _read_failure(value)
    if letter == _WHOLE:
        _check(value, (object, list))
        if type(value[0]) not in (list, dict):
            bad("report", f"a batch that is a {type(value[0]).__name__}")
        return Whole(*value)
    if letter == _LOOSE:
        _check(value, (bytes, list))
        letters, inner = value
        if len(letters) != len(inner) or set(letters) - {_DATAPOINT, _DROPPED, _FAILED}:
            bad("report", "members that are none")
        return Loose([_outcome(one, of_it) for one, of_it in zip(letters, inner, strict=True)])
    return bad("report", f"an outcome {letter}")


def _read_failure(value: Any) -> Failed:
    _check(value, (int, str, str, str, object))
    stage, type_name, message, traceback, own = value
    error: DatapointError | None = None
    if own is not None:
        _check(own, (str, str, object, object))
        kind = getattr(errors, own[0], None) if own[0] in errors.__all__ else None
        if not (isinstance(kind, type) and issubclass(kind, DatapointError)):
            bad("report", f"an exception {own[0][:40]!r}")
        url = own[2] if type(own[2]) is str else None
        status = own[3] if type(own[3]) is int else None
        error = kind(message, reason=own[1], url=url, status=status)
    return Failed(stage, type_name, message, traceback, error)


def _check_place(chain: int, stage: int, stages: Sequence[int]) -> None:
    if not (0 <= chain < len(stages) and -1 <= stage < stages[chain]):
        bad("report", "a stage that the chain does not have")


def _check(row: Any, kinds: tuple[type, ...]) -> None:
    if type(row) is not list or len(row) != len(kinds):
        bad("report", f"not {len(kinds)} values")
    for value, kind in zip(row, kinds, strict=True):
        if kind is not object and type(value) is not kind:
            bad("report", f"a {type(value).__name__} instead of a {kind.__name__}")


# -- what is in hand ---------------------------------------------------------------------------


def pack_held(held: Sequence[Held]) -> list[list[Any]]:
    """What a worker's hands are at, in milliseconds."""
    return [[one.lease, one.task, int(one.seconds * 1000)] for one in held]


def held_of(rows: Any) -> list[Held]:
    """The same, read."""
    for row in rows:
        _check(row, (int, int, int))
    return [Held(lease, task, milliseconds / 1000) for lease, task, milliseconds in rows]
