"""What becomes of a datapoint that failed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from dataflow.errors import ConfigError, DatapointError, TooManyErrors, text_of
from dataflow.failure_log import FailureLog, Origin, address_of, reason_of

__all__ = ["ErrorPolicy", "OnError", "error_policies", "policy_of"]

logger = logging.getLogger(__name__)

OnError: TypeAlias = Literal["raise", "skip"] | Callable[[BaseException, Any], Any]
"""``"raise"``, ``"skip"``, or ``f(error, datapoint)`` that returns a replacement or None (skip)."""


class ErrorPolicy:
    """Decides about failed datapoints and remembers them. Lives in the consumer.

    Args:
        on_error: see `OnError`.
        give_up: raise `TooManyErrors` where nothing works: all of the first 50 datapoints of an
            epoch failed, or all of a shorter one; or more than `max_failed` did. Datapoints that
            `on_error` has replacements for have not failed in this sense.
        at_once: datapoints that are under way at the same time: the first of a list may be dead,
            and come back sooner than what works. Twice as many take the place of the 50, if that
            is more.
        max_failed: how many datapoints of an epoch may fail: an int, or as a float their share from
            0 to 1, which is judged at the end. None for no bound.

    Attributes:
        gives_up: `give_up`; without it nobody needs to tell what `passed`.
        at_once: that argument; runners, which know better, set it.
    """

    FIRST = 50

    def __init__(
        self,
        on_error: OnError = "raise",
        *,
        give_up: bool = False,
        at_once: int = 1,
        max_failed: float | None = None,
    ) -> None:
        if on_error not in ("raise", "skip") and not callable(on_error):
            raise ConfigError(f'on_error={on_error!r} must be "raise", "skip" or a callable')
        self.on_error = on_error
        self.counts: Counter[str] = Counter()
        self.log = FailureLog()
        self._last = ""
        self.gives_up = give_up
        self.at_once = at_once
        self._max_failed = _bound(max_failed)
        self._seen = self._failed = self._lost = 0  # of the epoch; failed, and without replacement
        self._warned = False

    @property
    def _first(self) -> int:
        """After how many that all failed to give up."""
        return max(self.FIRST, 2 * self.at_once)

    def passed(self) -> None:
        """A datapoint came through."""
        self._seen += 1

    def failed_with(
        self,
        error: Exception,
        datapoint: Any,
        number: int | None = None,
        origins: Sequence[Origin] = (),
    ) -> Any:
        """Decide about one failure.

        Args:
            error: what was raised.
            datapoint: what the source had.
            number: its number in the epoch, to remember in its place.
            origins: where it came from.

        Returns:
            A replacement, or None to leave the datapoint out.

        Raises:
            Exception: the error itself under ``"raise"``; `TooManyErrors`.
        """
        if isinstance(error, DatapointError) and error.url is None:
            error.url = address_of(datapoint)
        if self.on_error == "raise":
            self.counts[reason_of(error)] += 1
            raise error
        if self.log.add(error, datapoint if number is None else number, origins):
            self.counts[reason_of(error)] += 1
        self._last = text_of(error)
        replacement = self.on_error(error, datapoint) if callable(self.on_error) else None
        self._seen += 1
        self._failed += 1
        self._lost += replacement is None
        if self.gives_up:
            self._judge(error)
        return replacement

    def restore(self, state: Mapping[str, Any], keys: Mapping[int, Sequence[Any]]) -> None:
        """Begin with the failures of a state; see `FailureLog.of_state`."""
        self.log = FailureLog.of_state(state, keys)
        self.counts = Counter(self.log.counts)

    def epoch_began(self) -> None:
        """Count afresh: links that are dead in each of many small epochs are borne in each."""
        self._seen = self._failed = self._lost = 0

    def epoch_ended(self) -> None:
        """Raise `TooManyErrors` where a whole epoch failed, or more of it than may."""
        if not self.gives_up or not self._lost:
            return
        if self._lost == self._seen:
            self._too_many(f"all {self._seen} datapoints of the epoch failed", None)
        bound = self._max_failed
        if isinstance(bound, float) and self._lost > bound * self._seen:
            what = f"{self._lost} of {self._seen} datapoints of the epoch failed"
            self._too_many(f"{what}, more than max_failed={bound:g} of them", None)

    def _judge(self, error: Exception) -> None:
        if self._lost == self._seen == self._first:
            self._too_many(f"all of the first {self._first} datapoints failed", error)
        bound = self._max_failed
        if isinstance(bound, int) and self._lost > bound:
            what = f"{self._lost} datapoints of the epoch failed"
            self._too_many(f"{what}, more than max_failed={bound}", error)
        if not self._warned and self._seen >= self._first and 2 * self._failed > self._seen:
            self._warned = True
            logger.warning(
                "more than half of the datapoints failed, %d of %d so far (%s): see ds.errors()",
                *(self._failed, self._seen, self._reasons()),
            )

    def _reasons(self) -> str:
        return ", ".join(f"{reason} {count}" for reason, count in self.counts.most_common(5))

    def _too_many(self, what: str, error: Exception | None) -> None:
        last = f"; the last: {self._last}" if self._last else ""
        raise TooManyErrors(f"{what} ({self._reasons()}){last}") from error

    def afresh(self, *, give_up: bool | None = None) -> ErrorPolicy:
        """Another one that decides alike and has seen nothing.

        Args:
            give_up: None: as this one.
        """
        other = ErrorPolicy(
            self.on_error,
            give_up=self.gives_up if give_up is None else give_up,
            at_once=self.at_once,
            max_failed=self._max_failed,
        )
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Workers need to know nothing of what failed before."""
        return {"on_error": "raise", "give_up": self.gives_up}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["on_error"], give_up=state["give_up"])  # type: ignore[misc]


def _bound(max_failed: Any) -> float | None:
    """`max_failed`, if it is one.

    Raises:
        ConfigError: it is neither None, nor a number of datapoints, nor a share.
    """
    number = isinstance(max_failed, int) and not isinstance(max_failed, bool) and max_failed >= 0
    if max_failed is None or number or (isinstance(max_failed, float) and 0 <= max_failed <= 1):
        bound: float | None = max_failed
        return bound
    raise ConfigError(
        f"max_failed={max_failed!r} must be a number of datapoints (an int), a share of them (a "
        "float from 0 to 1), or None"
    )


def error_policies(flows: Iterable[Any]) -> list[ErrorPolicy]:
    """The error policies of a chain, each once (a runner may share its source's)."""
    found = {id(policy): policy for flow in flows if (policy := policy_of(flow)) is not None}
    return list(found.values())


def policy_of(flow: Any) -> ErrorPolicy | None:
    """The policy that a flow has, if it has one."""
    policy: ErrorPolicy | None = getattr(flow, "_policy", None)
    return policy
