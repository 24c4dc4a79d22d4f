"""What dead links cost: a list of URLs of which a part is dead, beside the same list without it.

    python bench/dead_links.py [--urls 2000] [--dead 0.3] [--transfers 64] [--out bench/results]

The good ones are JPEGs from nginx on loopback. The dead ones are of five kinds, in equal parts and
shuffled among the good ones: names that do not exist, ports where nobody listens, servers that
accept and say nothing, pages that are gone (404), and servers that never accept. In one list all of
a kind lie on one host, in the other each has a host of its own.

Everything is as it is by default. To reach, with one host each: the good images within 5 s of what
they take alone, and the whole epoch within 25 s.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import main_of_cell, report, run_cell
from tabulate import tabulate

from dataflow.demo.photos import ensure_photos, photo_path

PHOTOS = 1000
KINDS = ("no such name", "refused", "silent", "gone", "never accepted")


def run(config: dict[str, Any]) -> dict[str, Any]:
    """One cell: an epoch over a list."""
    import dataflow as df

    with dead_urls(config["base"], round(config["urls"] * config["dead"]), config["hosts"]) as dead:
        good = config["urls"] - len(dead)
        urls = [f"{config['base']}/{photo_path(i % PHOTOS)}?{i}" for i in range(good)]
        urls += dead if config["with_dead"] else []
        random.Random(1).shuffle(urls)
        source = df.dataset.NetworkImages()
        source.datapoints = [[url, 0] for url in urls]
        ds = source.parallel(num_threads=config["transfers"])
        begun = last = time.perf_counter()
        images = 0
        for _ in ds:
            last = time.perf_counter()
            images += 1
        whole = time.perf_counter() - begun
    assert images == good, (images, good, ds.errors()[:3])
    failed = ds.errors()
    assert len(failed) == len(urls) - good
    reasons = sorted({one.reason for one in failed})
    return {"images": images, "good": last - begun, "whole": whole, "reasons": reasons}


@contextlib.contextmanager
def dead_urls(base: str, count: int, hosts: int) -> Iterator[list[str]]:
    """So many dead URLs, on up to so many hosts of each kind."""
    each = -(-count // len(KINDS))
    hosts = min(hosts, each)
    with contextlib.ExitStack() as stack:

        def listen(backlog: int, full: bool) -> str:
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
            for _ in range(2 if full else 0):  # what it has room for, which nobody accepts
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(sock.getsockname())
            return f"http://127.0.0.1:{sock.getsockname()[1]}"

        def closed() -> str:
            with socket.create_server(("127.0.0.1", 0)) as sock:
                return f"http://127.0.0.1:{sock.getsockname()[1]}"

        places = {
            "no such name": [f"http://no-such-host-{i}.invalid" for i in range(hosts)],
            "refused": [closed() for _ in range(hosts)],
            "silent": [listen(4096, full=False) for _ in range(hosts)],
            "gone": [base],
            "never accepted": [listen(0, full=True) for _ in range(hosts)],
        }
        urls = [
            f"{places[kind][i % len(places[kind])]}/gone/{kind.replace(' ', '-')}-{i}.jpg"
            for i in range(each)
            for kind in KINDS
        ]
        yield urls[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--urls", type=int, default=2000)
    parser.add_argument("--dead", type=float, default=0.3)
    parser.add_argument("--transfers", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        main_of_cell(run, args.cell)
    from nginx import serve

    lists = {
        "without the dead ones": {"with_dead": False, "hosts": 1},
        "one dead host of each kind": {"with_dead": True, "hosts": 1},
        "a host for each dead URL": {"with_dead": True, "hosts": args.urls},
    }
    found = {}
    with serve(ensure_photos(PHOTOS)) as base:
        for name, one in lists.items():
            common = {"urls": args.urls, "dead": args.dead, "transfers": args.transfers}
            found[name] = run_cell(__file__, {"base": base, **common, **one}, timeout=600)
    alone = found["without the dead ones"].get("good", 0.0)
    rows = [
        [name, cell["images"], f"{cell['good']:.1f}", f"{cell['good'] - alone:+.1f}",
         f"{cell['whole']:.1f}"]
        if "error" not in cell
        else [name, cell["error"], "", "", ""]
        for name, cell in found.items()
    ]  # fmt: skip
    headers = ["", "good images", "until the last of them, s", "more than alone", "whole epoch, s"]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
    print("to reach with one host each: at most 5 s more, and 25 s for the whole")
    print("written:", report("dead_links", found, args.out))


if __name__ == "__main__":
    main()
