"""How many workers may die."""

from __future__ import annotations

__all__ = ["RestartBudget"]


class RestartBudget:
    """Counts deaths without progress in between: a result of any worker is progress.

    What is noticed at one look at the workers may have happened in any order. A consumer that was
    away sees results and deaths at once that came in turn, so of deaths beside results one counts.

    Args:
        most: deaths that are borne.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._progressed = False
        self.deaths = 0

    def look(self) -> None:
        """The workers are looked at anew."""
        self._progressed = False

    def progress(self) -> None:
        """There is a result."""
        self._progressed = True
        self.deaths = 0

    def death(self) -> None:
        """A worker died by itself."""
        self.deaths = 1 if self._progressed else self.deaths + 1

    @property
    def spent(self) -> bool:
        """Whether more died than are borne."""
        return self.deaths > self._most
