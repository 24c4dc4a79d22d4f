"""Which steps are computed whenever one is: what decides where in a stream's function they stand.

Sets of steps are integers, a bit for each. A chain of choices has as many sets as choices, each
with all that was before; as sets of numbers they would take hundreds of times as much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from dataflow.stream.passes import Step

__all__ = ["Needs"]

_FEW = 32


class Needs:
    """The needs of the steps of a function.

    Args:
        steps: all that are computed, in order.
        choices: those of which one branch is computed only.
        outputs: the steps whose values are returned.
    """

    def __init__(
        self, steps: Sequence[Step], choices: Sequence[Step], outputs: Sequence[Step]
    ) -> None:
        self._order = [step.number for step in steps]
        self._found: dict[int, int] | None = None
        if not choices:  # all is needed, always
            return
        self._ranks = {number: rank for rank, number in enumerate(self._order)}
        found: dict[int, int] = {}
        self._found = found
        lazy = {step.number for step in choices}
        asked = {step.number for step in outputs}
        asked.update(one.number for step in choices for one in step.args[1:])
        users = Counter(one.number for step in steps for one in step.args)
        for step in steps:
            below = [found.get(one.number, 0) for one in step.args]
            mine = 1 << self._ranks[step.number]
            if step.number in lazy:
                shared = below[1]
                for one in below[2:]:
                    shared &= one
                below = [below[0], shared]
            for one in below:
                mine |= one
            found[step.number] = mine
            for arg in step.args:
                users[arg.number] -= 1
                if not users[arg.number] and arg.number not in asked:
                    found.pop(arg.number, None)

    def always(self, outputs: Sequence[Step]) -> list[int]:
        """The numbers of the steps that are computed in any case, in order."""
        if self._found is None:
            return self._order
        mask = 0
        for step in outputs:
            mask |= self._found.get(step.number, 0)
        return self._numbers(mask)

    def within(self, branch: Step, done: int) -> list[int]:
        """The numbers of the steps that a choice's branch needs, but for those that are `done`."""
        return self._numbers(
            0 if self._found is None else self._found.get(branch.number, 0) & ~done
        )

    def mask(self, numbers: Iterable[int]) -> int:
        """The set of these steps; where there are no choices, nobody asks what is in one."""
        mask = 0
        if self._found is not None:
            for number in numbers:
                mask |= 1 << self._ranks[number]
        return mask

    def _numbers(self, mask: int) -> list[int]:
        order = self._order
        if mask.bit_count() > _FEW:
            return [order[rank] for rank, bit in enumerate(f"{mask:b}"[::-1]) if bit == "1"]
        found = []
        while mask:
            found.append(order[(mask & -mask).bit_length() - 1])
            mask &= mask - 1
        return found
