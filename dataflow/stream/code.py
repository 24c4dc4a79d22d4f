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
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from typing import Any

from dataflow.stream.draws import mix, root
from dataflow.stream.graph import MISSING, place
from dataflow.stream.inference import declared
from dataflow.stream.passes import Step, uses
from dataflow.stream.shared import own
from dataflow.stream.types import Number, Plain, Type

__all__ = ["Code", "TooLarge", "told_where"]

_LINES = 20_000
_DEPTH = 90  # Python itself takes 100
_NAMES = re.compile(r"[A-Za-z_]\w*")
_WORD = re.compile(r"\w{0,40}", re.ASCII)
_STATEMENT = re.compile(r"\s*(\w+?)_\d+ = .*  # (\S.*)$")


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
        self._lines: list[str] = []
        self._guarded: set[int] = set()
        self._needs: dict[int, frozenset[int]] = {}  # of choices
        self._held: dict[str, int] = {}  # names of what takes memory, and the depth of their block
        self._steps = {step.number: step for step in uses(outputs)}
        self._users = Counter(step.number for step in outputs)
        for step in self._steps.values():
            self._users.update(one.number for one in step.args)
        self._emitted: set[int] = set()
        scope = _Scope(1)
        if lazy:
            for step in self._steps.values():
                if step.lazy:
                    self._needs[step.number] = self._needed_to_choose(step)
        for number in sorted(self._needed(*outputs)):
            self._emit(self._steps[number], scope)
        self._lines.append(f"    return [{', '.join(map(self._returned, outputs))}]")
        self._release()
        while name in self._space or keyword.iskeyword(name):
            name += "_"  # an operation of this name is called in it
        head = [f"def {name}(seed, index):"]
        if any(step.op is not None and step.op.draws for step in self._steps.values()):
            head.append("    base = root(seed, index)")
        head += [
            f"    {name} = MISSING" for name in sorted({self._names[one] for one in self._guarded})
        ]
        self.source = "\n".join([*head, *self._lines, ""])
        self.function: Callable[[int, int], list[Any]] = self._compiled(name)

    def _compiled(self, name: str) -> Any:
        file = f"<stream {name} {zlib.crc32(self.source.encode()):08x}>"
        exec(compile(self.source, file, "exec"), self._space)
        # So that a traceback shows the line.
        linecache.cache[file] = (len(self.source), None, self.source.splitlines(True), file)
        return self._space[name]

    # -- what is needed ----------------------------------------------------------------------

    def _needed(self, *steps: Step) -> frozenset[int]:
        """The steps that are computed whenever `steps` are, themselves included; no constants."""
        found: set[int] = set()
        todo = list(steps)
        while todo:
            step = todo.pop()
            if step.op is None or step.number in found:
                continue
            if (chosen := self._needs.get(step.number)) is not None:
                found |= chosen
            else:
                found.add(step.number)
                todo.extend(step.args)
        return frozenset(found)

    def _needed_to_choose(self, step: Step) -> frozenset[int]:
        """The same of a choice, where those in it are known: what all of its branches need."""
        if step.op is None:
            return frozenset()
        selector, *branches = step.args
        shared = frozenset.intersection(*map(self._needed, branches))
        return shared | self._needed(selector) | {step.number}

    # -- statements --------------------------------------------------------------------------

    def _emit(self, step: Step, scope: _Scope) -> None:
        if step.number in scope.done:
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
        scope.done.add(step.number)

    def _compute(self, step: Step, scope: _Scope) -> None:
        if step.lazy and self._lazy and len(step.args) > 2:
            self._choose(step, scope)
        else:
            self._write(scope.depth, f"{self._name(step)} = {self._call(step)}", step)

    def _choose(self, step: Step, scope: _Scope) -> None:
        selector, *branches = step.args
        chosen = self._value(selector)
        needs = [self._needed(one) - scope.done for one in branches]
        holders: dict[int, tuple[int, ...]] = {}
        for number in sorted(frozenset().union(*needs)):
            holders[number] = tuple(i for i, one in enumerate(needs) if number in one)
        some = [number for number, held in holders.items() if len(held) > 1]
        last = len(branches) - 1
        ready: list[int] = []
        for held, numbers in groupby(some, holders.__getitem__):
            self._write(scope.depth, f"if {_test(chosen, held, last)}:")
            inner = scope.inner(one for one in ready if set(held) <= set(holders[one]))
            for number in numbers:
                self._emit(self._steps[number], inner)
                self._held.pop(self._name(self._steps[number]), None)  # other blocks use it
                ready.append(number)
        for at, branch in enumerate(branches):
            word = "if" if at == 0 else "elif" if at < last else "else"
            test = "" if at == last else f" {chosen} < {at + 1}"
            self._write(scope.depth, f"{word}{test}:")
            inner = scope.inner(number for number in some if at in holders[number])
            alone = branch.number in needs[at] and self._users[branch.number] == 1
            if alone:  # nobody else asks for it: it needs no name of its own
                self._names[branch.number] = self._name(step)
            for number in sorted(needs[at]):
                self._emit(self._steps[number], inner)
            if not alone:
                self._write(inner.depth, f"{self._name(step)} = {self._value(branch)}", step)

    def _release(self) -> None:
        """Let go of arrays after their last use, so that the next ones get their memory."""
        last: dict[str, int] = {}
        for at, line in enumerate(self._lines):
            last.update(dict.fromkeys(_NAMES.findall(line.partition("  # ")[0]), at))
        for number in self._guarded:
            self._held.pop(self._names[number], None)
        gone: dict[tuple[int, int], list[str]] = {}
        for name, depth in self._held.items():
            after = last[name] + 1
            while after < len(self._lines) and not _ends(self._lines[after], depth):
                after += 1
            if after < len(self._lines):
                gone.setdefault((after, depth), []).append(name)
        # From the end, so that places stay; of one place the deepest comes to stand first.
        for (after, depth), names in sorted(gone.items(), key=lambda one: (-one[0][0], one[0][1])):
            self._lines.insert(after, "    " * depth + f"del {', '.join(names)}")

    def _write(self, depth: int, text: str, step: Step | None = None) -> None:
        if self._lazy and (len(self._lines) > _LINES or depth > _DEPTH):
            raise TooLarge("its choices are nested too deeply, or share too much")
        about = "" if step is None else f"  # {place(step.where)}"
        self._lines.append("    " * depth + text + about)

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


def told_where(error: Exception) -> None:
    """Have the message of what a stream's function raised say which line of the user's made it."""
    trace, line = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith("<stream "):
            line = linecache.getline(file, trace.tb_lineno)
        trace = trace.tb_next
    if (found := _STATEMENT.match(line)) is None:
        return
    what = f"in {found[1]}, {found[2]}"
    said = str(error)
    if what in said:
        return
    if len(error.args) == 1 and said == str(error.args[0]):
        error.args = (f"{said} ({what})",)
    elif hasattr(error, "add_note"):  # it puts its message together by itself
        error.add_note(what)


class TooLarge(Exception):
    """The function would have more lines, or deeper blocks, than make sense."""


class _Scope:
    """A block of the function.

    Attributes:
        depth: its indentation.
        done: the steps that have been computed whenever this block runs.
    """

    def __init__(self, depth: int, done: Iterable[int] = ()) -> None:
        self.depth = depth
        self.done = set(done)

    def inner(self, more: Iterable[int] = ()) -> _Scope:
        return _Scope(self.depth + 1, self.done.union(more))


def _ends(line: str, depth: int) -> bool:
    """Whether a statement of a block of this depth, or the block, ended before this line."""
    text = line.lstrip()
    deep = (len(line) - len(text)) // 4
    return deep < depth or (deep == depth and not text.startswith(("elif ", "else:")))


def _test(chosen: str, branches: tuple[int, ...], last: int) -> str:
    """An expression: one of these branches is taken. Beyond the ends the first and last one are."""
    tests = []
    for at in branches:
        least = f"{at} <= " if at else ""
        most = f" < {at + 1}" if at < last else ""
        tests.append(f"{least}{chosen}{most}")
    return " or ".join(tests)
