"""Dead links and broken images: skipped, counted, listed, replaced, raised, retried."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from servers import JPEG, Server, drip, ok, sequence, status

import dataflow as df
from dataflow.dataset import NetworkImages

RUNS: dict[str, Callable[[NetworkImages], df.DataFlow]] = {
    "alone": lambda ds: ds,
    "parallel": lambda ds: ds.parallel(4),
    "processes": lambda ds: df.PrefetchDataZMQ(ds.parallel(2), 2),
    "batched": lambda ds: ds.parallel(4).map(lambda dp: dp).batch(1),
}

BROKEN = {
    "/gone.jpg": (status(404), "http_404"),
    "/page.jpg": (ok(b"<!DOCTYPE html><html>404</html>", "text/html"), "not_image"),
    "/half.jpg": (ok(JPEG[: len(JPEG) // 2]), "truncated"),
    "/empty.jpg": (ok(b""), "empty"),
}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Callable[[NetworkImages], df.DataFlow]:
    return RUNS[request.param]


@pytest.fixture
def points(server: Server) -> list[list]:
    """Twelve images; the first of every three is good, the others are broken in turn."""
    found = []
    for number in range(12):
        path = list(BROKEN)[number % 4] if number % 3 else "/good.jpg"
        found.append([server.url(path), number])
    server.routes["/good.jpg"] = ok(JPEG)
    server.routes.update({path: route for path, (route, _) in BROKEN.items()})
    return found


GOOD = [0, 3, 6, 9]
COUNTS = {"http_404": 2, "not_image": 2, "truncated": 2, "empty": 2}


class Images(NetworkImages):
    max_trials = 1

    def __init__(self, points, **options):
        super().__init__(**options)
        self.datapoints = points


def numbers(ds) -> list[int]:
    return sorted(int(np.ravel(dp[1])[0]) for dp in ds)


def test_skipped_counted_and_listed(run, points) -> None:
    with run(Images(points)) as ds:
        assert numbers(ds) == GOOD
        assert ds.stats()["errors"] == COUNTS
        assert ds.stats()["items"] == 4
        errors = ds.errors()
        assert sorted(error.datapoint for error in errors) == sorted(
            point for point in points if point[1] % 3
        )
        for (url, number), reason, message in errors:
            assert reason == BROKEN[list(BROKEN)[number % 4]][1]
            assert url in message or reason != "http_404"
        assert numbers(ds) == GOOD
        assert ds.stats()["errors"] == {reason: 2 * n for reason, n in COUNTS.items()}


def test_the_original_lists_what_its_parallel_met(points) -> None:
    source = Images(points)
    with source, source.parallel(4) as ds:
        numbers(ds)
        assert len(source.errors()) == len(ds.errors()) == 8
        assert source.stats()["errors"] == COUNTS


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *((name, path) for name in ("alone", "parallel") for path in BROKEN),
        ("processes", "/half.jpg"),
        ("batched", "/page.jpg"),
    ],
)
def test_raised(name: str, path: str, points, server: Server) -> None:
    run = RUNS[name]
    with run(Images([[server.url("/good.jpg"), 0], [server.url(path), 1]], on_error="raise")) as ds:
        with pytest.raises((df.FetchError, df.DecodeError)) as caught:
            list(ds)
        error = caught.value
        assert error.reason == BROKEN[path][1]
        assert error.url == server.url(path)
        assert error.status == (404 if path == "/gone.jpg" else 200)
        assert ds.stats()["errors"] == {error.reason: 1}


def test_replaced_by_a_function(run, points) -> None:
    met = []

    def replace(error: BaseException, datapoint):
        met.append((error.reason, datapoint[1]))  # type: ignore[attr-defined]
        return None if error.reason == "empty" else [np.zeros((1, 1, 3), np.uint8), -datapoint[1]]  # type: ignore[attr-defined]

    with run(Images(points, on_error=replace)) as ds:
        found = numbers(ds)
        replaced = [n for n in range(12) if n % 3 and n % 4 != 3]
        assert found == sorted(GOOD + [-n for n in replaced])
        assert sorted(n for _, n in met) == [n for n in range(12) if n % 3]
        assert ds.stats()["errors"] == COUNTS


@pytest.mark.parametrize("name", ["alone", "parallel", "processes", "parallel processes"])
def test_a_replacement_goes_through_the_stages_above_like_any_other(
    name: str, points, server: Server
) -> None:
    """Whatever the chain does to images, it does to the stand-in."""

    def replace(error: BaseException, datapoint):
        return [np.zeros((9, 9, 3), np.uint8), -datapoint[1]]

    chain = Images(points, on_error=replace)
    below = chain.parallel(2) if "parallel" in name else chain
    mapped = df.MapData(below, lambda dp: [dp[0].shape, dp[1] * 10])
    ds = df.PrefetchDataZMQ(mapped, 2) if "processes" in name else mapped
    with ds:
        found = sorted((number, shape) for shape, number in ds)
    assert found == sorted(
        [(10 * n, (1, 1, 3)) for n in GOOD] + [(-10 * n, (9, 9, 3)) for n in range(12) if n % 3]
    )


def test_a_function_that_raises_ends_the_run(run, points) -> None:
    def refuse(error: BaseException, datapoint):
        raise KeyError("mine") from error

    with run(Images(points, on_error=refuse)) as ds, pytest.raises(KeyError, match="mine"):
        list(ds)


def test_other_exceptions_of_overridden_functions_are_failures_too(run, points) -> None:
    class Own(Images):
        @staticmethod
        def map_func_download(dp):
            return dp

        @staticmethod
        def map_func_decode(dp):
            return [1 // (dp[1] % 3), dp[1]]

    with run(Own(points)) as ds:
        assert numbers(ds) == [n for n in range(12) if n % 3]
        assert ds.stats()["errors"] == {"ZeroDivisionError": 4}


# -- again ------------------------------------------------------------------------------------


def test_retrying_what_failed(run, server: Server) -> None:
    for number in range(10):
        route = sequence(status(500), ok(JPEG)) if number % 2 else ok(JPEG)
        server.routes[f"/{number}.jpg"] = route
    points = [[server.url(f"/{number}.jpg"), number] for number in range(10)]
    with run(Images(points)) as ds:
        assert numbers(ds) == [0, 2, 4, 6, 8]
        with ds.retry_failed() as again:
            assert len(again) == 5
            assert numbers(again) == [1, 3, 5, 7, 9]
            assert again.errors() == [] and again.stats()["errors"] == {}
        assert len(ds.errors()) == 5, "what the first run met stays listed"
        assert numbers(ds) == list(range(10)), "the links work now"
    assert all(server.requests[f"/{number}.jpg"] <= 3 for number in range(10))


def test_what_failed_in_several_epochs_is_retried_once(run, points) -> None:
    with run(Images(points)) as ds:
        numbers(ds)
        numbers(ds)
        with ds.retry_failed() as again:
            assert len(again) == 8


def test_nothing_failed(run, server: Server) -> None:
    server.routes["/good.jpg"] = ok(JPEG)
    with run(Images([[server.url("/good.jpg"), 0]])) as ds:
        assert numbers(ds) == [0]
        with ds.retry_failed() as again:
            assert list(again) == [] and len(again) == 0


def test_a_flow_without_keys_cannot_be_retried() -> None:
    with pytest.raises(TypeError, match="keys"):
        df.DataFromGenerator(lambda: iter([[1]])).retry_failed()


# -- too many ---------------------------------------------------------------------------------


def gone(server: Server, size: int) -> list[list]:
    return [[server.url(f"/none/{number}.jpg"), number] for number in range(size)]


def test_all_of_the_first_fifty(run, server: Server) -> None:
    with run(Images(gone(server, 400))) as ds:
        with pytest.raises(df.TooManyErrors, match=r"all of the first 50 .*http_404 50"):
            list(ds)
        assert ds.stats()["errors"] == {"http_404": 50}
    assert sum(server.requests.values()) < 400, "the rest is not asked for"


def test_a_whole_small_epoch(run, server: Server) -> None:
    with run(Images(gone(server, 5))) as ds:
        with pytest.raises(df.TooManyErrors, match="all 5 datapoints of the epoch"):
            list(ds)
        assert len(ds.errors()) == 5


class Numbers(NetworkImages):
    """Those from `dead` on are broken."""

    dead = 0

    @staticmethod
    def map_func_download(dp):
        if dp[1]:
            raise ValueError("broken")
        return dp

    @staticmethod
    def map_func_decode(dp):
        return dp


def test_however_many_are_dead_the_others_come() -> None:
    with Numbers() as ds:
        ds.datapoints = [[number, number >= 600] for number in range(5000)]
        assert [number for number, _ in ds] == list(range(600))
        assert ds.stats()["errors"] == {"ValueError": 4400}
        assert len(ds.retry_failed()) == 4400


@pytest.mark.parametrize(("bound", "errors"), [(10, 11), (0, 1), (0.25, 30), (0.5, None)])
def test_a_bound(bound: float, errors: int | None) -> None:
    with Numbers(max_failed=bound) as ds:
        ds.datapoints = [[number, number % 2] for number in range(60)]
        if errors is None:
            assert len([*ds]) == 30
            return
        with pytest.raises(df.TooManyErrors, match=rf"more than max_failed={bound:g}"):
            list(ds)
        assert ds.stats()["errors"] == {"ValueError": errors}


def test_what_failed_before_may_fail_again(run, server: Server) -> None:
    good = [[server.url("/good.jpg"), 80 + number] for number in range(40)]
    server.routes["/good.jpg"] = ok(JPEG)
    with run(Images(good + gone(server, 80))) as ds:
        assert sorted(numbers(ds)) == list(range(80, 120))
        with ds.retry_failed() as again:
            assert list(again) == [] and again.stats()["errors"] == {"http_404": 80}


def test_as_many_as_are_under_way_may_fail_first(server: Server) -> None:
    """Of 64 transfers at once the dead ones come back first."""
    server.routes["/good.jpg"] = drip(JPEG, 0.005)
    points = gone(server, 120) + [[server.url("/good.jpg"), 120 + n] for n in range(8)]
    with Images(points).parallel(128) as ds:
        assert sorted(numbers(ds)) == list(range(120, 128))


def test_half_of_them_is_bearable(run, server: Server) -> None:
    server.routes["/good.jpg"] = ok(JPEG)
    points = gone(server, 60)
    points[40][0] = server.url("/good.jpg")
    points[:20] = [[server.url("/good.jpg"), number] for number in range(20)]
    with run(Images(points)) as ds:
        assert numbers(ds) == [*range(20), 40]


def test_replaced_ones_do_not_end_it(server: Server) -> None:
    """Whoever has a function that replaces images does not want to be stopped."""
    with Images(gone(server, 80), on_error=lambda error, dp: [0, dp[1]]) as ds:
        assert list(ds) == [[0, number] for number in range(80)]
        assert ds.stats()["errors"] == {"http_404": 80}
