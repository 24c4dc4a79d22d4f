"""What becomes of a datapoint that failed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

from dataflow.errors import ConfigError, DatapointError, TooManyErrors, WorkerError, text_of

__all__ = ["ErrorPolicy", "FailedDatapoint", "OnError", "error_policies", "policy_of"]

OnError: TypeAlias = Literal["raise", "skip"] | Callable[[BaseException, Any], Any]
"""``"raise"``, ``"skip"``, or ``f(error, datapoint)`` that returns a replacement or None (skip)."""


class FailedDatapoint(NamedTuple):
    """One entry of `ds.errors()`.

    Attributes:
        datapoint: what the source had, such as ``[url, label]``; of a source without keys just
            the number in its epoch, because the datapoint itself may be large.
        reason: a word that can be counted.
        message: for a person.
    """

    datapoint: Any
    reason: str
    message: str


class ErrorPolicy:
    """Decides about failed datapoints and remembers them. Lives in the consumer.

    Args:
        on_error: see `OnError`.
        give_up: raise `TooManyErrors` once the first 50 datapoints all failed, more than half of
            the last 1,000 did, or all of an epoch.

    Attributes:
        gives_up: that argument; without it nobody needs to tell what `passed`.
    """

    RECENT = 1000
    FIRST = 50
    KEEP = 1000

    def __init__(self, on_error: OnError = "raise", *, give_up: bool = False) -> None:
        if on_error not in ("raise", "skip") and not callable(on_error):
            raise ConfigError(f'on_error={on_error!r} must be "raise", "skip" or a callable')
        self.on_error = on_error
        self.counts: Counter[str] = Counter()
        self.failures: deque[FailedDatapoint] = deque(maxlen=self.KEEP)
        # Every failed datapoint, for `retry_failed`: references to what the source holds anyway.
        self.failed: list[Any] = []
        self._known: set[int] = set()  # ids of those, which are alive as long as they are listed
        self.gives_up = give_up
        self._recent: deque[bool] = deque(maxlen=self.RECENT)
        self._recent_failures = 0
        self._seen = self._bad = 0

    def passed(self) -> None:
        """A datapoint came through."""
        if self.gives_up:
            self._note(False)

    def failed_with(self, error: Exception, datapoint: Any, number: int | None = None) -> Any:
        """Decide about one failure.

        Args:
            error: what was raised.
            datapoint: what the source had.
            number: its number in the epoch, to remember in its place.

        Returns:
            A replacement, or None to leave the datapoint out.

        Raises:
            Exception: the error itself under ``"raise"``; `TooManyErrors`.
        """
        reason = reason_of(error)
        if isinstance(error, DatapointError) and error.url is None:
            error.url = _address(datapoint)
        self.counts[reason] += 1
        if self.on_error == "raise":
            raise error
        keyed = number is None
        self.failures.append(
            FailedDatapoint(datapoint if keyed else number, reason, text_of(error))
        )
        if keyed and id(datapoint) not in self._known:
            self._known.add(id(datapoint))
            self.failed.append(datapoint)
        if self.gives_up:
            self._note(True)
            if self._bad == self._seen == self.FIRST:
                self._too_many(f"all of the first {self.FIRST} datapoints failed", error)
            if self._recent_failures * 2 > self.RECENT:
                self._too_many(f"more than half of the last {self.RECENT} datapoints failed", error)
        return self.on_error(error, datapoint) if callable(self.on_error) else None

    def epoch_began(self) -> None:
        """Count afresh: links that are dead in each of many small epochs are borne in each."""
        self._seen = self._bad = 0
        self._recent.clear()
        self._recent_failures = 0

    def epoch_ended(self) -> None:
        """Raise `TooManyErrors` where a whole epoch failed."""
        if self.gives_up and self._seen and self._bad == self._seen:
            self._too_many(f"all {self._seen} datapoints of the epoch failed", None)

    def _note(self, bad: bool) -> None:
        if len(self._recent) == self.RECENT:
            self._recent_failures -= self._recent[0]
        self._recent.append(bad)
        self._recent_failures += bad
        self._seen += 1
        self._bad += bad

    def _too_many(self, what: str, error: Exception | None) -> None:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.most_common(5))
        last = f"; the last: {self.failures[-1].message}" if self.failures else ""
        raise TooManyErrors(f"{what} ({reasons}){last}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Workers need to know nothing of what failed before."""
        return {"on_error": "raise", "give_up": self.gives_up}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["on_error"], give_up=state["give_up"])  # type: ignore[misc]


def error_policies(flows: Iterable[Any]) -> list[ErrorPolicy]:
    """The error policies of a chain, each once (a runner may share its source's)."""
    found = {id(policy): policy for flow in flows if (policy := policy_of(flow)) is not None}
    return list(found.values())


def policy_of(flow: Any) -> ErrorPolicy | None:
    """The policy that a flow has, if it has one."""
    policy: ErrorPolicy | None = getattr(flow, "_policy", None)
    return policy


def _address(datapoint: Any) -> str | None:
    """The URL or path of a source's datapoint, where it looks like one."""
    first = datapoint[0] if isinstance(datapoint, (list, tuple)) and datapoint else None
    return first if isinstance(first, str) else None


def reason_of(error: BaseException) -> str:
    """The word under which an error is counted: its own reason, or its type's name."""
    if isinstance(error, DatapointError):
        return error.reason
    if isinstance(error, WorkerError):
        return error.type_name.rpartition(".")[2]
    return type(error).__name__
