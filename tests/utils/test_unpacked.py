"""Packed files, and their plain copies."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import CodecError
from dataflow.utils.unpacked import packing_of, unpacked

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zlib": zlib.compress,
}


def zstd() -> Any:
    """Python's own from 3.14 on."""
    if sys.version_info >= (3, 14):
        return importlib.import_module("compression.zstd")
    return pytest.importorskip("backports.zstd")


PLAIN = os.urandom(100_000) + bytes(3_000_000)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATAFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unpacked"


@pytest.mark.parametrize("kind", [*PACKERS, "zstd"])
def test_the_copy_is_what_was_packed(tmp_path: Path, kind: str, cache: Path) -> None:
    if kind == "zstd":
        PACKERS["zstd"] = zstd().compress
    path = tmp_path / "a"
    path.write_bytes(PACKERS[kind](PLAIN))
    assert packing_of(path.read_bytes()[:12]) == kind
    copy = unpacked(str(path), kind)
    assert Path(copy).read_bytes() == PLAIN
    made = os.stat(copy)
    assert unpacked(str(path), kind) == copy and os.stat(copy).st_mtime_ns == made.st_mtime_ns
    with pytest.raises(CodecError, match="unpacks to more than 1000000 bytes") as caught:
        os.utime(path, (1, 1))
        unpacked(str(path), kind, max_bytes=1_000_000)
    assert caught.value.reason == "too_large"
    path.write_bytes(PACKERS[kind](PLAIN)[:-9])
    with pytest.raises(CodecError, match=r"ends within|cannot be unpacked"):
        unpacked(str(path), kind)
    assert [*cache.iterdir()] == []


def test_several_members_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b"one") + gzip.compress(b"two"))
    assert Path(unpacked(str(path), "gzip")).read_bytes() == b"onetwo"


@pytest.mark.parametrize("head", [b"", b"x", b"plain text", b"\xff\xd8\xff", b"PK\3\4", bytes(9)])
def test_what_is_not_packed(head: bytes) -> None:
    assert packing_of(head) is None
