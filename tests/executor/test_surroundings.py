"""A worker process finds logging, warnings and NumPy's errors as its parent has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import decimal, logging, os, sys, warnings
import numpy as np
import dataflow as df

class Shout(logging.Formatter):
    def format(self, record):
        return f"SHOUT {super().format(record)}"

logging.basicConfig(level=logging.INFO, filename=sys.argv[1])
logging.getLogger().handlers[0].setFormatter(Shout())
console = logging.StreamHandler()
console.setLevel(logging.WARNING)
logging.getLogger().addHandler(console)
warnings.simplefilter("error", UserWarning)
warnings.filterwarnings("ignore", message="not this")
np.seterr(divide="raise", under="ignore")
decimal.getcontext().prec = 4

def look(dp):
    logging.info("at %d", dp[0])
    logging.debug("not this")
    if dp[0] == 2:
        logging.warning("two")
    found = []
    for work in (
        lambda: np.ones(1) / 0,
        lambda: warnings.warn("this"),
        lambda: warnings.warn("not this"),
    ):
        try:
            work()
        except Exception as error:
            found.append(type(error).__name__)
    found.append(str(decimal.Decimal(1) / 3))
    return [dp[0], *found, os.environ["OMP_NUM_THREADS"], os.environ.get("MADE", "")]

def make():
    os.environ["MADE"] = "by init"

source = df.DataFromList([[i] for i in range(3)], shuffle=False)
for runner in (
    df.PrefetchDataZMQ(df.MapData(source, look), 1, init=make),
    df.MultiProcessMapData(source, 1, look, init=make),
    df.MultiThreadMapData(source, 1, look),
):
    with runner:
        print(sorted(runner))
"""


def run(script: str, *arguments: str, folder: Path, **options: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "3"}
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout) + "\n" + str(done.stderr)


def test_as_in_the_parent(tmp_path: Path) -> None:
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(SCRIPT)
    said = run(str(script), str(log), folder=tmp_path)
    errors = "'FloatingPointError', 'UserWarning', '0.3333', '3'"
    processes = str([[i, "_", "by init"] for i in range(3)]).replace("'_'", errors)
    threads = str([[i, "_", ""] for i in range(3)]).replace("'_'", errors)
    lines = said.splitlines()
    assert lines[:3] == [processes, processes, threads]
    assert lines.count("two") == 3, "on the console"
    assert "at 1" not in lines
    logged = log.read_text().splitlines()
    assert logged.count("SHOUT at 1") == 3 and not any("not this" in line for line in logged)


PLAIN = """
import dataflow as df
with df.PrefetchDataZMQ(df.DataFromList([[1], [2]], shuffle=False).map(lambda dp: dp), 1) as ds:
    print(sorted(ds))
"""


@pytest.mark.parametrize("name", ["pickle", "logging", "random", "zmq", "numpy"])
def test_a_module_of_that_name_in_the_current_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    script = tmp_path / "elsewhere" / "script.py"
    script.write_text(PLAIN)
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('not this one')")
    assert run(str(script), folder=tmp_path).startswith("[[1], [2]]")


@pytest.mark.parametrize("closed", [(0,), (0, 1), (0, 2), (0, 1, 2)])
def test_with_standard_descriptors_closed(closed: tuple[int, ...], tmp_path: Path) -> None:
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(PLAIN.replace("print(sorted(ds))", "open('out', 'w').write(str(sorted(ds)))"))

    def close() -> None:
        for number in closed:
            os.close(number)

    run(str(script), folder=tmp_path, preexec_fn=close)
    assert out.read_text() == "[[1], [2]]"


def test_what_init_raises_is_raised(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        PLAIN.replace("lambda dp: dp), 1)", "lambda dp: dp), 1, init=lambda: 1 / 0)").replace(
            "    print(sorted(ds))",
            "    try:\n        list(ds)\n    except df.WorkerError as error:\n"
            "        print(error.type_name)",
        )
    )
    assert "ZeroDivisionError" in run(str(script), folder=tmp_path)


def test_a_filter_of_warnings_has_nobody_import_what_it_names(tmp_path: Path) -> None:
    """PyTorch adds filters of its own; workers that do not need it took 1.5 s each to import it."""
    (tmp_path / "heavy.py").write_text("class Slow(UserWarning): pass\nclass Slower(Slow): pass")
    (tmp_path / "script.py").write_text(
        "import sys, warnings, heavy\n"
        "import dataflow as df\n"
        "warnings.filterwarnings('error', category=heavy.Slow)\n"
        "def look(dp):\n"
        "    found = ['heavy' in sys.modules]\n"
        "    heavy = __import__('heavy')\n"
        "    for kind in (heavy.Slow, heavy.Slower, UserWarning):\n"
        "        try:\n"
        "            warnings.warn('about', kind)\n"
        "        except Warning as error:\n"
        "            found.append(type(error).__name__)\n"
        "    return found\n"
        "with df.PrefetchDataZMQ(df.DataFromList([[1]]).map(look), 1) as ds:\n"
        "    print(list(ds))\n"
    )
    said = run(str(tmp_path / "script.py"), folder=tmp_path)
    assert said.startswith("[[False, 'Slow', 'Slower']]\n") and "UserWarning: about" in said
