"""`ImageFromFile`: real files, beside tensorpack's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorpack.dataflow as tp

import dataflow as df


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three photos of different kinds and sizes: colour, grey, transparent."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    kinds = {"a.jpg": (20, 30, 3), "b.png": (15, 10), "c.png": (12, 12, 4)}
    for name, shape in kinds.items():
        cv2.imwrite(str(folder / name), rng.integers(0, 256, shape, np.uint8))
    return [str(folder / name) for name in kinds]


@pytest.mark.parametrize("resize", [None, 8, (9, 7), [6, 5]])
@pytest.mark.parametrize("channel", [1, 3])
def test_the_same_pixels_as_tensorpacks(files: list[str], channel: int, resize) -> None:
    theirs = tp.ImageFromFile(files, channel, resize)
    theirs.reset_state()
    ours = df.ImageFromFile(files, channel, resize)
    assert len(ours) == len(theirs) == 3
    for (one,), (other,) in zip(ours, theirs, strict=True):
        assert one.dtype == np.uint8 and one.flags.c_contiguous
        assert np.array_equal(one, other)


def test_read_and_decoded_by_the_workers(files: list[str]) -> None:
    ds, same = (df.ImageFromFile([Path(one) for one in files], shuffle=True) for _ in range(2))
    ds.seed(5)
    plain = list(ds)
    with df.PrefetchDataZMQ(same, 2) as run:
        run.seed(5)
        for (one,), (other,) in zip(run, plain, strict=True):
            assert np.array_equal(one, other)
        rows = {row["name"]: row for row in run.stats()["stages"]}
    assert rows["ReadFile"]["runner"] == "PrefetchDataZMQ"
    assert rows["ReadFile"]["bytes"] == sum(Path(file).stat().st_size for file in files)
    ds.set_epoch(0)
    assert np.array_equal(ds[2][0], plain[2][0])


def test_shuffling_leaves_the_list_alone(files: list[str]) -> None:
    many = files * 5
    before = many.copy()
    ds = df.ImageFromFile(many, shuffle=True)
    orders = [[image.shape for (image,) in ds] for _ in range(2)]
    assert many == before and orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_broken_and_missing_files(files: list[str], tmp_path: Path) -> None:
    half = tmp_path / "half.jpg"
    half.write_bytes(Path(files[0]).read_bytes()[:200])
    missing = str(tmp_path / "none.jpg")
    ds = df.ImageFromFile([str(half), files[0], missing])
    with pytest.raises(df.DecodeError, match=r"half\.jpg"):
        list(ds)
    with df.MultiThreadMapData(ds, 2, list, on_error="skip") as run:
        assert len(list(run)) == 1
        assert run.stats()["errors"] == {"truncated": 1, "not_found": 1}
        half.write_bytes(Path(files[0]).read_bytes())
        with run.retry_failed() as again:
            assert len(list(again)) == 1 and again.stats()["errors"] == {"not_found": 1}


def test_resumed(files: list[str]) -> None:
    ds = df.ImageFromFile(files * 4, shuffle=True)
    iterator = iter(ds)
    head = [next(iterator)[0].shape for _ in range(5)]
    other = df.ImageFromFile(files * 4, shuffle=True)
    other.load_state_dict(ds.state_dict())
    rest = [image.shape for (image,) in other]
    assert [image.shape for (image,) in iterator] == rest
    assert len(head + rest) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), r"files=\[\]"),
        (("a.jpg",), r"files='a.jpg'"),
        ((["a"], 4), "channel=4"),
        ((["a"], 3, (1, 2, 3)), r"resize=\(1, 2, 3\)"),
        ((["a"], 3, 0), "resize=0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message: str) -> None:
    with pytest.raises(df.ConfigError, match=message):
        df.ImageFromFile(*arguments)
