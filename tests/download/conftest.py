"""Lists of images behind a server, of which some cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import jpeg
from servers import Server, ok, status

ROWS = 50
PAGE = 7  # of these rows the server has an HTML page
MISSING = (3, 20, 41)  # and of these nothing
GOOD = [number for number in range(ROWS) if number != PAGE and number not in MISSING]


@cache
def body_of(number: int) -> bytes:
    return jpeg(60 + number, 80 + number)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        for number in range(ROWS):
            running.routes[f"/{number}.jpg"] = ok(body_of(number))
        running.routes[f"/{PAGE}.jpg"] = ok(b"<html>gone</html>", "text/html")
        for number in MISSING:
            running.routes[f"/{number}.jpg"] = status(404)
        yield running


@pytest.fixture
def table(server: Server, tmp_path: Path) -> Path:
    """A list of `ROWS` URLs, with captions, numbers and something nested."""
    whole = pa.table(
        {
            "id": pa.array(range(1000, 1000 + ROWS), pa.int64()),
            "URL": [server.url(f"/{number}.jpg") for number in range(ROWS)],
            "TEXT": [None if number == 5 else f"caption {number} ☕" for number in range(ROWS)],
            "tags": [[number, number + 1] for number in range(ROWS)],
        }
    )
    pq.write_table(whole, tmp_path / "list.parquet")
    return tmp_path / "list.parquet"
