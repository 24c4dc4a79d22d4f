"""The well-known data sets are sources like any other: one of each kind, run in every way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optional import library
from published import (
    SYNSETS,
    caffe_meta,
    cifar10,
    idx,
    ilsvrc,
    jpeg,
    pixels,
    svhn,
    write,
)

import dataflow as df
from dataflow.dataset import Cifar10, ILSVRC12Files, Mnist, SVHNDigit, TinyImageNet
from dataflow.plan.planner import Site, fragment_for_access, lower

SIZE = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one folder."""
    folder = tmp_path_factory.mktemp("sets")
    lines = [f"{i}.JPEG\t{SYNSETS[i % 3]}\n" for i in range(SIZE)]
    files = {
        "t10k-images-idx3-ubyte.gz": idx(pixels(SIZE, 28, 28)),
        "t10k-labels-idx1-ubyte.gz": idx(np.arange(SIZE, dtype=np.uint8)),
        "test_32x32.mat": svhn(SIZE),
        "wnids.txt": "\n".join(SYNSETS).encode(),
        "val/val_annotations.txt": "".join(lines).encode(),
        **{f"val/images/{i}.JPEG": jpeg(64, 64) for i in range(SIZE)},
        **cifar10(SIZE),
        **{f"meta/{name}": body for name, body in caffe_meta().items()},
    }
    write(folder, files)
    ilsvrc(folder / "images")
    return folder


SETS: dict[str, Callable[[Path, bool], df.DataFlow]] = {
    "floats of bytes": lambda folder, shuffle: Mnist("test", shuffle, folder),
    "an array": lambda folder, shuffle: Cifar10("test", shuffle, folder),
    "a strange array": lambda folder, shuffle: SVHNDigit("test", folder, shuffle),
    "files": lambda folder, shuffle: TinyImageNet(folder, "val", shuffle),
    "paths": lambda folder, shuffle: ILSVRC12Files(
        folder / "images", "val", folder / "meta", shuffle
    ),
}


@pytest.fixture(params=SETS)
def make(request: pytest.FixtureRequest, folder: Path) -> Callable[[bool], df.DataFlow]:
    if request.param == "a strange array":
        library("scipy")
    return lambda shuffle=True: SETS[request.param](folder, shuffle)


def plain(datapoint: list[Any]) -> Any:
    """To compare with, types of all included."""
    return [
        (part.dtype.str, part.shape, part.tobytes())
        if isinstance(part, np.ndarray)
        else (type(part), part)
        for part in datapoint
    ]


def epoch(ds: Any) -> list[Any]:
    return [plain(datapoint) for datapoint in ds]


def test_shuffle_seeds_and_places(make) -> None:
    expected = epoch(make(False))
    assert epoch(make(False)) == expected
    ds = make().seed(5)
    first, second = epoch(ds), epoch(ds)
    assert sorted(map(repr, first)) == sorted(map(repr, second)) == sorted(map(repr, expected))
    assert first != second and epoch(make().seed(5)) == first
    assert [plain(ds[i]) for i in range(len(ds))] == first
    with pytest.raises(IndexError):
        ds[len(ds)]


def test_stopping_and_going_on(make) -> None:
    whole = epoch(make().seed(3))
    ds = make().seed(3)
    iterator = iter(ds)
    begun = [plain(next(iterator)) for _ in range(3)]
    state = json.loads(json.dumps(ds.state_dict()))
    again = make()
    again.load_state_dict(state)
    assert begun + epoch(again) == whole


def test_states_do_not_depend_on_the_folder(folder: Path, tmp_path: Path) -> None:
    """The other machine has its data elsewhere."""
    write(tmp_path, cifar10(SIZE))
    ds = Cifar10("test", True, folder).seed(1)
    next(iter(ds))
    Cifar10("test", True, tmp_path).load_state_dict(ds.state_dict())
    with pytest.raises(df.StateError, match="train_or_test"):
        Cifar10("train", True, tmp_path).load_state_dict(ds.state_dict())


def test_in_processes(make) -> None:
    whole = epoch(make().seed(3))
    with df.PrefetchDataZMQ(make(), 2).seed(3) as ds:
        assert epoch(ds) == whole


class Named(Cifar10):
    def name(self, datapoint: list[Any]) -> list[Any]:
        return [datapoint[0], self.get_label_names()[datapoint[1]]]


def test_arrays_go_to_workers_once(folder: Path) -> None:
    """Keys are places, not images; and the source stays behind, even where its method is used."""
    source = Named("test", False, folder)
    assert list(source.keys()) == list(range(SIZE))
    ds = df.MapData(source, source.name)
    part = fragment_for_access(lower(ds), Site())
    assert part is not None
    part.send_all()
    assert source.images.nbytes < len(part.packed()) < 1.5 * source.images.nbytes
    with df.PrefetchDataZMQ(ds, 1) as many:
        names = [name for _, name in many]
    assert sorted(names) == sorted(source.get_label_names()[label] for label in source.labels)


@pytest.mark.parametrize("name", ["an array", "paths"])
def test_what_failed_can_be_tried_again(name: str, folder: Path) -> None:
    broken = True

    def sometimes(datapoint: list[Any]) -> list[Any]:
        if broken and seen[repr(plain(datapoint))] % 2:
            raise ValueError("not now")
        return datapoint

    points = epoch(SETS[name](folder, False))
    seen = {repr(point): place for place, point in enumerate(points)}
    ds = df.MultiThreadMapData(SETS[name](folder, True), 2, sometimes, on_error="skip")
    with ds:
        assert len(list(ds)) == -(-len(points) // 2)
        broken = False
        with ds.retry_failed() as again:
            assert sorted(map(repr, epoch(again))) == sorted(map(repr, points[1::2]))
