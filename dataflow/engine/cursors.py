"""The state of a pass: the places of the flows that have one, and whether they can be had again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.epoch import Epoch
from dataflow.errors import NotResumable
from dataflow.node import stage_number

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Cursors"]

_Cursor = TypeVar("_Cursor")


class Cursors:
    """The cursors of one pass, by branch and stage number; a flow asks for its own.

    Args:
        saved: the cursors of the pass that is resumed, as `state` gave them.
        before: the one of the pass before, whose sticky cursors stay in force.
        resumed: the chain's state was loaded.

    Attributes:
        resumed: that was so before this pass or an earlier one, so the seed is not just any.
        lost: why what was delivered can never be had again; None where it can.
    """

    def __init__(
        self,
        saved: Mapping[str, Any],
        before: Cursors | None = None,
        *,
        resumed: bool = False,
    ) -> None:
        self.resumed: bool = resumed or (before is not None and before.resumed)
        self._saved = dict(saved)
        self._cursors: dict[str, tuple[int, bool, Any]] = {}  # epoch number, sticky, cursor
        self._nested: list[tuple[Cursors, bool]] = []
        if before is not None:
            self._saved |= {key: one for key, one in before._saved.items() if "sticky" in one}
            self._cursors = {key: one for key, one in before._cursors.items() if one[1]}
            self._nested = [one for one in before._nested if one[1] or one[0]._goes_on]
        self._needed: list[Callable[[], object]] = []
        self._refused: str | None = None
        self.lost: str | None = None
        self._unordered = False
        self._once: str | None = None
        self._apart = False
        self._around: Cursors | None = None

    # -- what flows ask for ------------------------------------------------------------------

    def cursor(
        self,
        flow: Any,
        epoch: Epoch,
        make: Callable[[dict[str, Any]], _Cursor],
        *,
        sticky: bool = False,
        fixed: bool = False,
        beside: str = "",
    ) -> _Cursor:
        """A stage's place in an epoch, which is part of the pass's state.

        Args:
            flow: the stage.
            epoch: the epoch that it was opened with.
            make: builds the cursor from what its `state()` was, from {} at the beginning.
            sticky: it stays in force when the pass is over.
            fixed: it does not move.
            beside: tells it from the engine's own for the same flow.
        """
        if fixed and self._around is not None:
            return self._around.cursor(flow, epoch, make, fixed=True, beside=beside)
        key = _key(flow, epoch) + beside
        saved = self._saved.pop(key, {})
        if saved and not sticky and saved["epoch"] != epoch.number:
            saved = {}
        cursor = make(saved)
        self._cursors[key] = (epoch.number, sticky, cursor)
        return cursor

    def nested(self, saved: Mapping[str, Any], *, keeps: bool) -> Self:
        """One for a pass of what a stage goes through by itself; `keeps`: it outlives this one."""
        inner = self._another(saved)
        self._nested = [one for one in self._nested if not one[1]] if keeps else self._nested
        self._nested.append((inner, keeps))
        return inner

    def apart(self, saved: Mapping[str, Any]) -> Self:
        """One for a pass that a stage does again where it must, which is no part of the state."""
        inner = self._another(saved)
        inner._apart = True
        return inner

    def apart_from(self, flow: Any, epoch: Epoch, place: int) -> Self:
        """The same for a pass over `flow` that begins at a place of it, if the flow has places.

        What does not move in it is part of the state.
        """
        saved = {_key(flow, epoch): {"epoch": epoch.number, "next": place}} if place else {}
        inner = self.apart(saved)
        inner._around = self
        return inner

    @property
    def began(self) -> bool:
        """Whether the flow that was opened began where the cursors said."""
        return not self._saved

    def _another(self, saved: Mapping[str, Any]) -> Self:
        """One like this, for a pass within this one."""
        return type(self)(saved, resumed=self.resumed)

    def once(self, why: str) -> None:
        """Some flow tells its place, but could not do the pass again from the beginning."""
        self._once = self._once or why

    def need(self, check: Callable[[], object]) -> None:
        """The pass can only be resumed where `check` raises no `NotResumable`."""
        self._needed.append(check)

    def refuse(self, why: str, *, lost: bool = False) -> None:
        """Some stage cannot tell its place: the pass can only be resumed by doing it again.

        Args:
            why: for a person.
            lost: not even so.
        """
        self._refused = self._refused or why
        self.lost = self.lost or (why if lost else None)

    # -- what the outermost flow asks for ----------------------------------------------------

    def state(self, *, finished: bool = False) -> dict[str, Any]:
        """Every cursor, in numbers and text; after the end of the pass, those that go on."""
        told: dict[str, Any] = dict(self._saved)
        for key, (number, sticky, cursor) in self._cursors.items():
            told[key] = {"epoch": number, **cursor.state()} | ({"sticky": True} if sticky else {})
        return {key: one for key, one in told.items() if not finished or "sticky" in one}

    def replays(self, *, finished: bool) -> str | None:
        """Why the pass can only be resumed by doing it again; None where it need not be.

        Raises:
            NotResumable: where even that would not lead to the same place.
        """
        for check in self._needed:
            check()
        nested = list(self._all_nested())
        if any(one._goes_on and not keeps for one, keeps in nested):
            raise NotResumable(
                "a FixedSizeData goes on from epoch to epoch, upstream of one that starts over. "
                "Give both the same keep_state"
            )
        if finished and not any(one._refused for one, keeps in nested if keeps):
            return None  # the next pass begins afresh
        inner: list[tuple[Cursors, bool]] = [(self, False), *nested]
        if (lost := next((one.lost for one, _ in inner if one.lost), None)) is not None:
            raise NotResumable(lost)
        why = next((one._refused for one, _ in inner if one._refused), None)
        if why is None:
            return None
        if (once := next((one._once for one, _ in inner if one._once), None)) is not None:
            raise NotResumable(f"{why}, and {once}")
        if any(one._unordered for one, _ in inner):
            raise NotResumable(
                f"{why}, and a runner upstream delivers in no fixed order. Give it "
                "ordered=True, set a seed, or put that stage upstream of the batches"
            )
        if any(keeps for _, keeps in inner) or any(one[1] for one in self._cursors.values()):
            raise NotResumable(
                f"{why}, and FixedSizeData goes on from epoch to epoch, so one epoch done again "
                "does not lead there. Give it keep_state=False"
            )
        return why

    def _all_nested(self) -> Iterator[tuple[Cursors, bool]]:
        """Those within this one, at any depth; and whether they, or one around them, outlive it."""
        for one, keeps in self._nested:
            yield one, keeps
            yield from ((inner, keeps or its_own) for inner, its_own in one._all_nested())

    @property
    def _goes_on(self) -> bool:
        """Whether a flow in the pass goes on where this one ends."""
        return any(one[1] for one in self._cursors.values()) or any(
            inner._goes_on for inner, _ in self._nested
        )


def _key(flow: Any, epoch: Epoch) -> str:
    """Of a flow's cursor."""
    return ".".join(map(str, (*epoch.path, stage_number(flow))))
