"""How the suite runs: in three processes, each test alone where it measures time.

What every test leaves behind is checked: processes, threads, shared memory, ipc folders.
"""

from __future__ import annotations

import compileall
import contextlib
import gc
import glob
import os
import signal
import stat
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Else each of hundreds of processes starts threads for linear algebra that it never does; and those
# of PyTorch, which wait by turning, take the cores from the other tests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from patience import measure, patient
from taking_turns import Turns

# How long an example takes says more about the machine than about the code.
settings.register_profile("dataflow", deadline=None)
settings.load_profile("dataflow")

# The spawner of a runner and hands of threads end on their own soon after they are told to.
_PATIENCE = 5.0

_ROOT = Path(__file__).resolve().parents[1]

_TURNS = pytest.StashKey[Turns]()
_PIPES = pytest.StashKey[dict[int, int]]()


# -- how the suite runs -----------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Whole folders run in three processes, where pytest-xdist is there; `-n` says otherwise.

    That is for two cores, as tests wait now and then. More of them would be in each other's way:
    many tests start processes of their own.
    """
    option = config.option
    if (slowness := measure()) > 1:  # before anything of ours is at work
        option.timeout = option.timeout or float(config.getini("timeout")) * slowness
    if (
        config.pluginmanager.hasplugin("xdist")
        and not hasattr(config, "workerinput")
        and option.numprocesses is None
        and not (option.usepdb or option.collectonly)
        and all(os.path.isdir(path) for path in config.args)
    ):
        option.numprocesses = 3
        option.dist = "worksteal" if option.dist == "no" else option.dist


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As shells start what they put into the background; programs started here would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    told = getattr(config, "workerinput", {})
    config.stash[_TURNS] = turns = Turns(told.get("turns"))
    config.add_cleanup(turns.close)
    config.stash[_PIPES] = _pipes()
    if not told:
        # Hundreds of processes import it. They would compile it, too, where bytecode is not kept.
        compileall.compile_dir(_ROOT / "dataflow", quiet=2)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Before a process of pytest-xdist starts."""
    node.workerinput["turns"] = node.config.stash[_TURNS].path


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names of tests hold no bytes: those of an archive, say, differ from second to second."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    alone = item.get_closest_marker("alone") is not None
    with item.config.stash[_TURNS].turn(alone):
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests were skipped, a line each reason: most say what to install."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:4} skipped: {reason}")


# -- what a test leaves behind ----------------------------------------------------------------


def children(parent: int | None = None) -> set[int]:
    """The process ids of the living children of a process, of this one, zombies left out."""
    found: set[int] = set()
    for task in glob.glob(f"/proc/{parent or os.getpid()}/task/*/children"):
        with contextlib.suppress(OSError), open(task) as file:
            found.update(map(int, file.read().split()))
    return {pid for pid in found if _state(pid) not in ("Z", None)}


def _state(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def memory_files() -> int:
    """How many of this package's anonymous memory files this process has open."""
    count = 0
    for fd in glob.glob("/proc/self/fd/*"):
        with contextlib.suppress(OSError):
            count += "memfd:dataflow" in os.readlink(fd)
    return count


def _shared() -> set[str]:
    """The files in /dev/shm that are ours: other programs have some there, too."""
    # Closed, too, where a file is gone meanwhile.
    with contextlib.suppress(OSError), os.scandir("/dev/shm") as files:
        return {file.name for file in files if file.stat().st_uid == os.getuid()}
    return set()


def _of_others(names: set[object]) -> set[object]:
    """Those files in /dev/shm that a process which is none of ours has open or mapped."""
    ours, found = _family(), set()
    for process in glob.glob("/proc/[0-9]*"):
        if int(process.rpartition("/")[2]) not in ours:
            with contextlib.suppress(OSError):
                held = Path(process, "maps").read_text()
                held += "\n".join(map(os.readlink, glob.glob(f"{process}/fd/*")))
                found |= {name for name in names if f"/dev/shm/{name}" in held}
    return found


def _family() -> set[int]:
    """The process ids of this process and of all that come from it."""
    found, new = set(), {os.getpid()}
    while new:
        found |= new
        new = {child for pid in new for child in children(pid)}
    return found


def _left() -> dict[str, set[object]]:
    return {
        "processes": set(children()),
        "threads": {t for t in threading.enumerate() if t.is_alive()},
        "shared memory": set(_shared()),
        "ipc folders": set(glob.glob(f"{tempfile.gettempdir()}/dataflow-*")),
        "memory files": set(range(memory_files())),
    }


@pytest.fixture(autouse=True, scope="session")
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """So that what another run leaves for a moment is not taken for ours."""
    folder = str(tmp_path_factory.mktemp("tmp"))
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"], tempfile.tempdir = folder, None
    yield
    os.environ.pop("TMPDIR")
    if before is not None:
        os.environ["TMPDIR"] = before
    tempfile.tempdir = None


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for the tests, so that they leave nothing in the user's; with its photos."""
    from dataflow.utils.folders import cache_folder

    folder = tmp_path_factory.mktemp("cache")
    for photos in cache_folder().glob("photos-*"):
        (folder / photos.name).symlink_to(photos)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAFLOW_CACHE", str(folder))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_haste_to_tell_who_is_missing() -> None:
    """What a loaded machine takes long to start is not missing: tests look at all that is told."""
    from dataflow.remote.setup import Notice

    Notice._patience = patient(Notice._patience)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves anything behind, and say what; or takes what was there before."""
    before, pipes = _left(), request.config.stash[_PIPES]
    yield
    if left := _lasting(before):
        pytest.fail(f"left behind: {left}")
    if (now := _pipes()) != {**now, **pipes}:
        pytest.fail(f"the pipes {pipes} are {now} now: what is not the test's was closed")


def _pipes() -> dict[int, int]:
    """The pipes of this process, by their descriptors; such as those to the suite's first one."""
    found = {}
    for fd in map(int, os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ()):
        with contextlib.suppress(OSError):
            state = os.fstat(fd)
            if fd > 2 and stat.S_ISFIFO(state.st_mode):
                found[fd] = state.st_ino
    return found


def _lasting(before: dict[str, set[object]]) -> dict[str, set[object]]:
    """What was not there before, and does not go."""
    deadline = time.monotonic() + patient(_PATIENCE)
    while True:
        left = {what: now - before[what] for what, now in _left().items() if now - before[what]}
        left["threads"] = {t for t in left.get("threads", set()) if not _pooled(t)}
        if files := left.get("shared memory"):
            left["shared memory"] = files - _of_others(files)
        left = {what: things for what, things in left.items() if things}
        if not left or time.monotonic() > deadline:
            return left
        gc.collect()  # what hangs in a cycle is not lost
        time.sleep(0.01)


def _pooled(thread: object) -> bool:
    """Threads that live as long as the process.

    The fetcher of `NetworkImages.request`; tqdm's; and pyzmq's own, which lets go of what was sent
    without copying (to stop it would not be safe for others that do so).
    """
    from dataflow.dataset import network

    name = getattr(thread, "name", "")
    shared = bool(network._fetcher.made)
    return (
        (name == "dataflow-fetch" and shared)
        or "tqdm" in type(thread).__name__.lower()
        or type(thread).__name__ in ("TMonitor", "GarbageCollectorThread")
    )
