"""Metrics of a running pipeline, over a real connection."""

from __future__ import annotations

import gc
import json
import re
import threading
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

import dataflow as df
from dataflow.prometheus import MetricsServer, exposition, of_stats


def read(url: str) -> dict[str, float]:
    """Each sample's value, by its name and labels."""
    with urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


def fails(dp: list[Any]) -> list[Any]:
    if dp[0] % 10 == 3:
        raise ValueError(dp[0])
    return dp


def test_a_run_that_goes_on() -> None:
    """It counts while the loop is within an epoch, and goes with the flow."""
    ds = df.DataFromList([[i] for i in range(200)], shuffle=False).map(fails)
    ds = df.PrefetchDataZMQ(ds, 1, on_error="skip").batch(5)
    with ds, ds.metrics() as server:
        found = []
        for number, _ in enumerate(ds, 1):
            if number % 9 == 0:
                found.append(read(server.url)["dataflow_items_total"])
        assert found == [9, 18, 27, 36]
        now = read(server.url)
        assert now['dataflow_errors_total{reason="ValueError"}'] == 20
        runner = '{stage="2",name="PrefetchDataZMQ",runner="PrefetchDataZMQ"}'
        assert now[f"dataflow_stage_workers{runner}"] == 1
        assert now['dataflow_seconds_total{what="waiting"}'] > 0
        with urlopen(server.url.replace("/metrics", "/stats"), timeout=10) as answer:
            assert json.load(answer)["items"] == 36
    with pytest.raises(OSError, match="refused"):
        urlopen(server.url, timeout=10)
    server = ds.metrics()
    assert any(thread.name == "dataflow-metrics" for thread in threading.enumerate())
    del ds
    gc.collect()
    assert not any(thread.name == "dataflow-metrics" for thread in threading.enumerate())


def test_the_format() -> None:
    ds = df.DataFromList([[1]])
    stats = ds.stats()
    stats["errors"] = {'a "reason"\n': 2}
    stats["stages"] = [
        {
            "name": "Pool",
            "runner": None,
            "peers": [{"name": "host:1", "rate": 2.5, "versions": {}}],
            "refused": {"key": 1},
        }
    ]
    text = exposition(of_stats(stats))
    assert r'dataflow_errors_total{reason="a \"reason\"\n"} 2' in text
    assert 'dataflow_peer_rate{stage="0",peer="host:1"} 2.5' in text
    assert 'dataflow_refused_total{stage="0",name="Pool",runner="",reason="key"} 1' in text
    sample = r'dataflow_\w+(\{(\w+="(\\.|[^"\\])*",?)+\})? [-+0-9.e]+'
    for line in text.splitlines():
        assert re.fullmatch(rf"# HELP dataflow_\w+ .+|# TYPE dataflow_\w+ \w+|{sample}", line)
    names = re.findall(r"# TYPE (\w+)", text)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9100", 200),
        ("127.0.0.1", 200),
        ("[::1]:1", 200),
        ("evil.example:9100", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_who_asks_under_another_name_is_refused(host: str, status: int) -> None:
    """A page from elsewhere could have a browser ask for it."""
    with MetricsServer(0, list) as server:
        connection = HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        connection.request("GET", "/metrics", headers={"Host": host})
        assert connection.getresponse().status == status
        connection.close()


def test_a_port_that_is_taken() -> None:
    with MetricsServer(0, list) as server:
        port = urlsplit(server.url).port
        assert port is not None
        with pytest.raises(df.ConfigError, match=f"port {port} for metrics: Address already"):
            df.DataFromList([[1]]).metrics(port)
