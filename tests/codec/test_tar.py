"""Where the files of a tar archive are, compared with what the standard library finds."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow.codec.tar import members, read_member
from dataflow.errors import CodecError

Files = list[tuple[str, bytes]]

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
FILES: Files = [("a/1.jpg", b"x" * 700), ("a/1.cls", b"3"), ("empty", b""), ("b.txt", b"y" * 512)]


def archive(files: Files, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, body in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def found(path: Path, place: int = 0, stop: int | None = None) -> Files:
    with open(path, "rb") as file:
        fd = file.fileno()
        return [(one.name, read_member(fd, one)) for one in members(fd, place, stop)]


def refusal(path: Path, place: int = 0, stop: int | None = None) -> CodecError:
    with pytest.raises(CodecError) as caught:
        found(path, place, stop)
    return caught.value


names = st.lists(
    st.text("abcä. ", min_size=1, max_size=60).filter(lambda part: part.strip("./ ")),
    min_size=1,
    max_size=6,
).map("/".join)


@given(
    files=st.lists(st.tuples(names, st.binary(max_size=1600)), max_size=5),
    format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_as_the_standard_library_has_them(files: Files, format: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(archive(files, format))
    with tarfile.open(path) as tar:
        expected = [(one.name, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
        starts = [one.offset_data for one in tar]
    assert found(path) == expected == files
    with open(path, "rb") as file:
        every = list(members(file.fileno()))
    assert [one.start for one in every] == starts
    for one, other in zip(every, files, strict=True):
        assert found(path, one.head, one.end) == [other]


def test_only_files(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "all"}) as tar:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo("n" * 120)
            entry.type, entry.linkname, entry.size = kind, "other" * 30, 100
            tar.addfile(entry)
        entry = tarfile.TarInfo("1.txt")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"hi"))
    assert found(path) == [("1.txt", b"hi")]


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_is_not_taken_for_the_whole(format: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    block = archive(FILES, FORMATS[format])
    ends = [512 * blocks for blocks in (3, 5, 6, 8)]  # of each file
    for size in (*range(1, ends[-1], 97), *range(512, ends[-1], 512)):
        path.write_bytes(block[:size])
        if size in ends:  # whole files, and no more: some writers leave the mark of the end out
            assert found(path) == FILES[: ends.index(size) + 1]
            continue
        error = refusal(path)
        assert error.reason == ("truncated" if size >= 512 else "foreign"), size
        assert f"at byte {size}" in str(error) or size < 512
    for size in (ends[-1], ends[-1] + 512):
        path.write_bytes(block[:size])
        assert found(path) == FILES


def test_what_is_broken_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    block = archive(FILES, tarfile.USTAR_FORMAT)
    second = 512 + 1024
    for at in range(second, second + 512, 61):
        broken = bytearray(block)
        broken[at] ^= 0x55
        path.write_bytes(broken)
        error = refusal(path)
        assert (error.reason, str(error)) == ("corrupt", f"no file begins at byte {second}")
    path.write_bytes(block)
    assert "no file begins at byte 512" in str(refusal(path, 512, 1024))
    assert "no file begins at byte" in str(refusal(path, len(block) - 512, len(block)))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (gzip.compress(archive(FILES)), "gzip, in which nothing can be found"),
        (b"PK\3\4" + bytes(1000), "a ZIP archive"),
        (b"<html>" * 200, "some other format"),
        (b"", "empty"),
    ],
)
def test_other_files(content: bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    error = refusal(path)
    assert error.reason == "foreign" and line in str(error)


def extended(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    """An extended header, and a file after it."""
    entry = tarfile.TarInfo("extended")
    entry.type, entry.size = kind, len(body) if size is None else size
    padded = body + bytes(-len(body) % 512)
    return entry.tobuf(tarfile.USTAR_FORMAT) + padded + archive([("1.txt", b"hi")])


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (extended(tarfile.XHDTYPE, b"nonsense"), "corrupt"),
        (extended(tarfile.XHDTYPE, b"0 a=b\n"), "corrupt"),
        (extended(tarfile.XHDTYPE, b"99 path=x\n"), "corrupt"),
        (extended(tarfile.XHDTYPE, b"10 size=-\n"), "corrupt"),
        (extended(tarfile.XHDTYPE, b"13 size=9999\n"), "truncated"),
        (extended(tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n"), "unsupported"),
        (extended(tarfile.XHDTYPE, b" " * (1 << 21)), "corrupt"),
        (extended(tarfile.XHDTYPE, b"", size=1 << 32), "truncated"),
        (extended(tarfile.GNUTYPE_SPARSE, b"hi"), "unsupported"),
    ],
)
def test_extended_headers(block: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(block)
    assert refusal(path).reason == reason


def test_sizes_beyond_the_digits(tmp_path: Path) -> None:
    """As GNU and pax write them; the file itself has holes, and takes no room."""
    size = 9 << 30
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        entry = tarfile.TarInfo("large.bin")
        entry.size = size
        head = entry.tobuf(format)
        path = tmp_path / f"{format}.tar"
        with open(path, "w+b") as file:
            file.write(head)
            file.truncate(len(head) + size + 1024)
            file.flush()
            (one,) = members(file.fileno())
        assert (one.size, one.start, one.end) == (size, len(head), len(head) + size)


@given(noise=st.binary(max_size=600), at=st.integers(0, 3000))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(noise: bytes, at: int, tmp_path: Path) -> None:
    """They are found, or refused; nothing else is raised, and it has an end."""
    path = tmp_path / "a.tar"
    block = bytearray(archive([("n" * 150, b"x" * 600), ("1.txt", b"hi")]))
    block[at : at + len(noise)] = noise
    path.write_bytes(block)
    try:
        assert all(len(body) <= len(block) for _, body in found(path))
    except CodecError as error:
        assert error.reason in {"truncated", "corrupt", "foreign", "unsupported"}
