"""Whether two programs mean the same."""

from __future__ import annotations

import sys
import textwrap
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import dataflow as df
from dataflow.plan import code
from dataflow.plan.code import code_of, different_code, different_versions, versions_of

PROGRAM = '''
import functools
import dataflow as df
import used_by_a_program as helpers

SIZE = 224
NAMES = ["cat", "dog"]
PLACE = "/data/here"
_found = []

def inner(x):
    """Says what it does."""
    return x + 1

def work(dp, by=2):
    _found.append(1)
    return [helpers.times(inner(dp[0])) * by, SIZE, NAMES[0], PLACE]

class Scale:
    FACTOR = 5

    def __call__(self, dp):
        return [dp[0] * self.FACTOR]

def closed(n):
    return lambda dp: [dp[0] - n]

class Own(df.ProxyDataFlow):
    def __iter__(self):
        for dp in self.ds:
            yield dp

def flow():
    ds = df.DataFromList([[i] for i in range(3)])
    ds = Own(ds.map(work).map(Scale()).map(closed(7)).map(functools.partial(work, by=4)))
    return df.AugmentImageComponent(ds, [df.imgaug.MapImage(lambda image: image / 255)])
'''

HELPERS = "def times(x):\n    return x * 2\n"


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[Any]:
    """Programs of the user's, all under the same name, one after the other."""
    made = ("a_program", "used_by_a_program")

    def load(program: str = PROGRAM, helpers: str = HELPERS) -> list[list[str]]:
        code._place.cache_clear()
        for name, text in zip(reversed(made), (helpers, program), strict=True):
            path = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}.py"
            path.write_text(text)
            module = sys.modules[name] = types.ModuleType(name)
            module.__file__ = str(path)
            exec(compile(text, path, "exec"), vars(module))
        return code_of(vars(sys.modules["a_program"])["flow"]())

    yield load
    for name in made:
        sys.modules.pop(name, None)
    code._place.cache_clear()


def test_everything_that_it_uses_is_in_it(modules: Any) -> None:
    assert {name for name, *_ in modules()} == {
        *("work", "inner", "times", "SIZE", "NAMES", "Scale.__call__", "Scale.FACTOR"),
        *("closed.<locals>.<lambda>", "Own.__iter__", "flow.<locals>.<lambda>"),
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x + 1", "return (x + 1)  # one more"),
        ("Says what it does.", "Adds one."),
        ('PLACE = "/data/here"', 'PLACE = "~/there"'),
        ("_found = []", "_found = [1, 2]"),
        ("class Scale:", "OTHER = 1\n\nclass Scale:"),
        ("def flow():", "def unused():\n    return 1\n\ndef flow():"),
    ],
)
def test_the_same(modules: Any, old: str, new: str) -> None:
    assert old in PROGRAM
    assert different_code(modules(), modules(PROGRAM.replace(old, new))) == []


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("x + 1", "x + 2", ["inner"]),
        ("SIZE = 224", "SIZE = 256", ["SIZE"]),
        ('["cat", "dog"]', '["dog", "cat"]', ["NAMES"]),
        ("FACTOR = 5", "FACTOR = 6", ["Scale.FACTOR"]),
        ("* self.FACTOR", "// self.FACTOR", ["Scale.__call__"]),
        ("closed(7)", "closed(8)", ["closed.<locals>.<lambda>"]),
        ("by=2", "by=3", ["work"]),
        ("yield dp", "yield [dp[0]]", ["Own.__iter__"]),
        ("image / 255", "image / 256", ["flow.<locals>.<lambda>"]),
        ("helpers.times(", "helpers.more(", ["work", "times", "more"]),
    ],
)
def test_different(modules: Any, old: str, new: str, names: list[str]) -> None:
    assert old in PROGRAM
    helpers = HELPERS + "\n\ndef more(x):\n    return 3 * x\n"
    found = different_code(modules(helpers=helpers), modules(PROGRAM.replace(old, new), helpers))
    assert sorted(found) == sorted(names)


def test_a_function_of_another_module_of_the_users(modules: Any) -> None:
    assert different_code(modules(), modules(helpers=HELPERS.replace("2", "3"))) == ["times"]


def test_between_versions_of_python() -> None:
    """The source decides, and where there is none, nobody can tell."""
    here = [["f", "3.11 a", "s", "v"]]
    assert different_code(here, [["f", "3.12 b", "s", "v"]]) == []
    assert different_code(here, [["f", "3.12 b", "t", "v"]]) == ["f"]
    assert different_code(here, [["f", "3.12 b", "", "v"]]) == []
    assert different_code(here, [["f", "3.12 b", "s", "w"]]) == ["f"]
    assert different_code(here, [["f", "3.11 b", "", "v"]]) == ["f"]
    assert different_code(here, []) == different_code([], here) == ["f"]


def test_versions() -> None:
    import scipy.ndimage

    ds = df.DataFromList([[1]]).map(partial(scipy.ndimage.zoom, 2))
    found = versions_of(ds)
    assert {"Python", "dataflow", "NumPy", "OpenCV", "scipy"} <= set(found)
    other = {**found, "NumPy": "1.0", "more": "2"}
    assert different_versions(found, other) == [f"NumPy 1.0 there, {found['NumPy']} here"]


def test_what_has_no_source_and_what_is_odd() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(textwrap.dedent("def f(dp):\n    return f(dp) if 0 else {1, 2}\n"), names)

    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self, dp: Any) -> Any:
            return dp

    ds = df.DataFromList([[1]]).map(names["f"]).map(len).map(Odd())  # type: ignore[arg-type]
    found = {name: digests for name, *digests in code_of(ds)}
    assert found["f"][1] == "" and any("Odd" in name for name in found)
