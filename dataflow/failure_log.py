"""What failed: every datapoint of a run, with the reason, in little memory and in states."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from dataflow.errors import DatapointError, WorkerError, text_of

__all__ = ["FailedDatapoint", "FailureList", "FailureLog", "Origin", "address_of", "reason_of"]

_COLUMNS = ("url", "reason", "status", "trials", "host", "message", "datapoint")
_HERE = "\0"  # in a message that is kept, where the address of the datapoint stands


class _Failed(NamedTuple):
    datapoint: Any
    reason: str
    message: str


class FailedDatapoint(_Failed):
    """One entry of `ds.errors()`: ``datapoint, reason, message``.

    Attributes:
        datapoint: what the source had, such as ``[url, label]``; of a batch that could not be made
            those of all its members; of a source without keys just the number in its epoch,
            because the datapoint itself may be large.
        reason: a word that can be counted.
        message: for a person.
        url: the address or path, where it is known.
        status: the HTTP status, where an answer with one came.
        trials: how often it was tried, of a download.
    """

    url: str | None = None
    status: int | None = None
    trials: int | None = None

    @property
    def host(self) -> str | None:
        """That of the URL."""
        try:
            return None if self.url is None else urlsplit(self.url).hostname
        except ValueError:  # it is none
            return None


class FailureList(list[FailedDatapoint]):
    """What `ds.errors()` returns."""

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a file with a line for each: url, reason, status, trials, host, message, datapoint.

        Raises:
            OSError: it cannot be written.
        """
        import csv

        with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(_COLUMNS)
            for one in self:
                lines.writerow([getattr(one, name) for name in _COLUMNS])


class Origin(NamedTuple):
    """Where a failed datapoint came from, if that is known.

    Attributes:
        source: the stage number of the source.
        rows: its keys.
        place: in them.
        tag: where in the run; the same place of the source may come several times.
    """

    source: int
    rows: Sequence[Any]
    place: int
    tag: tuple[Any, ...]


class _Kind(NamedTuple):
    """What many failures have in common; kept once."""

    reason: str
    message: str
    status: int | None
    trials: int | None
    url: str | None  # where it is not the datapoint's own, which the source has


class _Record(NamedTuple):
    kind: _Kind
    key: Any  # what the source had; None where `origins` have it
    origins: tuple[Origin, ...]


class FailureLog:
    """The failed datapoints of an `ErrorPolicy`, in the order in which they failed."""

    def __init__(self) -> None:
        self._records: list[_Record] = []
        self._kinds: dict[_Kind, _Kind] = {}
        self._again: set[tuple[int, Any]] = set()  # of the state: may come a second time
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, error: BaseException, key: Any, origins: Sequence[Origin] = ()) -> bool:
        """Enter one.

        Args:
            error: what was raised.
            key: what the source had, or the number of the datapoint.
            origins: where it came from; of a batch, all of its members.

        Returns:
            False where it is one of the state that was loaded: it was met ahead of where the state
            was told, and now again.
        """
        marks = {(one.source, one.tag) for one in origins}
        if marks and marks <= self._again:
            self._again -= marks
            return False
        reason, message = reason_of(error), _message(error)
        url, own = getattr(error, "url", None), address_of(key)
        kind = _Kind(
            reason,
            message.replace(own, _HERE) if own else message,
            getattr(error, "status", None),
            getattr(error, "trials", None),
            None if url == own else url,
        )
        kind = self._kinds.setdefault(kind, kind)
        # Columns make a row anew each time that it is read, so this one would be kept for nothing.
        made_anew = len(origins) == 1 and hasattr(origins[0].rows, "take")
        self._records.append(_Record(kind, None if made_anew else key, tuple(origins)))
        self.counts[reason] += 1
        return True

    def list(self) -> Iterable[FailedDatapoint]:
        """All of them."""
        for kind, key, origins in self._records:
            if key is None and origins:
                key = origins[0].rows[origins[0].place]
            own = address_of(key)
            failed = FailedDatapoint(key, kind.reason, kind.message.replace(_HERE, own or ""))
            failed.url, failed.status, failed.trials = kind.url or own, kind.status, kind.trials
            yield failed

    def keys(self) -> dict[tuple[int, int], Any]:
        """What the sources had, each once, by source and place: what can be tried again."""
        found: dict[tuple[int, int], Any] = {}
        for _, key, origins in self._records:
            for member, (source, rows, place, _) in enumerate(origins):
                if key is None:
                    found[source, place] = rows[place]
                else:
                    found[source, place] = key if len(origins) == 1 else key[member]
        return found

    # -- in states -----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """As numbers and text; what has no place in a source is left out."""
        kinds: dict[_Kind, int] = {}
        rows = []
        for kind, _, origins in self._records:
            if origins:
                places = [[one.source, one.place, *one.tag] for one in origins]
                rows.append([kinds.setdefault(kind, len(kinds)), *places])
        return {"kinds": [list(kind) for kind in kinds], "rows": rows} if rows else {}

    @classmethod
    def of_state(cls, state: Mapping[str, Any], keys: Mapping[int, Sequence[Any]]) -> FailureLog:
        """One that begins with those of a state.

        Args:
            state: what `state` gave.
            keys: those of each source, by its stage number.
        """
        log = cls()
        kinds = [_Kind(*kind) for kind in state.get("kinds", ())]
        log._kinds = {kind: kind for kind in kinds}
        for number, *places in state.get("rows", ()):
            origins = tuple(
                Origin(source, keys[source], place, tuple(tag)) for source, place, *tag in places
            )
            many = [one.rows[one.place] for one in origins] if len(origins) > 1 else None
            log._records.append(_Record(kinds[number], many, origins))
            log._again |= {(one.source, one.tag) for one in origins}
            log.counts[kinds[number].reason] += 1
        return log


def reason_of(error: BaseException) -> str:
    """The word under which an error is counted: its own reason, or its type's name."""
    if isinstance(error, DatapointError):
        return error.reason
    if isinstance(error, WorkerError):
        return error.type_name.rpartition(".")[2]
    return type(error).__name__


def _message(error: BaseException) -> str:
    """What an error says; of one of a worker's without its traceback, which takes much room."""
    if isinstance(error, WorkerError):
        return f"{error.type_name}: {error.message}"
    return text_of(error)


def address_of(datapoint: Any) -> str | None:
    """The URL or path of a source's datapoint, where it looks like one."""
    if isinstance(datapoint, dict):  # of a table, whose first column has the addresses
        value = next(iter(datapoint.values()), None)
        return value if isinstance(value, str) and "://" in value else None
    first = datapoint[0] if isinstance(datapoint, (list, tuple)) and datapoint else None
    return first if isinstance(first, str) else None
