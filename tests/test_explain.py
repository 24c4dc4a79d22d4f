"""Which stage holds a run back, in words."""

from __future__ import annotations

import time
from typing import Any

import pytest

import dataflow as df
from dataflow.explain import explain


def stats(
    *rows: dict[str, Any],
    waiting: float = 10,
    away: float = 0,
    starting: float = 0,
    items: int = 1000,
) -> dict[str, Any]:
    seconds = {"waiting": waiting, "away": away, "starting": starting}
    return {"items": items, "seconds": seconds, "stages": list(rows)}


def row(name: str, share: float, units: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": name, "items": 1000, "busy": share * units * 10, "units": units} | {
        "share": share,
        **more,
    }


def sentence(text: str) -> str:
    return text.split(" holds the run back")[0]


@pytest.mark.parametrize("none", [stats(items=0), stats(waiting=0)])
def test_before_anything_was_delivered(none) -> None:
    assert explain(none) == "Nothing was delivered yet, so nothing can be said."


def test_the_consumers_own_loop() -> None:
    text = explain(stats(row("Download", 0.9, 64, bytes=1), waiting=1, away=9))
    assert sentence(text) == "The consumer's own loop"
    assert "90%" in text


def test_transfers() -> None:
    text = explain(stats(row("Download", 0.95, 64, bytes=1), row("Decode", 0.3, 2)))
    assert sentence(text) == "Download"
    assert "61 of 64 transfers" in text


def test_work_in_the_workers() -> None:
    text = explain(
        stats(
            row("Download", 0.2, 64, bytes=1),
            row("Decode", 0.6, 2),
            row("AugmentImageComponent", 0.3, 2),
            row("BatchData", 0.05),
        )
    )
    assert sentence(text) == "Decode"
    assert "more processes" in text and "busy 90% of the time" in text


def test_a_stage_on_one_core() -> None:
    text = explain(stats(row("Decode", 0.3, 4), row("BatchData", 0.9)))
    assert sentence(text) == "BatchData"
    assert "one core" in text and "90%" in text


def test_nothing_measured() -> None:
    assert explain(stats(row("DataFromList", 0))).startswith("No stage was measured to take time")


def test_the_figures_behind_it() -> None:
    text = explain(stats(row("Decode", 0.5), waiting=7, away=3))
    assert " 100.0 datapoints/s over 10.0 s; busy: Decode 50%; the consumer's loop 30%." in text


# -- of real flows ----------------------------------------------------------------------------


def test_nothing_yet() -> None:
    assert df.DataFromList([]).explain().startswith("Nothing was delivered yet")


def slow(dp):
    time.sleep(0.002)
    return dp


def test_a_slow_map() -> None:
    ds = df.DataFromList([[i] for i in range(50)]).map(slow).map(lambda dp: dp)
    list(ds)
    assert sentence(ds.explain()) == "MapData"
    assert ds.stats()["stages"][1]["share"] > ds.stats()["stages"][2]["share"]


def test_a_slow_map_in_processes() -> None:
    with df.DataFromList([[i] for i in range(100)]).map(slow).prefetch(2) as ds:
        list(ds)
        assert sentence(ds.explain()) == "MapData"
        assert "workers" in ds.explain()


def test_a_slow_loop() -> None:
    ds = df.DataFromList([[i] for i in range(30)])
    for dp in ds:
        slow(dp)
    assert sentence(ds.explain()) == "The consumer's own loop"
