"""torch's tensors travel as arrays, and arrive as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optional import library

from dataflow.codec import local

torch = library("torch")

LAYOUTS = {
    "plain": lambda: torch.arange(600.0).reshape(20, 30),
    "permuted": lambda: (
        torch.arange(60 * 40 * 3, dtype=torch.uint8).reshape(60, 40, 3).permute(2, 0, 1)
    ),
    "channels last": lambda: torch.rand(2, 3, 16, 16).to(memory_format=torch.channels_last),
    "cut": lambda: torch.rand(50, 50)[::2, 3:],
    "expanded": lambda: torch.rand(50).expand(40, 50),
    "a number": lambda: torch.tensor(3, dtype=torch.int16),
    "none": lambda: torch.empty(0, 7),
    "bool": lambda: torch.rand(999) > 0.5,
    "bfloat16": lambda: torch.rand(999).to(torch.bfloat16),
    "float8": lambda: torch.rand(999).to(torch.float8_e5m2),
    "complex": lambda: torch.rand(500, dtype=torch.complex64),
    "conjugated": lambda: torch.rand(500, dtype=torch.complex64).conj(),
    "differentiated": lambda: torch.rand(500, requires_grad=True),
    "sparse": lambda: torch.eye(30).to_sparse(),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_kind_arrives(name: str) -> None:
    tensor = LAYOUTS[name]()
    structure, buffers = local.encode([tensor, {"label": tensor}])
    found, _ = local.decode(structure, [bytearray(buffer) for buffer in buffers])
    assert (found.dtype, found.shape, found.requires_grad) == (
        tensor.dtype,
        tensor.shape,
        tensor.requires_grad,
    )
    if name in ("permuted", "channels last"):
        assert found.stride() == tensor.stride()
    same = (
        torch.equal
        if not tensor.is_sparse
        else lambda a, b: torch.equal(a.to_dense(), b.to_dense())
    )
    wide = (lambda a: a.float()) if "float8" in name else (lambda a: a)
    assert same(wide(found), wide(tensor))


def test_their_bytes_stay_out_of_the_pickle() -> None:
    tensor: Any = torch.zeros(3, 224, 224, dtype=torch.uint8)
    structure, (buffer,) = local.encode(tensor)
    assert len(structure) < 400 and buffer.nbytes == 3 * 224 * 224
    memory = bytearray(buffer)
    found = local.decode(structure, [memory])
    found[0, 0, :3] = 7
    assert np.frombuffer(memory, np.uint8)[:3].tolist() == [7, 7, 7], "a view, and writable"


def test_in_processes_too() -> None:
    import dataflow as df

    def work(dp: list[int]) -> list[Any]:
        image = torch.full((64, 64, 3), dp[0], dtype=torch.uint8)
        return [image.permute(2, 0, 1), torch.tensor(dp[0])]

    source = df.DataFromList([[i] for i in range(20)], shuffle=False)
    with df.PrefetchDataZMQ(source.map(work), 2, ordered=True) as ds:
        for number, (image, label) in enumerate(ds):
            assert image.shape == (3, 64, 64) and bool((image == number).all())
            assert label.item() == number
