"""Archives: whole or not at all, and never outside of their folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from published import tar

import dataflow as df
from dataflow.dataset.archive import unpack

FILES = {"BSR/a/1.txt": b"one", "BSR/b/2.txt": b"two" * 1000, "BSR/empty": b"", "notes": b"n"}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def put(folder: Path, body: bytes) -> Path:
    archive = folder / "archive.tgz"
    archive.write_bytes(body)
    return archive


def test_all_of_it(tmp_path: Path) -> None:
    archive = put(tmp_path, tar(FILES))
    unpack(archive, tmp_path, last="BSR")
    assert tree(tmp_path) == {**FILES, "archive.tgz": archive.read_bytes()}


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"the user's own")
    unpack(put(tmp_path, tar(FILES)), tmp_path, last="BSR")
    assert (tmp_path / "notes").read_bytes() == b"the user's own"
    assert (tmp_path / "BSR/a/1.txt").read_bytes() == b"one"
    unpack(tmp_path / "archive.tgz", tmp_path, last="BSR")  # another process was faster


@pytest.mark.parametrize("name", ["../outside", "BSR/../../outside", "/tmp/outside-of-it"])
def test_members_that_lead_outside(name: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = put(inside, tar({"BSR/good": b"", name: b"bad"}))
    with pytest.raises(df.MissingData, match=r"archive\.tgz.*outside"):
        unpack(archive, inside, last="BSR")
    assert set(tree(tmp_path)) == {"inside/archive.tgz"}
    assert not Path("/tmp/outside-of-it").exists()


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    target = tmp_path / "outside"
    target.mkdir()
    inside = tmp_path / "inside"
    inside.mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for kind, name, link in (
            (tarfile.SYMTYPE, "BSR", str(target)),
            (tarfile.SYMTYPE, "BSR/absolute", "/etc/passwd"),
            (tarfile.LNKTYPE, "BSR/hard", "../outside/secret"),
            (tarfile.FIFOTYPE, "BSR/pipe", ""),
            (tarfile.CHRTYPE, "BSR/device", ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)
        member = tarfile.TarInfo("BSR/file")  # through the link, if there were one
        member.size = 4
        archive.addfile(member, io.BytesIO(b"body"))
    unpack(put(inside, buffer.getvalue()), inside, last="BSR")
    assert set(tree(tmp_path)) == {"inside/archive.tgz", "inside/BSR/file"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("what", ["half", "no gzip", "bits", "empty", "another"])
def test_a_damaged_archive_leaves_nothing(what: str, tmp_path: Path) -> None:
    body = tar(FILES)
    if what == "half":
        body = body[: len(body) // 2]
    elif what == "no gzip":
        body = b"<html>Please log in</html>"
    elif what == "bits":
        body = body[:60] + bytes(20) + body[80:]
    elif what == "empty":
        body = b""
    else:
        body = tar({"other": b""})
    archive = put(tmp_path, body)
    with pytest.raises(df.MissingData, match=r"archive\.tgz"):
        unpack(archive, tmp_path, last="BSR")
    assert set(tree(tmp_path)) == {"archive.tgz"}
    assert [path.name for path in tmp_path.iterdir()] == ["archive.tgz"]
