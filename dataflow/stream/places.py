"""Where a node stands in its graph, as numbers that are the same in every process.

A node's digest says what it is made of: its operation and the digests of what feeds it. Of random
nodes that are equal in that, the ordinal, in the order in which they were made, tells them apart;
those that share a seed stay equal. So an edit changes the draws only of what it feeds, and of
equals that come after it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from dataflow.stream.graph import Node

__all__ = ["Place", "digest_of", "places"]

Place = bytes
"""16 bytes."""


def places(nodes: Iterable[Node]) -> dict[int, tuple[Place, int]]:
    """The digest of each node, by its `id`, and the 64 bits that its draws start from.

    Args:
        nodes: all nodes of a graph in the order in which they were made.
    """
    found: dict[int, tuple[Place, int]] = {}
    seen: Counter[Place] = Counter()
    for node in nodes:
        if node.op is None:
            digest = digest_of(node.value)
        else:
            below = [found[id(one)][0] for one in node.inputs]
            digest = _hash(b"node", node.op.name.encode(), *below)
        own = digest
        if node.op is not None and node.op.draws:
            if node.seed is not None:
                own = found[id(node.seed)][0]  # alike, whatever is drawn
            else:
                ordinal = seen[digest]
                seen[digest] += 1
                digest = own = _hash(b"draw", digest, str(ordinal).encode())
        found[id(node)] = digest, int.from_bytes(_hash(b"bits", own)[:8], "little")
    return found


def digest_of(value: Any) -> Place:
    """The digest of a constant, by what it says; of an array by its bytes."""
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        about = f"{data.dtype.str}{data.shape}".encode()
        return _hash(b"array", about, data.reshape(-1).view(np.uint8))
    if isinstance(value, (list, tuple)):
        return _hash(b"list", *map(digest_of, value))
    if isinstance(value, dict):
        return _hash(b"dict", *map(digest_of, value), *map(digest_of, value.values()))
    if callable(digest := getattr(value, "digest", None)):
        return _hash(b"table", digest())
    return _hash(type(value).__name__.encode(), repr(value).encode())


def _hash(*parts: Any) -> Place:
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.digest()
