"""``.ten`` files: written whole, mapped, appended to, mended."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import patient

import dataflow as df
from dataflow.codec import tenbin

ARRAYS = [np.arange(24, dtype="u1").reshape(2, 3, 4), np.array(2.5, "f4"), np.empty((0, 3), "i8")]


def same(one: Any, other: Any) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, *ARRAYS, infos=["image", "", "z"])
    assert path.read_bytes() == tenbin.encode(ARRAYS, ["image", "", "z"])
    for mmap in (True, False):
        found, infos = tenbin.load(path, infos=True, mmap=mmap)
        same(ARRAYS, found)
        assert infos == ["image", "", "z"]
        assert found[0].flags.writeable is not mmap
        same(ARRAYS, tenbin.load(str(path), infos=["image"], mmap=mmap))
        with pytest.raises(df.CodecError, match=r"x\.ten: the arrays are"):
            tenbin.load(path, infos=["label"], mmap=mmap)


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, ARRAYS[0])
    with pytest.raises(df.CodecError, match="component 1: a str"):
        tenbin.save(path, ARRAYS[0], "text")
    same(ARRAYS[:1], tenbin.load(path))
    assert os.listdir(tmp_path) == ["x.ten"]


def test_an_empty_file_has_no_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path)
    assert path.stat().st_size == 0
    assert tenbin.load(path) == tenbin.load(path, mmap=False) == []


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(df.MissingData, match="is not there"):
        tenbin.load(tmp_path / "none.ten")
    path = tmp_path / "x.ten"
    for content, reason in ((b"PK\3\4", "foreign"), (tenbin.encode(ARRAYS)[:-1], "truncated")):
        path.write_bytes(content)
        for mmap in (True, False):
            with pytest.raises(df.CodecError, match=r"x\.ten: ") as caught:
                tenbin.load(path, mmap=mmap)
            assert (caught.value.reason, caught.value.url) == (reason, str(path))


def test_mapped_files_may_be_larger_than_memory(tmp_path: Path) -> None:
    """A file with holes, of 64 GB in four arrays, in a process that may have 8 GB of memory."""
    path = tmp_path / "large.ten"
    size = 1 << 34
    with open(path, "wb") as file:
        for number in range(4):
            header = np.array([0x3175, 0, 3, size >> 12, 64, 64], "<i8").tobytes()
            file.write(b"~TenBin~" + np.int64(48).tobytes() + header.ljust(64, b"\0"))
            file.write(b"~TenBin~" + np.int64(size).tobytes() + bytes([number]))
            file.seek(size - 1, os.SEEK_CUR)
        file.truncate()
    script = (
        "import resource, sys, numpy as np, dataflow as df\n"
        "from dataflow.codec import tenbin\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))\n"
        "arrays = tenbin.load(sys.argv[1])\n"
        "print([(a.shape[0], int(a[0, 0, 0]), int(a[-1, 0, 0])) for a in arrays])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.stdout.strip() == str([(size >> 12, i, 0) for i in range(4)]), done.stderr


def test_appending(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.append(path, ARRAYS[0], infos=["first"])
    with tenbin.Writer(path) as writer:
        for number in range(5):
            writer.write([np.full(3, number, "i4"), np.array([number], "u4")])
            same([np.array([number], "u4")], tenbin.load(path)[-1:])
    tenbin.append(path, ARRAYS[0])
    found, infos = tenbin.load(path, infos=True)
    assert len(found) == 12 and infos == ["first", *[""] * 11]
    assert path.read_bytes() == tenbin.encode(found, infos)
    writer.close()


@pytest.mark.parametrize("cut", [1, 60, 64, 100, 150, 159, 300])
def test_what_a_killed_writer_left_is_mended(
    cut: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.ten"
    block = tenbin.encode([np.full(3, number, "i4") for number in range(4)])
    assert len(block) == 4 * 160
    path.write_bytes(block[:-cut])
    with caplog.at_level(logging.WARNING):
        tenbin.append(path, ARRAYS[0])
    whole = (len(block) - cut) // 160
    assert f"{160 - cut % 160} bytes of a broken end are taken away" in caplog.text
    found = tenbin.load(path)
    assert [int(array.flat[-1]) for array in found] == [*range(whole), 23]


def test_components_that_belong_together_are_mended_together(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    with tenbin.Writer(path, components=2) as writer:
        for number in range(3):
            writer.write([np.full(3, number, "u1"), np.array([number], "i4")])
        with pytest.raises(df.ConfigError, match="3 arrays, but components=2"):
            writer.write(ARRAYS)
    tenbin.append(path, np.full(3, 3, "u1"))  # the killed one had written the first of two
    with tenbin.Writer(path, components=2) as writer:
        writer.write([np.full(3, 9, "u1"), np.array([9], "i4")])
    assert [int(array[0]) for array in tenbin.load(path)] == [0, 0, 1, 1, 2, 2, 9, 9]


def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A file that may not become larger, as on a full disk."""
    path = tmp_path / "x.ten"
    tenbin.save(path, ARRAYS[0])
    before = path.read_bytes()
    script = (
        "import resource, signal, sys, numpy as np\n"
        "from dataflow.codec import tenbin\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "with tenbin.Writer(sys.argv[1]) as writer:\n"
        "    try: writer.write([np.zeros(9, 'u1'), np.zeros(9000, 'u1')])\n"
        "    except OSError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.stdout.strip() == "refused", done.stderr
    assert path.read_bytes() == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096


def test_what_cannot_be_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    path.write_bytes(b"another format")
    with pytest.raises(df.CodecError, match="no ~TenBin~ at byte 0"):
        tenbin.Writer(path)
    block = tenbin.encode(ARRAYS)
    path.write_bytes(block + bytes(64))
    with pytest.raises(df.CodecError, match=f"no ~TenBin~ at byte {len(block)}"):
        tenbin.Writer(path)
    assert path.read_bytes() == block + bytes(64), "nothing was taken away"
    with pytest.raises(df.ConfigError, match="components=0"):
        tenbin.Writer(path, components=0)
    tenbin.save(path)
    with tenbin.Writer(path), pytest.raises(df.ConfigError, match="somebody else"):
        tenbin.Writer(path)


def test_several_threads_write(tmp_path: Path) -> None:
    path = tmp_path / "a.ten"
    with tenbin.Writer(path, components=2) as writer:

        def write(i: int) -> None:
            for _ in range(30):
                writer.write([np.full(1000, i, "u1"), np.array([i], "i4")])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
    found = list(df.TenData(path, 2))
    assert len(found) == 120 and all((data == i).all() for data, i in found)
    with pytest.raises(df.ConfigError, match="is closed"):
        writer.write([np.zeros(1, "u1")] * 2)


@pytest.mark.parametrize("components", [0, 1.5, "x"])
def test_components_are_a_number(components: Any, tmp_path: Path) -> None:
    tenbin.save(tmp_path / "a.ten", np.zeros(1))
    for make in (tenbin.Writer, df.TenData):
        with pytest.raises(df.ConfigError, match=f"components={components!r} must be"):
            make(tmp_path / "a.ten", components)
