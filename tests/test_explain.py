"""Which stage holds a run back, in words: the model, on figures made up."""

from __future__ import annotations

from typing import Any

import pytest

import dataflow as df
from dataflow.explain import HANDLING, LOOP, explain

SECONDS = 10


def stats(
    *rows: dict[str, Any],
    waiting: float = SECONDS,
    away: float = 0,
    starting: float = 0,
    idle: float = 0,
    items: int = 1000,
    cpu: float = 1,
    cores: int = 8,
) -> dict[str, Any]:
    seconds = {"waiting": waiting, "away": away, "starting": starting, "idle": idle, "cpu": cpu}
    return {"items": items, "seconds": seconds, "cores": cores, "stages": list(rows)}


def row(name: str, share: float, units: int = 1, **more: Any) -> dict[str, Any]:
    busy = share * units * SECONDS
    here = busy if more.get("runner") is None else 0.0
    return {
        "name": name,
        "kind": "stage",
        "runner": None,
        "items": 1000,
        "busy": busy,
        "here": here,
        "units": units,
        "share": share,
    } | more


def runner(workers: int, threads: int = 1, *, unit: str = "process", **more: Any) -> dict[str, Any]:
    units = workers * threads
    made = {"kind": "runner", "runner": "R", "workers": workers, "threads": threads, "unit": unit}
    return row("R", more.pop("share", 0.0), units, **(made | more))


def sentence(text: str) -> str:
    return text.split(" holds the run back")[0]


@pytest.mark.parametrize("none", [stats(items=0), stats(waiting=0)])
def test_before_anything_was_delivered(none) -> None:
    assert explain(none) == "Nothing was delivered yet, so nothing can be said."


def test_nothing_yet() -> None:
    assert df.DataFromList([]).explain().startswith("Nothing was delivered yet")


def test_the_consumers_own_loop() -> None:
    rows = row("Download", 0.3, 64, kind="transfers", runner="R"), runner(2)
    text = explain(stats(*rows, waiting=1, away=9))
    assert sentence(text) == LOOP
    assert "away 90%" in text and "data is ready" in text and "brings nothing" in text


def test_a_loop_that_shares_its_thread_with_a_stage() -> None:
    text = explain(stats(row("MapData", 0.4), waiting=4, away=6))
    assert sentence(text) == LOOP and "data is ready" not in text
    assert "two processes instead should bring +6" in text


def test_a_stage_in_the_consumers_thread() -> None:
    text = explain(stats(row("Decode", 0.3, 4, runner="R"), runner(4), row("BatchData", 0.9)))
    assert sentence(text) == "BatchData"
    assert "which is one, spends 90% of the time" in text
    assert "in two processes instead should bring" in text


@pytest.mark.parametrize("chain", [[], [row("MapData", 0.05, 2, runner="R"), runner(2)]])
def test_a_source_that_only_one_thread_can_read(chain) -> None:
    text = explain(stats(row("DataFromGenerator", 0.95, kind="iterator"), *chain))
    assert sentence(text) == "DataFromGenerator"
    assert "Only one thread can read it" in text and "brings nothing" in text


def test_an_iterator_that_runs_in_a_worker() -> None:
    source = row("DataFromGenerator", 0.95, kind="iterator", runner="R")
    text = explain(stats(source, runner(1), idle=9.5))
    assert sentence(text) == "DataFromGenerator" and "one more brings nothing" in text


def test_hosts_that_do_not_answer() -> None:
    rows = [row("Download", 0.9, 64, kind="transfers", runner="R"), runner(2)]
    assert "did not answer" not in explain(stats(*rows))
    rows[0]["silent"] = 0.43 * rows[0]["busy"]
    assert "43% of the time of Download's transfers went to hosts that did not" in explain(
        stats(*rows)
    )


def test_transfers() -> None:
    rows = (
        row("Download", 0.95, 64, kind="transfers", runner="R"),
        row("Decode", 0.3, 2, runner="R"),
    )
    text = explain(stats(*rows, runner(2), idle=9))
    assert sentence(text) == "Download"
    assert "61 of 64 transfers" in text and "One more transfer should bring +2%" in text
    four = row("Download", 0.95, 4, kind="transfers", runner="R")
    assert "One more transfer should bring +25%" in explain(stats(four, runner(1), idle=9))


def test_work_in_the_workers() -> None:
    rows = [
        row("Download", 0.2, 64, kind="transfers", runner="R"),
        row("Decode", 0.6, 2, runner="R"),
        row("AugmentImageComponent", 0.3, 2, runner="R"),
        runner(2),
        row("BatchData", 0.05),
    ]
    text = explain(stats(*rows, idle=9.5))
    assert sentence(text) == "Decode"
    assert "2 threads in 2 processes are busy 90% of the time, 60% with it" in text
    assert "One more process should bring +50%, to 150.0 datapoints/s" in text


def test_the_network_to_other_machines() -> None:
    far = runner(4, peers=[{}, {}], bytes=5e7)
    text = explain(stats(row("Decode", 0.2, 4, runner="R"), far, idle=9.5))
    assert sentence(text) == "The network"
    assert "5.0 MB/s come from 2 machines" in text and "One more worker brings nothing" in text
    text = explain(stats(row("Decode", 0.9, 4, runner="R"), far, idle=9.5))
    assert sentence(text) == "Decode"
    text = explain(stats(row("Decode", 0.2, 4, runner="R"), far, row("Batch", 0.9), idle=0.5))
    assert sentence(text) == "Batch"


def test_the_consumer_bounds_what_one_more_brings() -> None:
    rows = [row("Decode", 0.95, 2, runner="R"), runner(2), row("BatchData", 0.8)]
    text = explain(stats(*rows, idle=2))
    assert "One more process should bring +25%" in text and "consumer's thread" in text


def test_the_cores_bound_what_one_more_brings() -> None:
    rows = row("Decode", 0.95, 2, runner="R"), runner(2)
    text = explain(stats(*rows, idle=9, cpu=19.8, cores=2))
    assert sentence(text) == "Decode"
    assert "as many processes as cores are busy already" in text


def test_threads_of_one_interpreter() -> None:
    rows = row("MapData", 0.95, 2, runner="R"), runner(1, 2, unit="thread")
    assert "One more thread should bring +50%" in explain(stats(*rows, idle=9, cpu=1))
    text = explain(stats(*rows, idle=9, cpu=10.1))
    assert "the interpreter's lock" in text and "PrefetchDataZMQ" in text


def test_the_way_between_processes() -> None:
    sending = explain(stats(row("MapData", 0.1, 2, runner="R"), runner(2, share=0.8), idle=9))
    assert sentence(sending) == "R" and "with sending" in sending
    receiving = explain(stats(row("MapData", 0.1, 2, runner="R"), runner(2, here=3), idle=0.5))
    assert sentence(receiving) == "R" and "more work for each message" in receiving


def test_nothing_measured() -> None:
    text = explain(stats(row("DataFromList", 0, kind="source")))
    assert sentence(text) == HANDLING and "brings nothing" in text


def test_the_figures_behind_it() -> None:
    text = explain(stats(row("Decode", 0.5), waiting=7, away=3, cpu=12))
    assert "100.0 datapoints/s over 10.0 s; busy: Decode 50% of 1; " in text
    assert text.endswith("the consumer's loop 30%; 1.2 of 8 cores.")
