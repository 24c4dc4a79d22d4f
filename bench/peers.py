"""The peers: which interpreter has one, and in which version."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

__all__ = ["Interpreters", "installed"]

# Module to import, and the distributions whose versions are told.
_PEERS = {
    "aiohttp": ("aiohttp", ("aiohttp",)),
    "daft": ("daft", ("daft",)),
    "grain": ("grain", ("grain",)),
    "img2dataset": ("img2dataset", ("img2dataset",)),
    "ray": ("ray.data", ("ray",)),
    "spdl": ("spdl.pipeline", ("spdl",)),
    "tensorcom": ("tensorcom", ("tensorcom",)),
    "tensorflow": ("tensorflow", ("tensorflow", "tensorflow-cpu")),
    "tensorpack": ("tensorpack.dataflow", ("tensorpack",)),
    "torch": ("torch", ("torch",)),
    "torchdata": ("torchdata.nodes", ("torchdata",)),
}

_PROBE = """
import importlib, importlib.metadata as metadata, sys
module, *names = sys.argv[1:]
importlib.import_module(module)
for name in names:
    try:
        print("version", metadata.version(name))
        break
    except metadata.PackageNotFoundError:
        pass
sys.stdout.flush()
import os
os._exit(0)
"""


class Interpreters:
    """Where each peer is installed: by default, beside this project.

    Args:
        options: what ``--python`` was given: ``peer=path`` or ``peer,peer=path``.

    Raises:
        SystemExit: an option names no known peer.
    """

    def __init__(self, options: Iterable[str]) -> None:
        self._paths: dict[str, str] = {}
        for option in options:
            peers, equals, path = option.partition("=")
            for peer in peers.split(","):
                if peer not in _PEERS or not equals:
                    known = ", ".join(_PEERS)
                    raise SystemExit(f"--python {option}: not peer=path with a peer of {known}")
                self._paths[peer] = path

    def of(self, system: str) -> str:
        """The interpreter for a peer, or for what is no peer."""
        return self._paths.get(system, sys.executable)


def installed(system: str, interpreters: Interpreters) -> tuple[str | None, str]:
    """The peer's version, None where it cannot be imported, and why not."""
    module, names = _PEERS[system]
    try:
        done = subprocess.run(
            [interpreters.of(system), "-c", _PROBE, module, *names],
            capture_output=True,
            text=True,
            timeout=120,
        )
    except OSError as error:
        return None, f"its interpreter: {error.strerror}"
    except subprocess.TimeoutExpired:
        return None, "not imported within 120 s"
    for line in done.stdout.splitlines():
        if line.startswith("version "):
            return line.partition(" ")[2], ""
    last = done.stderr.strip().splitlines()[-1:] or ["no version found"]
    missing = "ModuleNotFoundError" in last[0] or "ImportError" in last[0]
    return None, "not installed" if missing else last[0]
