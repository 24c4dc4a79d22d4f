"""Images in files."""

from __future__ import annotations

from pathlib import Path

import pytest

import dataflow as df
from dataflow.dataset import FileImages, ImageFolder, NetworkImages

from .conftest import SIZE, encoded, index_of


def bytes_read(ds: df.DataFlow) -> int:
    """What the stages read; a runner's row counts what passed between processes."""
    rows = ds.stats()["stages"]
    return sum(row.get("bytes", 0) for row in rows if row["kind"] != "runner")


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Three classes, one without images, and things that are no images."""
    root = tmp_path / "classes"
    for name, files in {
        "b-birds": {"2.jpg": encoded(2), "1.JPEG": encoded(1)},
        "a-ants": {"deep/er/3.png": encoded(3, ".png"), "0.webp": encoded(0, ".webp")},
        "c-empty": {"readme.txt": b"nothing"},
    }.items():
        for file, data in files.items():
            path = root / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (root / "loose.jpg").write_bytes(encoded(4))
    return root


def found(ds) -> list[tuple[int, int]]:
    return [(index_of(image), label) for image, label in ds]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_with_a_sub_folder_a_class(kind, classes: Path) -> None:
    with ImageFolder(kind(classes)) as ds:
        assert ds.classes == ["a-ants", "b-birds", "c-empty"]
        assert len(ds) == 4
        assert found(ds) == [(0, 0), (3, 0), (1, 1), (2, 1)]


def test_it_is_a_data_set_like_the_others(classes: Path) -> None:
    expected = [(0, 0), (1, 1), (2, 1), (3, 0)]
    with ImageFolder(classes, shuffle=True) as ds:
        assert isinstance(ds, NetworkImages)
        assert sorted(found(ds)) == expected
        with ds.parallel(4) as many:
            assert sorted(found(many)) == expected
        with df.PrefetchDataZMQ(ds.parallel(2), 2) as many:
            assert sorted(found(many)) == expected
    parts = [ImageFolder(classes).partitioning(3, index) for index in range(3)]
    assert sorted(dp for part in parts for dp in found(part)) == expected


@pytest.mark.parametrize("runner", ["none", "threads", "processes"])
def test_the_bytes_that_were_read_are_counted(runner: str, classes: Path) -> None:
    total = sum(
        len(encoded(i, s)) for i, s in [(0, ".webp"), (1, ".jpg"), (2, ".jpg"), (3, ".png")]
    )
    source = ImageFolder(classes)
    with {
        "none": lambda: source,
        "threads": lambda: source.parallel(3),
        "processes": lambda: df.PrefetchDataZMQ(source.parallel(2), 2),
    }[runner]() as ds:

        def read() -> float:
            return bytes_read(ds)

        assert len(list(ds)) == 4 and read() == total
        assert len(list(ds)) == 4 and read() == 2 * total
        ds.close()  # the next pass has new workers
        assert len(list(ds)) == 4 and read() == 3 * total


def test_no_bytes_are_lost_between_many_hands(tmp_path: Path) -> None:
    """Their reports may arrive in another order than the figures in them were taken."""

    class Raw(FileImages):
        @staticmethod
        def map_func_decode(datapoint):
            return datapoint

    (tmp_path / "file").write_bytes(b"x" * 100)
    source = Raw()
    source.datapoints = [[str(tmp_path / "file"), i] for i in range(20)]
    with df.PrefetchDataZMQ(source.parallel(8), 2) as ds:
        for epoch in range(1, 41):
            assert len(list(ds)) == 20
            assert bytes_read(ds) == 2000 * epoch


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_a_folder_that_is_none(what: str, tmp_path: Path) -> None:
    place = tmp_path / what
    if what == "file":
        place.write_text("")
    elif what == "empty":
        (place / "class").mkdir(parents=True)
    with pytest.raises(df.MissingData) as caught:
        ImageFolder(place)
    assert str(place) in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_options_are_those_of_network_images(classes: Path) -> None:
    with ImageFolder(classes, max_bytes=100, on_error="raise") as ds:
        with pytest.raises(df.FetchError, match="larger than max_bytes=100") as caught:
            list(ds)
        assert caught.value.reason == "too_large"
    with pytest.raises(TypeError, match="ImageFolder has no option 'sizes'"):
        ImageFolder(classes, sizes=3)


class Files(FileImages):
    def __init__(self, points):
        self.datapoints = points


def test_paths_instead_of_urls(folder: Path) -> None:
    points = [[folder / f"{i}.jpg" if i % 2 else str(folder / f"{i}.jpg"), i] for i in range(SIZE)]
    with Files(points) as ds:
        assert found(ds) == [(i, i) for i in range(SIZE)]
        with ds.parallel(4, ordered=True) as many:
            assert found(many) == [(i, i) for i in range(SIZE)]


@pytest.mark.parametrize("run", [lambda ds: ds, lambda ds: ds.parallel(2)])
def test_files_that_cannot_be_used(run, tmp_path: Path) -> None:
    for name, data in {
        "good.jpg": encoded(5),
        "page.jpg": b"<html>",
        "half.jpg": encoded(6)[:200],
        "empty.jpg": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
    names = ["good", "page", "half", "empty", "missing"]
    points = [[str(tmp_path / f"{name}.jpg"), 5] for name in names] + [[str(tmp_path), 5]]
    with run(Files(points)) as ds:
        assert found(ds) == [(5, 5)]
        assert ds.stats()["errors"] == {
            "not_image": 1,
            "truncated": 1,
            "empty": 1,
            "not_found": 1,
            "unreadable": 1,
        }
        (tmp_path / "missing.jpg").write_bytes(encoded(5))
        with ds.retry_failed() as again:
            assert found(again) == [(5, 5)]


def test_overridden_functions_are_used_here_too(folder: Path) -> None:
    class Sizes(Files):
        @staticmethod
        def map_func_download(dp):
            return [Path(dp[0]).read_bytes(), *dp[1:]]

        @staticmethod
        def map_func_decode(dp):
            return [len(dp[0]), dp[1]]

    with Sizes([[folder / "3.jpg", 3]]) as ds:
        assert list(ds) == [[len(encoded(3)), 3]]

    class Own(Files):
        @staticmethod
        def map_func_download(dp):
            return [encoded(7), 7]

    with Own([["nowhere", 0]]) as ds:
        assert found(ds) == [(7, 7)]
