"""What holds of every format: it is a source like others, and a file is whole or not there."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import patient

import dataflow as df

from .conftest import FORMATS, PATHS, SIZE, Format, check, flow, open_files, points

Saved = Callable[[Format], str]


def numbers(ds: Any) -> list[int]:
    return [int(dp[0]) for dp in ds]


def test_what_was_saved_is_loaded(format: Format, saved: Saved) -> None:
    with format.load(saved(format), shuffle=False) as ds:
        assert len(ds) == SIZE
        check(ds, points())
        check(ds, points())  # every epoch
        array = next(iter(ds))[1]
        array[:] = 0  # it belongs to whoever got it
        check([ds[0]], points()[:1])


def test_order_seeds_and_places(format: Format, saved: Saved) -> None:
    path = saved(format)
    ds, again = (format.load(path, shuffle=True).seed(3) for _ in range(2))
    first, second = numbers(ds), numbers(ds)
    assert sorted(first) == sorted(second) == list(range(SIZE))
    assert first != second != list(range(SIZE)) != first
    assert numbers(again) == first
    assert [int(again[i][0]) for i in range(SIZE)] == first
    with pytest.raises(IndexError):
        ds[SIZE]
    ds.close()
    again.close()


def test_workers_load_what_the_consumer_would(format: Format, saved: Saved) -> None:
    path = saved(format)
    with df.PrefetchDataZMQ(format.load(path, shuffle=True), 2).seed(3) as ds:
        found = list(ds)
        assert not open_files(path), "the consumer reads no records"
        check(found, format.load(path, shuffle=True).seed(3))
    with format.load(path, shuffle=False) as ds:
        many = df.MultiThreadMapData(ds, 4, lambda dp: dp, ordered=True)
        with many:
            check(many, points())


def test_a_pass_goes_on_where_it_was(format: Format, saved: Saved) -> None:
    path = saved(format)
    ds = format.load(path, shuffle=True).seed(1)
    iterator = iter(ds)
    begun = [next(iterator)[0] for _ in range(15)]
    state = ds.state_dict()
    ds.close()
    with format.load(path, shuffle=True) as rest:
        rest.load_state_dict(state)
        assert sorted([*begun, *numbers(rest)]) == list(range(SIZE))


def test_a_moved_file_is_the_same_source(format: Format, saved: Saved, tmp_path: Path) -> None:
    state = format.load(saved(format), shuffle=True).seed(1).state_dict()
    moved = tmp_path / f"moved{format.suffix}"
    moved.write_bytes(Path(saved(format)).read_bytes())
    format.load(str(moved), shuffle=True).load_state_dict(state)


def test_files_are_closed_with_the_dataflow(format: Format, saved: Saved) -> None:
    path = saved(format)
    ds = format.load(path, shuffle=False)
    assert not open_files(path), "it opens when it is read"
    assert numbers(ds) == list(range(SIZE))
    assert open_files(path) <= 1
    ds.close()
    ds.close()
    assert not open_files(path)
    assert numbers(ds) == list(range(SIZE)), "it opens again"
    copy = pickle.loads(pickle.dumps(ds))
    assert numbers(copy) == list(range(SIZE))
    del ds, copy
    assert not open_files(path), "closed with the last that used it"


def test_many_threads_and_a_close_in_between(format: Format, saved: Saved) -> None:
    """Whoever is reading finishes before the file is closed; it is never read when closed."""
    ds = format.load(saved(format), shuffle=False)
    source = ds if isinstance(ds, df.HDF5Data) or not hasattr(ds, "ds") else ds.ds
    load = source.loader()
    keys = list(source.keys())
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(5):
                for key in keys:
                    load(key)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ds.close()
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    ds.close()
    assert not failures


def test_forked_processes_open_anew(saved: Saved, environment: dict[str, str]) -> None:
    """As those of torch's DataLoader; the parent goes on."""
    script = (
        "import sys, os, dataflow as df\n"
        "flows = [df.LMDBSerializer.load(sys.argv[1], False), df.TFRecordSerializer.load(\n"
        "    sys.argv[2]), df.HDF5Data(sys.argv[3], ['number', 'group/array'], False)]\n"
        "for ds in flows: ds[0]\n"
        "def inode(fd):\n"
        "    try: return os.readlink(f'/proc/self/fd/{fd}')\n"
        "    except OSError: return ''\n"
        "if not (child := os.fork()):\n"
        "    held = [fd for fd in os.listdir('/proc/self/fd') if inode(fd) in sys.argv]\n"
        "    ok = not held and all(int(ds[7][0]) == 7 for ds in flows)\n"
        "    for ds in flows: ds.close()\n"
        "    os._exit(0 if ok else 1)\n"
        "print(os.waitpid(child, 0)[1], [int(ds[9][0]) for ds in flows])\n"
    )
    paths = [os.path.realpath(saved(FORMATS[name])) for name in ("lmdb", "tfrecord", "hdf5")]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.stdout.strip() == "0 [9, 9, 9]", done.stderr


# -- writing -----------------------------------------------------------------------------------


class Trouble(df.DataFlow):
    """Ten datapoints, then something happens."""

    def __init__(self, trouble: Callable[[], None]) -> None:
        self.trouble = trouble

    def __iter__(self) -> Any:
        yield from points(10)
        self.trouble()
        yield from points(10)


def fail() -> None:
    raise RuntimeError("no more")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass


@pytest.mark.parametrize(
    ("trouble", "error"), [(fail, RuntimeError), (interrupt, KeyboardInterrupt)]
)
@pytest.mark.parametrize("existing", [False, True])
def test_nothing_is_left_of_what_was_not_finished(
    format: Format, trouble: Any, error: type[BaseException], existing: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"file{format.suffix}"
    if existing and format is not FORMATS["lmdb"]:
        format.save(flow(3), path)
    before = {entry: entry.read_bytes() for entry in tmp_path.iterdir()}
    with pytest.raises(error):
        format.save(Trouble(trouble), path)
    assert {entry: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_a_killed_writer_leaves_no_file_of_that_name(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script = (
        "import os, sys, threading, dataflow as df\n"
        "class Endless(df.DataFlow):\n"
        "    def __iter__(self):\n"
        "        for i in range(30): yield [i, 'x' * 100_000]\n"
        "        os.write(1, b'.')\n"
        "        threading.Event().wait()\n"
        "saves = [lambda p: df.LMDBSerializer.save(Endless(), p + '.lmdb', 10),\n"
        "    lambda p: df.LMDBSerializer.save(Endless(), p + '.folder', 10),\n"
        "    lambda p: df.NumpySerializer.save(Endless(), p + '.npz'),\n"
        "    lambda p: df.TFRecordSerializer.save(Endless(), p + '.tfrecord'),\n"
        "    lambda p: df.HDF5Serializer.save(Endless(), p + '.h5', ['a', 'b'])]\n"
        "threads = [threading.Thread(target=save, args=[sys.argv[1]]) for save in saves]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    folder = tmp_path / "file.folder"
    folder.mkdir()
    old = tmp_path / "file.npz"
    df.NumpySerializer.save(flow(), old)
    writer = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "file")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with writer:
        assert writer.stdout is not None
        try:
            assert writer.stdout.read(5) == b"....."
            drafts = [entry for entry in tmp_path.rglob("*") if entry.name.endswith(".draft")]
        finally:
            writer.kill()
    assert len(drafts) == 5
    assert all(entry.name.startswith(".") for entry in drafts)
    visible = {entry.name for entry in tmp_path.rglob("*") if not entry.name.startswith(".")}
    assert visible == {"file.folder", "file.npz"}
    assert not (folder / "data.mdb").exists()
    check(df.NumpySerializer.load(old, shuffle=False), points())


def test_a_finished_file_replaces_the_old_one(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"file{format.suffix}"
    format.save(flow(5), path)
    if format is FORMATS["lmdb"]:
        with pytest.raises(df.ConfigError, match="there is a database already"):
            format.save(flow(), path)
        path.unlink()
    format.save(flow(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    check(format.load(path, shuffle=False), points())


def test_links_are_followed(format: Format, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / f"link{format.suffix}"
    link.symlink_to(tmp_path / "real" / "file")
    format.save(flow(2), link)
    assert link.is_symlink() and len(format.load(link)) == 2


def test_an_empty_dataflow(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"file{format.suffix}"
    format.save(flow(0), path)
    with format.load(path) as ds:
        assert len(ds) == 0 and list(ds) == []


def test_progress_and_flows_without_length(
    format: Format, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"file{format.suffix}"
    format.save(df.DataFromGenerator(lambda: iter(points(7))), path)
    assert "7 datapoints" in capsys.readouterr().err
    check(format.load(path, shuffle=False), points(7))
    format.save(flow(9), tmp_path / f"other{format.suffix}")
    told = capsys.readouterr()
    assert "9/9" in told.err and not told.out


def test_what_is_no_dataflow_is_refused(format: Format, tmp_path: Path) -> None:
    with pytest.raises(df.ConfigError, match="must be a dataflow"):
        format.save([[1, 2, 3]], tmp_path / "file")
    with pytest.raises(df.MissingData, match="nowhere is not a folder"):
        format.save(flow(), tmp_path / "nowhere" / "file")
    assert not list(tmp_path.iterdir())


# -- files that are not what they should be ----------------------------------------------------


def test_missing_files(format: Format, tmp_path: Path) -> None:
    with pytest.raises(df.MissingData, match="nothing"):
        format.load(str(tmp_path / "nothing"))


@pytest.mark.parametrize("content", [b"\0", b"<html>not found</html>" * 500, bytes(20_000)])
def test_foreign_files(format: Format, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(df.CodecError, match=str(path)) as caught:
        format.load(str(path))
    assert caught.value.reason in ("foreign", "truncated")
    assert not open_files(path)


def test_truncated_files(format: Format, saved: Saved, tmp_path: Path) -> None:
    whole = Path(saved(format)).read_bytes()
    path = tmp_path / f"file{format.suffix}"
    for part in np.linspace(1, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:part])
        # A TFRecord file may end behind any record: only whoever knows their number can tell.
        known = {"size": SIZE} if format is FORMATS["tfrecord"] else {}
        with pytest.raises(df.CodecError, match=str(path)) as caught:
            list(format.load(path, **known))
        assert caught.value.reason in ("truncated", "foreign")
    assert not open_files(path)


@pytest.mark.parametrize("name", ["lmdb", "npz", "tfrecord"])
def test_pickles_are_loaded_only_where_that_is_allowed(name: str, tmp_path: Path) -> None:
    format = FORMATS[name]
    path = str(tmp_path / f"file{format.suffix}")
    odd = [[i, {1, 2}, np.array([{}], dtype=object)] for i in range(5)]
    ds = df.DataFromList(odd, shuffle=False)
    with pytest.raises(df.CodecError, match=r"builtins\.set"):
        format.save(ds, path)
    format.save(ds, path, format="pickle")
    with pytest.raises(df.CodecError, match=f"{path}.*allow_pickle=True") as caught:
        format.load(path)
    assert caught.value.reason == "pickle"
    with format.load(path, shuffle=False, allow_pickle=True) as loaded:
        assert repr(list(loaded)) == repr(odd)
    with pytest.raises(df.ConfigError, match="format='json'"):
        format.save(ds, tmp_path / "other", format="json")


MODULES = {"lmdb": "lmdb", "tfrecord": "crc32c", "hdf5": "h5py"}


@pytest.mark.parametrize("name", MODULES)
def test_a_missing_library_says_how_to_install_it(
    name: str, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    format = FORMATS[name]
    path = saved(format)
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    for call in (lambda: format.load(path), lambda: format.save(flow(), tmp_path / "file")):
        with pytest.raises(df.MissingExtra, match=f"pip install {MODULES[name]}"):
            call()
    assert not list(tmp_path.iterdir())


def test_arguments_have_the_positions_that_scripts_use(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    df.LMDBSerializer.save(flow(), path, 7)
    check(df.LMDBSerializer.load(path, False), points())
    assert len(df.LMDBData(path, True, None)) == SIZE
    df.TFRecordSerializer.save(flow(), path)
    check(df.TFRecordSerializer.load(path, SIZE), points())
    df.HDF5Serializer.save(flow(), path, PATHS)
    check(df.HDF5Serializer.load(path, PATHS, False), points())
    check(df.HDF5Data(path, PATHS, False), points())
    df.NumpySerializer.save(flow(), path)
    check(df.NumpySerializer.load(path + ".npz", False), points())
