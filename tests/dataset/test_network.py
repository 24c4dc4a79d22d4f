"""Images behind URLs: subclasses as users write them, functions that scripts call, options."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import requests
from servers import JPEG, Server, ok, sequence, status

import dataflow as df
from dataflow.dataset import NetworkImages
from dataflow.demo.server import serve

from .conftest import SIZE, encoded, index_of


class Images(NetworkImages):
    """As in the ancestor's README, with the datapoints as an argument."""

    def __init__(self, points, shuffle=False):
        super(Images, self).__init__(shuffle)  # noqa: UP008  as users wrote it
        self.datapoints = points


class Forgetful(NetworkImages):
    """Never calls the constructor above it."""

    def __init__(self, points):
        self.datapoints = points


def labels(ds) -> list[int]:
    """The labels that a dataflow yields, each with its own image."""
    found = []
    for image, label, *_ in ds:
        assert index_of(image) == label
        found.append(label)
    return found


# -- subclasses -------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Images, Forgetful])
def test_get_data_without_reset_state(cls, points) -> None:
    with cls(points) as ds:
        found = []
        for datapoint in ds.get_data():
            image, label = datapoint
            assert type(datapoint) is list and index_of(image) == label
            assert image.flags.writeable
            found.append(label)
        assert found == list(range(SIZE))
        assert ds.size() == len(ds) == SIZE


def test_reset_state_may_be_called_any_number_of_times(points) -> None:
    with Images(points) as ds:
        ds.reset_state()
        ds.reset_state()
        assert labels(ds) == list(range(SIZE))


def test_shuffle(points) -> None:
    with Images(points, shuffle=True) as ds:
        first, second = labels(ds), labels(ds)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(SIZE))


def test_a_subclass_may_assign_seed_and_shuffle(points) -> None:
    """`seed` is a method of every dataflow, but users' classes make it a number."""

    class Seeded(NetworkImages):
        def __init__(self, points):
            self.datapoints = points
            self.shuffle = True
            self.seed = 7

    orders = []
    for _ in range(2):
        with Seeded(points) as ds:
            orders.append([labels(ds), labels(ds)])
            assert ds.stats()["seed"] == 7
    assert orders[0] == orders[1]
    with Images(points, shuffle=True).seed(7) as other:
        assert [labels(other), labels(other)] == orders[0]


def test_datapoints_of_any_length_and_kind(base) -> None:
    points = [(f"{base}/1.jpg", 1, "one", {"weight": 0.5}), [f"{base}/2.jpg", 2]]
    with Images(points) as ds:
        (one, *rest), (two, label) = list(ds)
    assert index_of(one) == 1 and rest == [1, "one", {"weight": 0.5}]
    assert index_of(two) == 2 and label == 2
    assert points[0][0] == f"{base}/1.jpg", "the datapoints stay as they are"


def test_overridden_static_methods_are_used(points) -> None:
    class Bytes(Images):
        @staticmethod
        def map_func_download(dp):
            return [Path(dp[0]).name.encode(), *dp[1:]]

        @staticmethod
        def map_func_decode(dp):
            return [dp[0].decode().upper(), *dp[1:]]

    expected = [[f"{i}.JPG", i] for i in range(SIZE)]
    with Bytes(points) as ds:
        assert list(ds) == expected
        with ds.parallel(4) as many:
            assert sorted(many, key=lambda dp: dp[1]) == expected
    with df.PrefetchDataZMQ(Bytes(points).parallel(2), 2, ordered=True) as ds:
        assert list(ds) == expected


def test_an_overridden_method_may_write_into_its_datapoint(points) -> None:
    """The original's own functions did."""

    class InPlace(Images):
        @staticmethod
        def map_func_download(dp):
            dp[0] = b"bytes"
            return dp

        @staticmethod
        def map_func_decode(dp):
            dp[0] = 0
            return dp

    with InPlace(points) as ds:
        for _ in range(2):
            assert list(ds) == [[0, i] for i in range(SIZE)]
    assert points[3][0].endswith("/3.jpg")


def test_only_decoding_overridden(points) -> None:
    class Lengths(Images):
        @staticmethod
        def map_func_decode(dp):
            return None if dp[1] % 2 else [len(dp[0]), dp[1]]

    with Lengths(points) as ds:
        expected = [[len(encoded(i)), i] for i in range(0, SIZE, 2)]
        assert list(ds) == expected
        assert ds.errors() == []
        with ds.parallel(8, ordered=True) as many:
            assert list(many) == expected


def test_rng_in_an_overridden_method_belongs_to_the_datapoint(points) -> None:
    class Noisy(Images):
        def map_func_decode(self, dp):
            return [self.rng.rand(), dp[1]]

    runs = []
    with Noisy(points).seed(3) as ds:
        runs.append(list(ds))
    with Noisy(points).parallel(4).seed(3) as ds:
        runs.append(list(ds))
    with df.PrefetchDataZMQ(Noisy(points), 2).seed(3) as ds:
        runs.append(list(ds))
    assert runs[0] == runs[1] == runs[2]
    assert len({value for value, _ in runs[0]}) == SIZE


# -- functions that scripts call --------------------------------------------------------------


def test_request(base, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    assert NetworkImages.request(f"{base}/3.jpg") == encoded(3)
    assert NetworkImages.read(f"{base}/3.jpg") == encoded(3)
    with caplog.at_level(logging.WARNING):
        assert NetworkImages.request(f"{base}/none.jpg") is None
    assert "404" in caplog.text
    server.routes["/busy"] = sequence(status(503), ok(b"body"))
    assert NetworkImages.request(server.url("/busy"), max_trials=1) is None
    assert NetworkImages.request(server.url("/busy"), 2) == b"body"


def test_map_functions(base) -> None:
    point = (f"{base}/5.jpg", 5, "more")
    downloaded = NetworkImages.map_func_download(point)
    assert downloaded == [encoded(5), 5, "more"]
    image, *rest = NetworkImages.map_func_decode(downloaded)
    assert index_of(image) == 5 and rest == [5, "more"]
    assert NetworkImages.map_func_download([f"{base}/none.jpg", 0]) is None
    with pytest.raises(df.DecodeError) as caught:
        NetworkImages.map_func_decode([b"<html>", 0])
    assert caught.value.reason == "not_image"


def test_pixels_are_bgr(server: Server) -> None:
    import cv2

    blue = np.zeros((16, 16, 3), np.uint8)
    blue[..., 0] = 255
    server.routes["/blue.png"] = ok(cv2.imencode(".png", blue)[1].tobytes(), "image/png")
    with Images([[server.url("/blue.png"), 0]]) as ds:
        ((image, _),) = list(ds)
    assert (image == blue).all()


# -- partitions -------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [1, 2, 3, 7, SIZE, SIZE + 5])
def test_partitions_cover_everything_once(num: int, points) -> None:
    found: list[int] = []
    for index in range(num):
        ds = Images(points)
        assert ds.partitioning(num, index) is ds
        assert ds.datapoints == points[index::num]
        assert len(ds) == len(points[index::num])
        found += [label for _, label in ds.datapoints]
    assert sorted(found) == list(range(SIZE))


def test_the_first_partition_is_the_default(points) -> None:
    with Images(points).partitioning(8) as ds:
        assert labels(ds) == list(range(0, SIZE, 8))


@pytest.mark.parametrize(("num", "index"), [(2, 2), (2, 5), (2, -1), (0, 0), (-1, 0)])
def test_partitions_that_do_not_exist(num: int, index: int, points) -> None:
    with pytest.raises(ValueError, match=f"partition_index={index}.*num_partition={num}"):
        Images(points).partitioning(num, index)


# -- options ----------------------------------------------------------------------------------


def test_options_as_arguments_and_as_class_attributes(server: Server) -> None:
    """Each really reaches the download."""
    server.routes["/busy.jpg"] = sequence(status(503), ok(JPEG))
    points = [[server.url("/busy.jpg"), 0]]

    class Once(NetworkImages):
        max_trials = 1
        datapoints = points

    class Small(NetworkImages):
        max_bytes = 10
        datapoints = points

    class Tiny(NetworkImages):
        max_pixels = 0
        datapoints = points

    for make, reason in (
        (lambda: Once(), "http_503"),
        (lambda: Small(), "too_large"),
        (lambda: Tiny(), "too_large"),
        (lambda: NetworkImages(max_bytes=10), "too_large"),
        (lambda: NetworkImages(max_pixels=0), "too_large"),
    ):
        with make() as ds:
            ds.datapoints = points
            with pytest.raises(df.TooManyErrors):
                list(ds)
            assert ds.stats()["errors"] == {reason: 1}


def test_options_set_on_the_instance(server: Server) -> None:
    server.routes["/busy.jpg"] = sequence(status(503), ok(JPEG))
    with Images([[server.url("/busy.jpg"), 0]]) as ds:
        ds.max_trials = 1
        ds.on_error = "raise"
        with pytest.raises(df.FetchError, match="503"):
            list(ds)
    assert server.requests["/busy.jpg"] == 1


def test_timeout(server: Server) -> None:
    from servers import silence

    server.routes["/"] = silence
    with NetworkImages(timeout=0.2, on_error="raise") as ds:
        ds.datapoints = [[server.url("/"), 0]]
        with pytest.raises(df.FetchError) as caught:
            list(ds)
    assert caught.value.reason == "timeout" and caught.value.url == server.url("/")


def test_seed_as_an_argument(points) -> None:
    orders = []
    for _ in range(2):
        with NetworkImages(True, seed=5) as ds:
            ds.datapoints = points
            orders.append(labels(ds))
            assert ds.stats()["seed"] == 5
    assert orders[0] == orders[1]
    assert callable(NetworkImages(seed=None).seed)


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"NetworkImages has no option 'retries'.*max_trials"):
        NetworkImages(retries=3)


@pytest.mark.parametrize("value", ["ignore", None, 3])
def test_on_error_that_cannot_be_is_refused(value, points) -> None:
    with pytest.raises(ValueError, match="on_error"), NetworkImages(on_error=value) as ds:
        list(ds)


def test_the_cache_serves_later_epochs_without_the_network(folder: Path, tmp_path: Path) -> None:
    with serve(folder) as base:
        points = [[f"{base}/{i}.jpg", i] for i in range(SIZE)]
        with NetworkImages(cache_dir=tmp_path / "cache") as ds:
            ds.datapoints = points
            assert labels(ds) == list(range(SIZE))
            downloads = ds.stats()["stages"][0]
            assert downloads["cached"] == 0
            assert downloads["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    # The server is gone.
    with NetworkImages(cache_dir=tmp_path / "cache", max_trials=1) as ds:
        ds.datapoints = points
        assert labels(ds) == list(range(SIZE))
        with ds.parallel(8) as many:
            assert sorted(labels(many)) == list(range(SIZE))
            downloads = many.stats()["stages"][0]
        assert downloads["cached"] == SIZE and downloads["bytes"] == 0
    with df.PrefetchDataZMQ(ds.parallel(4), 2) as processes:
        assert sorted(labels(processes)) == list(range(SIZE))
    with NetworkImages(max_trials=1) as ds:
        ds.datapoints = points
        with pytest.raises(df.TooManyErrors):
            list(ds)


def test_what_is_no_image_is_not_cached(server: Server, tmp_path: Path) -> None:
    server.routes["/a.jpg"] = sequence(ok(b"<html>busy</html>", "text/html"), ok(JPEG))

    class Cached(NetworkImages):
        cache_dir = tmp_path
        datapoints = ((server.url("/a.jpg"), 0),)

    with Cached() as ds:
        with pytest.raises(df.TooManyErrors):
            list(ds)
        assert len(list(ds)) == 1
        assert len(list(ds)) == 1
    assert server.requests["/a.jpg"] == 2


def test_all_that_is_under_way_may_be_dead(server: Server) -> None:
    """Two processes with 40 transfers each: the first 100 say little, the first 160 enough."""
    server.routes["/a.jpg"] = ok(JPEG)
    for dead, gives_up in ((100, False), (170, True)):
        ds = NetworkImages(max_trials=1)
        ds.datapoints = [[server.url("/dead.jpg"), i] for i in range(dead)]
        ds.datapoints += [[server.url("/a.jpg"), i] for i in range(30 - 30 * gives_up)]
        with df.PrefetchDataZMQ(ds.parallel(40), 2, ordered=True) as flow:
            if gives_up:
                with pytest.raises(df.TooManyErrors, match="all of the first 160 datapoints"):
                    list(flow)
            else:
                assert len(list(flow)) == 30


@pytest.mark.parametrize("run", ["alone", "parallel", "processes"])
def test_a_session_of_the_users(server: Server, run: str) -> None:
    def guarded(exchange) -> None:
        allowed = exchange.headers.get("x-token") == "secret"
        (ok(JPEG) if allowed else status(403))(exchange)

    server.routes.update({f"/{i}.jpg": guarded for i in range(8)})
    points = [[server.url(f"/{i}.jpg"), i] for i in range(8)]
    with requests.Session() as session, NetworkImages(session=session) as ds:
        session.headers["X-Token"] = "secret"
        ds.datapoints = points
        flow = {
            "alone": lambda: ds,
            "parallel": lambda: ds.parallel(4),
            "processes": lambda: df.PrefetchDataZMQ(ds.parallel(2), 2),
        }[run]()
        with flow:
            assert sorted(label for _, label in flow) == list(range(8))
    with NetworkImages() as ds:
        ds.datapoints = points
        with pytest.raises(df.TooManyErrors, match="http_403 8"):
            list(ds)


def test_stages_and_statistics(points) -> None:
    with Images(points) as ds:
        assert labels(ds) == list(range(SIZE))
        stats = ds.stats()
    assert stats["items"] == SIZE and stats["errors"] == {} and stats["worker_restarts"] == 0
    assert [(row["name"], row["items"]) for row in stats["stages"]] == [
        ("Download", SIZE),
        ("Decode", SIZE),
    ]
    assert all(row["busy"] > 0 for row in stats["stages"])
