"""From steps to one straight Python function.

A branch's own steps stand in the branch. What all branches of a choice need stands before it, what
some of them need in an ``if`` before it. What branches of several choices need stands in each, and
is skipped where an earlier one has computed it.

The source is made of names of registered operations, of their own expressions, of numbered names,
of numbers and of single words: whatever a file says, it cannot become code.
"""

from __future__ import annotations

import keyword
import linecache
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from dataflow.stream.draws import mix, root
from dataflow.stream.graph import MISSING, place
from dataflow.stream.inference import declared
from dataflow.stream.located import located
from dataflow.stream.needs import Needs
from dataflow.stream.passes import Step, uses
from dataflow.stream.shared import own
from dataflow.stream.types import Number, Plain, Type

__all__ = ["Code", "TooLarge"]

_LINES = 20_000  # beside one for each step
_BITS = 1 << 29  # that the sets of `Needs` take, or twice as many
_DEPTH = 90  # Python itself takes 100
_NAMES = re.compile(r"[A-Za-z_]\w*")
_WORD = re.compile(r"\w{0,40}", re.ASCII)
_ELIFS = 16  # more of them stand in halves: Python nests each in the one before


class Code:
    """The function of a stream.

    Args:
        outputs: the steps whose values it returns.
        name: its name.
        lazy: compute a branch only when it is taken.

    Raises:
        TooLarge: it would be, unless `lazy` is False.

    Attributes:
        source: its text.
        function: (seed, index) → list of outputs.
    """

    def __init__(self, outputs: list[Step], name: str, *, lazy: bool = True) -> None:
        self._lazy = lazy
        self._names: dict[int, str] = {}
        self._space: dict[str, Any] = {
            "mix": mix,
            "root": root,
            "own": own,
            "MISSING": MISSING,
        }
        self._lines: list[_Line] = []
        self._guarded: set[int] = set()
        self._held: dict[str, int] = {}  # names of what takes memory, and the depth of their block
        self._steps = {step.number: step for step in uses(outputs)}
        self._users = Counter(step.number for step in outputs)
        for step in self._steps.values():
            self._users.update(one.number for one in step.args)
        self._emitted: set[int] = set()
        computed = [step for step in self._steps.values() if step.op is not None]
        choices = [step for step in computed if lazy and step.lazy]
        # What has no choices may be of any length.
        self._most = _LINES + len(computed)
        if len(choices) * len(computed) > _BITS:
            raise TooLarge(f"it has {len(choices)} choices among {len(computed)} steps")
        self._needs = Needs(computed, choices, outputs)
        scope = _Scope(1)
        for number in self._needs.always(outputs):
            self._emit(self._steps[number], scope)
        self._lines.append(_Line(1, f"return [{', '.join(map(self._returned, outputs))}]"))
        self._release()
        while name in self._space or keyword.iskeyword(name):
            name += "_"  # an operation of this name is called in it
        head = [f"def {name}(seed, index):"]
        if any(step.op is not None and step.op.draws for step in self._steps.values()):
            head.append("    base = root(seed, index)")
        head += [
            f"    {name} = MISSING" for name in sorted({self._names[one] for one in self._guarded})
        ]
        self.source = "\n".join([*head, *map(str, self._lines), ""])
        # The step of each line that computes one, for errors: not the text, which is nobody's to
        # read back, nor the node, which would keep the constants.
        self._places = {
            at: (line.step.name, place(line.step.where))
            for at, line in enumerate(self._lines, len(head) + 1)
            if line.step is not None
        }
        del self._lines, self._needs, self._steps  # as large as the graph, and of no more use
        self.function: Callable[[int, int], list[Any]] = self._compiled(name)

    def located(self, error: Exception) -> Exception:
        """What the function raised, with the line of the user's program in its message."""
        code = self.function.__code__
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code is not code:
            trace = trace.tb_next
        found = None if trace is None else self._places.get(trace.tb_lineno)
        return error if found is None else located(error, "in {}, {}".format(*found))

    def _compiled(self, name: str) -> Any:
        file = f"<stream {name} {zlib.crc32(self.source.encode()):08x}>"
        exec(compile(self.source, file, "exec"), self._space)
        # So that a traceback shows the line.
        linecache.cache[file] = (len(self.source), None, self.source.splitlines(True), file)
        return self._space[name]

    # -- statements --------------------------------------------------------------------------

    def _emit(self, step: Step, scope: _Scope) -> None:
        bit = self._needs.mask([step.number])
        if scope.done & bit:
            return
        if step.number in self._emitted:  # in another choice's branch, which may have been taken
            self._guarded.add(step.number)
            self._write(scope.depth, f"if {self._name(step)} is MISSING:")
            self._compute(step, scope.inner())
        else:
            self._compute(step, scope)
            self._emitted.add(step.number)
            if not isinstance(step.type, (Number, Plain)):
                self._held[self._name(step)] = scope.depth
        scope.done |= bit

    def _compute(self, step: Step, scope: _Scope) -> None:
        if step.lazy and self._lazy and len(step.args) > 2:
            self._choose(step, scope)
        else:
            self._write(scope.depth, f"{self._name(step)} = {self._call(step)}", step)

    def _choose(self, step: Step, scope: _Scope) -> None:
        selector, *branches = step.args
        chosen = self._value(selector)
        needs = [self._needs.within(one, scope.done) for one in branches]
        holders: dict[int, list[int]] = {}
        for at, numbers in enumerate(needs):
            for number in numbers:
                holders.setdefault(number, []).append(at)
        some = sorted(number for number, held in holders.items() if len(held) > 1)
        shared: list[list[int]] = [[] for _ in branches]
        last = len(branches) - 1
        for held, group in groupby(some, holders.__getitem__):
            self._write(scope.depth, f"if {_test(chosen, held, last)}:")
            # What is computed whenever this block runs is among what its first branch has.
            ready = [one for one in shared[held[0]] if set(held) <= set(holders[one])]
            inner = scope.inner(self._needs.mask(ready))
            for number in group:
                self._emit(self._steps[number], inner)
                self._held.pop(self._name(self._steps[number]), None)  # other blocks use it
                for at in held:
                    shared[at].append(number)

        def branch(at: int, depth: int) -> None:
            one = branches[at]
            inner = scope.inner(self._needs.mask(shared[at]), depth)
            alone = self._users[one.number] == 1 and one.number in needs[at]
            if alone:  # nobody else asks for it: it needs no name of its own
                self._names[one.number] = self._name(step)
            for number in needs[at]:
                self._emit(self._steps[number], inner)
            if not alone:
                self._write(depth, f"{self._name(step)} = {self._value(one)}", step)

        self._cases(chosen, 0, len(branches), scope.depth, branch)

    def _cases(
        self, chosen: str, first: int, end: int, depth: int, branch: Callable[[int, int], None]
    ) -> None:
        """Branches `first` to `end` as cases of one statement; many as two halves."""
        if end - first > _ELIFS:
            middle = (first + end) // 2
            self._write(depth, f"if {chosen} < {middle}:")
            self._cases(chosen, first, middle, depth + 1, branch)
            self._write(depth, "else:")
            self._cases(chosen, middle, end, depth + 1, branch)
            return
        for at in range(first, end):
            word = "if" if at == first else "elif" if at < end - 1 else "else"
            test = "" if at == end - 1 else f" {chosen} < {at + 1}"
            self._write(depth, f"{word}{test}:")
            branch(at, depth + 1)

    def _release(self) -> None:
        """Let go of arrays after their last use, so that the next ones get their memory."""
        last: dict[str, int] = {}
        for at, line in enumerate(self._lines):
            last.update(dict.fromkeys(_NAMES.findall(line.text), at))
        for number in self._guarded:
            self._held.pop(self._names[number], None)
        order = {name: at for at, name in enumerate(self._held)}
        dying: dict[int, list[tuple[str, int]]] = {}
        for name, depth in self._held.items():
            dying.setdefault(last[name], []).append((name, depth))
        # From the end: for each depth the next line before which a statement of it has ended.
        ends: list[int | None] = [None] * (1 + max(self._held.values(), default=0))
        gone: dict[int, dict[int, list[str]]] = {}
        for at in range(len(self._lines) - 1, -1, -1):
            for name, depth in dying.get(at, ()):
                if (after := ends[depth]) is not None:
                    gone.setdefault(after, {}).setdefault(depth, []).append(name)
            line = self._lines[at]
            goes_on = line.text.startswith(("elif ", "else:"))
            for depth in range(line.depth + goes_on, len(ends)):
                ends[depth] = at
        lines: list[_Line] = []
        for at, line in enumerate(self._lines):
            for depth, names in sorted(gone.get(at, {}).items(), reverse=True):
                lines.append(_Line(depth, f"del {', '.join(sorted(names, key=order.__getitem__))}"))
            lines.append(line)
        self._lines = lines

    def _write(self, depth: int, text: str, step: Step | None = None) -> None:
        if self._lazy and (len(self._lines) > self._most or depth > _DEPTH):
            raise TooLarge("its choices are nested too deeply, or share too much")
        self._lines.append(_Line(depth, text, step))

    # -- expressions -------------------------------------------------------------------------

    def _call(self, step: Step) -> str:
        op = step.op
        assert op is not None, "constants are not computed"
        values = [self._value(one) for one in step.args]
        if op.code is not None:
            return op.code.format(*values)
        if op.draws:
            values.insert(0, f"mix(base ^ {step.bits:#x})")
        self._space[op.name] = op.function
        call = f"{op.name}({', '.join(values)})"
        if op.own and type(step.type) is not Type:
            check = f"check_{step.number}"
            self._space[check] = partial(declared, op.name, step.type)
            return f"{check}({call})"
        return call

    def _value(self, step: Step) -> str:
        return self._name(step) if step.op is not None else self._constant(step)

    def _constant(self, step: Step) -> str:
        value = step.value
        if value is None or isinstance(value, (bool, int)):
            return f"{value}" if not isinstance(value, int) or value >= 0 else f"({value})"
        if isinstance(value, float) and math.isfinite(value):
            return repr(value) if value >= 0 else f"({value!r})"
        if isinstance(value, str) and _WORD.fullmatch(value):
            return repr(value)
        self._space[f"constant_{step.number}"] = value
        return f"constant_{step.number}"

    def _name(self, step: Step) -> str:
        assert step.op is not None, "constants have no name"
        return self._names.setdefault(step.number, f"{step.op.name}_{step.number}")

    def _returned(self, step: Step) -> str:
        if isinstance(step.type, (Number, Plain)):
            return self._value(step)
        return f"own({self._value(step)})"


class TooLarge(Exception):
    """The function would have more lines, or deeper blocks, than make sense."""


class _Line(NamedTuple):
    """A line of the function; with the step that it computes, if it does."""

    depth: int
    text: str
    step: Step | None = None

    def __str__(self) -> str:
        about = "" if self.step is None else f"  # {place(self.step.where)}"
        return "    " * self.depth + self.text + about


class _Scope:
    """A block of the function.

    Attributes:
        depth: its indentation.
        done: the steps that have been computed whenever this block runs, as of `Needs`.
    """

    def __init__(self, depth: int, done: int = 0) -> None:
        self.depth = depth
        self.done = done

    def inner(self, more: int = 0, depth: int | None = None) -> _Scope:
        return _Scope(self.depth + 1 if depth is None else depth, self.done | more)


def _test(chosen: str, branches: Sequence[int], last: int) -> str:
    """An expression: one of these branches is taken. Beyond the ends the first and last one are."""
    tests = []
    for at in branches:
        least = f"{at} <= " if at else ""
        most = f" < {at + 1}" if at < last else ""
        tests.append(f"{least}{chosen}{most}")
    return " or ".join(tests)
