"""Functions that no other process can import, and what a traceback says of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import linecache
import os
import pickle
import re
import subprocess
import sys
import traceback
import zipfile
from pathlib import Path
from types import CodeType

import pytest

from dataflow.codec import functions

ROOT = Path(__file__).resolve().parents[2]

# What a traceback from a worker must show: of each, the function's name and a line of its source.
PLACES = {
    "script": "raise ValueError('script')",
    "nested": "raise ValueError('nested')",
    "<lambda>": "lambda dp: 1 / 0",
    "closure": "raise ValueError(word)",
    "method": "raise ValueError('method')",
    "in_cell": "raise ValueError('cell')",
}

SCRIPT = """
import linecache
import dataflow as df

def script(dp):
    raise ValueError('script')

def outer(dp):
    def nested():
        raise ValueError('nested')
    return nested()

def enclosing(word):
    def closure(dp):
        raise ValueError(word)
    return closure

class Stage:
    def method(self, dp):
        raise ValueError('method')

# As IPython and Jupyter run a cell: the text is in linecache and nowhere else.
CELL = "def in_cell(dp):\\n    raise ValueError('cell')\\n"
linecache.cache["<cell 1>"] = (len(CELL), None, CELL.splitlines(keepends=True), "<cell 1>")
exec(compile(CELL, "<cell 1>", "exec"))

bad = lambda dp: 1 / 0
for function in script, outer, bad, enclosing("word"), Stage().method, in_cell:
    with df.PrefetchDataZMQ(df.DataFromList([[1]]).map(function), 1) as ds:
        try:
            list(ds)
        except df.WorkerError as error:
            print(error.traceback)
"""


def printed(script: Path, *first_on_path: Path) -> str:
    path = os.pathsep.join(filter(None, [*map(str, first_on_path), *sys.path]))
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(text: str, filename: str) -> None:
    for name, line in PLACES.items():
        file = "<cell 1>" if name == "in_cell" else filename
        assert re.search(
            rf'File "{re.escape(file)}", line \d+, in {name}\n +{".*" + re.escape(line)}', text
        ), f"{name} is not there:\n{text}"


def test_tracebacks_from_workers_show_file_and_line(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    check(printed(script), str(script))


def test_a_script_in_an_archive_has_its_lines_too(tmp_path: Path) -> None:
    archive = tmp_path / "app.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", SCRIPT)
    check(printed(archive), f"{archive}/__main__.py")


def versions() -> list[str]:
    """The oldest cloudpickle that the bounds allow, and the newest."""
    try:
        requirements = importlib.metadata.requires("dataflow-feeder") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    (bound,) = {one for one in requirements if one.startswith("cloudpickle>=")}
    return [bound.replace(">=", "=="), "cloudpickle"]


@pytest.mark.parametrize("which", versions())
def test_with_the_oldest_and_the_newest_cloudpickle(which: str, tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, which], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the package index has no {which} for us now: {done.stderr[-200:]}")
    script = tmp_path / "script.py"
    meant = f"import cloudpickle\nassert {str(folder)!r} in cloudpickle.__file__\n"
    script.write_text(meant + SCRIPT)
    check(printed(script, folder), str(script))


def copy_of(value: object) -> object:
    return pickle.loads(functions.dumps(value))


def function_of(source: str, filename: str):
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(source, filename, "exec"), names)
    return names["work"]


def test_code_comes_back_as_it_was() -> None:
    def work(x, /, y=2, *, z=3):
        """Adds."""
        return [x + y + z for _ in range(2)]

    code = copy_of(work.__code__)
    assert isinstance(code, CodeType)
    assert code == work.__code__
    assert code.co_filename == __file__


def test_lines_go_where_the_file_is_not(tmp_path: Path) -> None:
    filename = str(tmp_path / "gone.py")
    Path(filename).write_text("def work():\n    raise KeyError('here')\n")
    work = function_of(Path(filename).read_text(), filename)
    packed = functions.dumps(work)
    os.remove(filename)
    linecache.clearcache()
    with pytest.raises(KeyError) as caught:
        pickle.loads(packed)()
    assert "raise KeyError('here')" in "".join(traceback.format_exception(caught.value))


def test_a_file_that_can_be_read_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "here.py"
    path.write_text("def work():\n    return 1\n")
    pickle.loads(functions.dumps(function_of(path.read_text(), str(path))))
    path.write_text("def work():\n    return 'another'\n")
    linecache.checkcache(str(path))
    assert linecache.getline(str(path), 2) == "    return 'another'\n"


def test_code_that_no_source_could_give_goes_as_cloudpickle_sends_it() -> None:
    marker = frozenset({7})
    made = (lambda: "constant").__code__
    constants = tuple([marker, 1] if one == "constant" else one for one in made.co_consts)
    code = copy_of(made.replace(co_consts=constants))
    assert isinstance(code, CodeType)
    assert eval(code) == [marker, 1]


def test_code_of_another_python_is_refused_with_the_remedy(monkeypatch) -> None:
    packed = functions.dumps((lambda: 1).__code__)
    monkeypatch.setattr(importlib.util, "MAGIC_NUMBER", b"other")
    with pytest.raises(ValueError, match=r"test_functions\.py was packed by another version"):
        pickle.loads(packed)
