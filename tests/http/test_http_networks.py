"""Redirects between real public, private and link-local addresses, in a network of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from patience import patient

SCRIPT = """
    import subprocess, sys
    sys.path[:0] = {path!r}
    import requests
    from servers import JPEG, Server, ok, redirect
    from dataflow.errors import FetchError
    from dataflow.http import FetchPolicy, make_fetcher

    PUBLIC, PRIVATE, METADATA = "8.8.8.8", "10.1.2.3", "169.254.169.254"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (PUBLIC, PRIVATE, METADATA):
        subprocess.run(["ip", "address", "add", address + "/32", "dev", "lo"], check=True)
    servers = [Server(address) for address in (PUBLIC, PRIVATE, METADATA)]
    public, private, metadata = servers
    for server in servers:
        server.routes["/image"] = ok(JPEG)
        server.routes["/public"] = redirect(public.url("/image"))
        server.routes["/private"] = redirect(private.url("/image"))
        server.routes["/metadata"] = redirect(metadata.url("/image"))
        server.routes["/twice"] = redirect(public.url("/private"))
    for session in (None, requests.Session()):
        for server in servers:
            server.connections = 0
        fetcher = make_fetcher(FetchPolicy(), concurrency=2, session=session)

        def outcome(url):
            try:
                return fetcher.fetch(url) == JPEG
            except FetchError as error:
                return error.reason

        assert outcome(public.url("/private")) == "blocked"
        assert private.connections == 0
        assert outcome(public.url("/metadata")) == "blocked"
        assert outcome(private.url("/metadata")) == "blocked"
        assert metadata.connections == 0
        assert outcome(private.url("/private")) is True
        assert outcome(private.url("/public")) is True
        assert outcome(public.url("/public")) is True
        assert private.requests["/image"] == 1
        assert outcome(private.url("/twice")) == "blocked"
        assert outcome(public.url("/private")) == "blocked"  # with a connection open by now
        assert private.requests["/image"] == 1
        private.requests.clear()
        fetcher.close()
        print("fine")
"""


def test_redirects_between_networks() -> None:
    if os.geteuid() or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs root, unshare and ip for a network namespace")
    if subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    path = [str(Path(__file__).parents[1]), *sys.path]
    ran = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", textwrap.dedent(SCRIPT).format(path=path)],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert ran.stdout == "fine\nfine\n", ran.stderr
