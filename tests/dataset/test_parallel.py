"""Many downloads at once: every datapoint exactly once, in order where that was asked for."""

from __future__ import annotations

import threading

import pytest
from patience import patient
from servers import JPEG, Exchange, Server, ok

import dataflow as df
from dataflow.dataset import NetworkImages

from .conftest import SIZE, index_of


class Images(NetworkImages):
    def __init__(self, points, shuffle=False, **options):
        super().__init__(shuffle, **options)
        self.datapoints = points


def labels(ds) -> list[int]:
    found = []
    for image, label in ds:
        assert index_of(image) == label
        found.append(label)
    return found


@pytest.mark.parametrize("threads", [1, 2, 7, 64])
def test_every_datapoint_once_in_every_epoch(threads: int, points) -> None:
    with Images(points, shuffle=True).parallel(threads) as ds:
        assert len(ds) == ds.size() == SIZE
        for _ in range(3):
            assert sorted(labels(ds)) == list(range(SIZE))


@pytest.mark.parametrize("options", [{"strict": True}, {"buffer_size": 3}, {"buffer_size": 1}])
def test_options_of_older_scripts(options, points) -> None:
    """tensorpack refuses `strict` where the buffer is larger than the data."""
    with Images(points).parallel(4, **options) as ds:
        assert sorted(labels(ds)) == list(range(SIZE))
    with Images(points).parallel(4, 200, True) as ds:
        assert sorted(labels(ds)) == list(range(SIZE))


@pytest.mark.parametrize("buffer_size", [1, 3, 200])
def test_ordered_keeps_the_order(buffer_size: int, points) -> None:
    with Images(points).parallel(16, buffer_size, ordered=True) as ds:
        assert labels(ds) == list(range(SIZE))


def test_a_seed_means_the_same_order_however_it_runs(points) -> None:
    def runs(ds) -> list[list[int]]:
        with ds:
            return [labels(ds), labels(ds)]

    def make():
        return Images(points, shuffle=True)

    alone = runs(make().seed(4))
    assert alone[0] != alone[1]
    assert runs(make().parallel(1).seed(4)) == alone
    assert runs(make().seed(4).parallel(16)) == alone
    assert runs(Images(points, shuffle=True, seed=4).parallel(16, 5)) == alone
    assert runs(df.PrefetchDataZMQ(make().parallel(8), 2).seed(4)) == alone
    assert runs(df.PrefetchDataZMQ(make(), 3).seed(4)) == alone


def test_unordered_is_possible_with_a_seed(points) -> None:
    with Images(points, seed=1).parallel(8, ordered=False) as ds:
        assert sorted(labels(ds)) == list(range(SIZE))


@pytest.mark.parametrize("buffer_size", [3, 200])
def test_below_processes(buffer_size: int, points) -> None:
    ds = Images(points, shuffle=True).parallel(4, buffer_size)
    with df.PrefetchDataZMQ(ds, num_proc=2) as ds:
        for _ in range(2):
            assert sorted(labels(ds)) == list(range(SIZE))
        names = [row["name"] for row in ds.stats()["stages"]]
        assert names[:2] == ["Download", "Decode"]
        assert ds.stats()["stages"][0]["items"] == 2 * SIZE


def test_the_whole_chain_of_the_readme(points) -> None:
    ds = Images(points, shuffle=True).parallel(num_threads=8)
    ds = df.AugmentImageComponent(ds, [df.imgaug.ResizeShortestEdge(32), df.imgaug.CenterCrop(24)])
    ds = df.PrefetchDataZMQ(ds, num_proc=2)
    with df.BatchData(ds, 8) as ds:
        assert len(ds) == SIZE // 8
        seen: list[int] = []
        for images, classes in ds:
            assert images.shape == (8, 24, 24, 3) and images.dtype == "uint8"
            seen += classes.tolist()
    assert sorted(seen) == list(range(SIZE))


def test_so_many_transfers_are_under_way_at_once(server: Server) -> None:
    """After the first one, no answer comes before all requests are there."""
    together = threading.Barrier(8)

    def route(exchange: Exchange) -> None:
        together.wait(patient(20))
        ok(JPEG)(exchange)

    server.routes.update({f"/{i}.jpg": route if i else ok(JPEG) for i in range(17)})
    with Images([[server.url(f"/{i}.jpg"), i] for i in range(17)]).parallel(8) as ds:
        assert sorted(label for _, label in ds) == list(range(17))


def test_an_overridden_download_gets_so_many_threads(points) -> None:
    together = threading.Barrier(6)
    first = threading.local()

    class Own(Images):
        @staticmethod
        def map_func_download(dp):
            if not hasattr(first, "over"):
                first.over = together.wait(patient(20))
            return NetworkImages.map_func_download(dp)

    with Own(points).parallel(6) as ds:
        assert sorted(labels(ds)) == list(range(SIZE))


def test_leaving_the_loop_and_starting_again(points) -> None:
    with Images(points).parallel(4, ordered=True) as ds:
        for _, label in ds:
            if label == 5:
                break
        assert labels(ds) == list(range(SIZE))
        older = iter(ds)
        next(older)
        assert labels(ds) == list(range(SIZE))
        with pytest.raises(df.DataFlowTerminated):
            next(older)


def test_the_original_and_its_parallel_are_independent(points) -> None:
    ds = Images(points)
    with ds, ds.parallel(4, ordered=True) as many:
        for (_, one), (_, other) in zip(ds, many, strict=True):
            assert one == other
        with ds.parallel(2) as another:
            assert sorted(labels(another)) == list(range(SIZE))


def test_partitions_in_parallel(points) -> None:
    found = []
    for index in range(3):
        with Images(points).partitioning(3, index).parallel(4) as ds:
            found += labels(ds)
    assert sorted(found) == list(range(SIZE))


def test_no_datapoints_at_all() -> None:
    with Images([]).parallel(4) as ds:
        assert len(ds) == 0 and list(ds) == []
    with Images([]) as ds:
        assert list(ds) == []


@pytest.mark.parametrize(
    ("arguments", "match"),
    [((0,), "num_threads=0"), ((-1,), "num_threads=-1"), ((2, 0), "buffer_size=0")],
)
def test_numbers_that_cannot_be_are_refused(arguments, match, points) -> None:
    with pytest.raises(ValueError, match=match):
        Images(points).parallel(*arguments)
