"""What ``docs/migrating.md`` says of tensorpack, each claim beside the real package.

`test_parity` compares the flows of both; here are the claims that the page makes in words, in the
form "(there: …)". A claim that nothing here checks fails the last test.
"""

from __future__ import annotations

import gc
import re
import sys
import weakref
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorpack.dataflow as tp
from optional import library
from published import bsds500, write

import dataflow as df

PAGE = (Path(df.__file__).parents[1] / "docs/migrating.md").read_text("utf-8")
CLAIMS: dict[tuple[str, str], Callable[[Path], None]] = {}


def claim(name: str, there: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def note(check: Callable[[Path], None]) -> Callable[[Path], None]:
        CLAIMS[name, there] = check
        return check

    return note


def batches(kit: Any, points: list[Any], size: int) -> list[Any]:
    flow = kit.BatchData(kit.DataFromList(points, shuffle=False), size)
    flow.reset_state()
    return list(flow)


@claim("DataFlowTerminated", "a `BaseException`")
def _(_: Path) -> None:
    assert not issubclass(tp.DataFlowTerminated, Exception)
    assert issubclass(df.DataFlowTerminated, Exception)


@claim("BatchData", "`int32`")
def _(_: Path) -> None:
    for value, ours in ((True, bool), (3, np.int64)):
        assert batches(tp, [[value]] * 2, 2)[0][0].dtype == np.int32
        assert batches(df, [[value]] * 2, 2)[0][0].dtype == ours


@claim("BatchData", "the first one decides, and cuts off the others")
def _(_: Path) -> None:
    points = [[np.uint8(0)], [np.float32(300.75)]]
    with np.errstate(all="ignore"):
        (theirs,) = batches(tp, points, 2)[0]
    assert theirs.dtype == np.uint8 and theirs[1] != 300.75
    (ours,) = batches(df, points, 2)[0]
    assert ours.tolist() == [0, 300.75]


@claim("BatchData", "a log line, then `None` in the batch")
def _(_: Path) -> None:
    points = [[np.zeros(2)], [np.zeros(3)]]
    assert batches(tp, points, 2)[0] == [None]
    with pytest.raises(ValueError, match=r"component 0 .*shapes"):
        batches(df, points, 2)


@claim("BatchData", "an error")
def _(_: Path) -> None:
    with pytest.raises(AssertionError):
        batches(tp, [[1]], 2)
    assert batches(df, [[1]], 2) == []


@claim("RepeatedData", "they are one object")
def _(_: Path) -> None:
    def copies(kit: Any) -> list[Any]:
        flow = kit.RepeatedDataPoint(kit.DataFromList([[np.zeros(2)]], shuffle=False), 2)
        flow.reset_state()
        return [point[0] for point in flow]

    one, other = copies(tp)
    assert one is other
    one, other = copies(df)
    assert not np.shares_memory(one, other)


@claim("JoinData", "the last one wins")
def _(_: Path) -> None:
    def joined(kit: Any) -> list[Any]:
        flow = kit.JoinData([kit.DataFromList([{"a": n}], shuffle=False) for n in (1, 2)])
        flow.reset_state()
        return list(flow)

    assert joined(tp) == [{"a": 2}]
    with pytest.raises(df.ConfigError, match="'a'"):
        joined(df)


@claim("one flow upstream of two inputs", "each its own")
def _(_: Path) -> None:
    def pairs(kit: Any, twice: bool) -> list[Any]:
        source = kit.DataFromList([[n] for n in range(100)], shuffle=True)
        other = source if twice else kit.MapData(source, lambda point: point)
        flow = kit.JoinData([source, other])
        flow.reset_state()
        return [one == two for one, two in flow]

    assert not all(pairs(tp, False)) and not all(pairs(tp, True))
    assert all(pairs(df, False)) and not all(pairs(df, True))


def cached(kit: Any) -> Any:
    flow = kit.CacheData(kit.DataFromList([[np.full(1, n)] for n in range(6)], shuffle=False))
    flow.reset_state()
    return flow


@claim("CacheData", "only the part that was seen comes from then on")
def _(_: Path) -> None:
    for kit, expected in ((tp, 3), (df, 6)):
        flow = cached(kit)
        iterator = iter(flow)
        list(islice(iterator, 3))
        del iterator
        gc.collect()
        assert len([*flow]) in (expected, expected - 1)


@claim("CacheData", "everybody does")
def _(_: Path) -> None:
    for kit, expected in ((tp, 7), (df, 0)):
        flow = cached(kit)
        list(flow)
        for (array,) in flow:
            array[:] = 7
        assert next(iter(flow))[0][0] == expected


@claim("LMDBData", "`None`")
def _(folder: Path) -> None:
    library("lmdb")
    database = str(folder / "some.lmdb")
    df.LMDBSerializer.save(df.DataFromList([[1]]), database, format="pickle")
    theirs = tp.LMDBData(database, shuffle=True, keys=[b"nothing"])
    theirs.reset_state()
    assert list(theirs) == [[b"nothing", None]]
    theirs._lmdb.close()
    with pytest.raises(df.DatapointError, match="no record"):
        list(df.LMDBData(database, shuffle=True, keys=[b"nothing"]))


@claim("HDF5Data", "all of it into memory")
def _(folder: Path) -> None:
    h5py = library("h5py")
    with h5py.File(folder / "a.h5", "w") as file:
        file["a"] = np.arange(6)
    theirs = tp.HDF5Data(str(folder / "a.h5"), ["a"])
    assert any(isinstance(one, np.ndarray) for one in theirs.dps)
    ours = df.HDF5Data(str(folder / "a.h5"), ["a"], shuffle=False)
    assert not any(isinstance(value, np.ndarray) for value in vars(ours).values())
    assert [int(a) for (a,) in ours] == list(range(6))


@claim("ImageFromFile", "grey rows")
def _(folder: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    body = cv2.imencode(".jpg", image)[1].tobytes()
    path = folder / "cut.jpg"
    path.write_bytes(body[: len(body) // 2])
    theirs = tp.ImageFromFile([str(path)])
    theirs.reset_state()
    ((found,),) = list(theirs)
    assert len(np.unique(found[-8:])) == 1, "rows that were never there"
    with pytest.raises(df.DecodeError):
        list(df.ImageFromFile([str(path)]))


@claim("MultiProcessMapAndBatchData", "neither")
@claim("MultiProcessMapAndBatchData", "an error")
def _(_: Path) -> None:
    from .test_processes import test_map_and_batch  # in processes that may hang

    assert callable(test_map_and_batch)
    with pytest.raises(TypeError):
        tp.MultiProcessMapAndBatchData(tp.DataFromList([[1]]), 1, list, 2, buffer_size=None)
    ours = df.MultiProcessMapAndBatchData(df.DataFromList([[1]] * 4), 1, list, 2, buffer_size=None)
    assert len(ours) == len([*ours]) == 2


@claim("HDF5Serializer", "all of it in memory first")
def _(folder: Path) -> None:
    library("h5py")

    class Counted(tp.RNGDataFlow):  # type: ignore[misc]
        def __len__(self) -> int:
            return 400

        def __iter__(self) -> Iterator[Any]:
            known: list[weakref.ref[np.ndarray]] = []
            for number in range(400):
                array = np.full(10_000, number)
                known.append(weakref.ref(array))
                yield [array]
                del array
            self.alive = sum(one() is not None for one in known)

    for kit, least, most in ((tp, 390, 400), (df, 0, 200)):
        flow = Counted()
        kit.HDF5Serializer.save(flow, str(folder / f"{kit.__name__}.h5"), ["a"])
        assert least <= flow.alive <= most


@claim("`imgaug`: all", "cut off")
def _(_: Path) -> None:
    image = np.full((2, 2, 3), 1, np.uint8)
    for kit, expected in ((tp, 1), (df, 2)):
        augmentor = kit.imgaug.BrightnessScale((1.75, 1.75))
        assert augmentor.augment(image)[0, 0, 0] == expected


@claim("BSDS500", "of the folder")
def _(folder: Path) -> None:
    library("scipy")
    write(folder / "bsds500_data", bsds500(dict.fromkeys("cab", ("train", False))))
    ours = df.dataset.BSDS500("train", folder / "bsds500_data", shuffle=False)
    theirs = sys.modules[tp.dataset.BSDS500.__module__]
    files = sorted((folder / "bsds500_data").rglob("images/train/*.jpg"))
    for names in (files, files[::-1]):  # as the folder has them
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(theirs.glob, "glob", lambda _, names=names: [str(one) for one in names])
            found = theirs.BSDS500("train", str(folder / "bsds500_data"), shuffle=False)
        images = [image for image, _ in ours]
        assert all(map(np.array_equal, found.data, images)) == (names is files)


@pytest.mark.parametrize("key", CLAIMS, ids=": ".join)
@pytest.mark.filterwarnings("ignore")
def test_a_claim(key: tuple[str, str], tmp_path: Path) -> None:
    CLAIMS[key](tmp_path)


def test_every_claim_is_checked() -> None:
    said = set()
    for line in PAGE.splitlines():
        for there in re.findall(r"\(there: ([^)]*)\)", line):
            names = line.split("|")[1]
            owners = {name for name, claimed in CLAIMS if name in names and claimed == there}
            assert owners, f"{names.strip()}: nothing checks what is said of tensorpack: {there}"
            said |= {(owner, there) for owner in owners}
    assert said == set(CLAIMS), "what is checked is said"
