"""PyTorch's loaders over dataflows."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from optional import library
from patience import patient

import dataflow as df

torch = library("torch")

from torch.utils.data import DataLoader  # noqa: E402

from dataflow.adapters.torch import (  # noqa: E402
    IterableDataset,
    MapDataset,
    tensors,
    to_device,
)


def source(size: int = 20) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=True).map(image).seed(3)


def image(datapoint: list[Any]) -> list[Any]:
    return [np.full((2, 3), datapoint[0], np.uint8), datapoint[0]]


def numbers(batches: Any) -> list[int]:
    return [int(n) for _, labels in batches for n in labels]


def test_tensors_have_the_memory_of_the_arrays() -> None:
    arrays = {
        "image": np.zeros((4, 5, 3), np.uint8),
        "flags": (np.ones(3, bool), np.zeros(2, np.complex64)),
        "part": np.zeros((6, 6), np.float32)[::2, 1:4],
    }
    found = tensors(arrays)
    found["image"][0] = 7
    found["flags"][0][:] = False
    found["part"][:] = 1
    assert (arrays["image"][0] == 7).all() and not arrays["flags"][0].any()
    assert (arrays["part"] == 1).all() and found["part"].shape == (3, 3)
    assert found["flags"][1].dtype == torch.complex64


def test_what_tensors_cannot_be_is_copied_or_left() -> None:
    constant = np.arange(4)
    constant.flags.writeable = False
    swapped = np.arange(4, dtype=">i4")
    text = np.array(["a", "b"])
    found = tensors([constant, swapped, constant[::-1], np.float32(2.5), text, "a", 3, None])
    found[0][0] = 9
    assert constant[0] == 0
    assert found[1].tolist() == [0, 1, 2, 3] and found[2].tolist() == [3, 2, 1, 0]
    assert found[3].shape == () and found[3].dtype == torch.float32
    assert found[4] is text and found[5:] == ["a", 3, None]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_over_batches_of_worker_processes(workers: int) -> None:
    with df.PrefetchDataZMQ(source().batch(4), num_proc=1) as ds:
        loader = DataLoader(IterableDataset(ds), batch_size=None, num_workers=workers)
        batches = list(loader)
        assert all(isinstance(images, torch.Tensor) for images, _ in batches)
        assert len(loader) == 5
        assert numbers(batches) == numbers(source().batch(4))


def test_a_worker_of_the_loader_goes_on_with_the_next_epoch() -> None:
    ds = source().batch(4)
    expected = [numbers(ds), numbers(ds)]
    loader = DataLoader(
        IterableDataset(source().batch(4)), batch_size=None, num_workers=1, persistent_workers=True
    )
    assert [numbers(loader), numbers(loader)] == expected
    ds = source().batch(4)
    loader = DataLoader(IterableDataset(ds), batch_size=None, num_workers=1)
    ds.set_epoch(1)
    assert numbers(loader) == expected[1]


def test_a_loader_that_makes_the_batches() -> None:
    with df.MultiThreadMapData(source(), 2, list) as ds:
        batches = list(DataLoader(IterableDataset(ds), batch_size=4))
        assert [images.shape for images, _ in batches] == [(4, 2, 3)] * 5
        assert numbers(batches) == numbers(source().batch(4))


def test_several_workers_of_the_loader_are_refused() -> None:
    loader = DataLoader(IterableDataset(source()), batch_size=4, num_workers=2)
    iterator = iter(loader)
    with pytest.raises(df.ConfigError, match="num_workers=2"):
        next(iterator)
    iterator._shutdown_workers()


def test_a_map_style_dataset_with_a_sampler_and_workers() -> None:
    dataset = MapDataset(source())
    loader = DataLoader(dataset, batch_size=4, shuffle=True, num_workers=2)
    assert sorted(numbers(loader)) == list(range(20))
    assert [int(label) for _, label in (dataset[i] for i in range(20))] == [
        label for _, label in source()
    ]


def test_a_flow_without_random_access_is_no_map_style_dataset() -> None:
    with pytest.raises(TypeError, match="no random access"):
        MapDataset(df.LocallyShuffleData(source(), 5))[0]


@pytest.mark.parametrize("batch_size", [None, 4])
def test_torchdata_goes_on_in_the_middle_of_an_epoch(batch_size: int | None) -> None:
    stateful = library("torchdata.stateful_dataloader").StatefulDataLoader

    def make() -> Any:
        ds = source() if batch_size else source().batch(4)
        return stateful(IterableDataset(ds), batch_size=batch_size)

    expected = numbers(make())
    loader = make()
    iterator = iter(loader)
    before = numbers([next(iterator), next(iterator)])
    again = make()
    again.load_state_dict(loader.state_dict())
    assert before + numbers(again) == expected
    assert sorted(numbers(again)) == list(range(20)), "the next epoch"


def test_batches_that_are_kept_stay_as_they_are() -> None:
    # Many more than a worker has slots: their memory is not used anew while a tensor has it.
    flow = df.DataFromList([[i] for i in range(64)], shuffle=False).map(large)
    with df.PrefetchDataZMQ(flow, num_proc=1, hwm=2).seed(1) as ds:
        kept = [pictures[0, :2] for (pictures,) in map(tensors, ds)]
        gc.collect()
    assert [picture.unique().tolist() for picture in kept] == [[i] for i in range(64)]


def large(datapoint: list[Any]) -> list[Any]:
    return [np.full((64, 64, 3), datapoint[0], np.uint8)]


def test_to_a_device() -> None:
    batches = [[np.full(3, i), {"mask": torch.zeros(2)}, "name"] for i in range(4)]
    found = list(to_device(batches, "cpu"))
    assert [one[0].tolist() for one in found] == [[i] * 3 for i in range(4)]
    assert found[0][1]["mask"].device.type == "cpu" and found[0][2] == "name"
    with pytest.raises(df.ConfigError, match="ahead=-1"):
        to_device(batches, "cpu", ahead=-1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_to_a_cuda_device(ahead: int) -> None:
    batches = [[np.full((64, 1000), i, np.float32), [np.arange(i)]] for i in range(20)]
    sums = []
    for number, (one, (other,)) in enumerate(to_device(iter(batches), "cuda", ahead=ahead)):
        assert one.is_cuda and other.is_cuda and len(other) == number
        sums.append((one @ one.T).mean())
    assert [float(one) / 1000 for one in sums] == pytest.approx([i * i for i in range(20)])


def test_ranks_of_torch_distributed(tmp_path: Any) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    try:
        shard = source().shard()
        assert (shard.rank, shard.world_size) == (0, 1)
        assert len(list(shard)) == 20
    finally:
        torch.distributed.destroy_process_group()


RANK = """
import sys
import torch
import torch.distributed as dist
import dataflow as df
from dataflow.adapters.torch import IterableDataset

rank, group = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=group, rank=rank, world_size=2)

def chain():
    return df.DataFromList([[i] for i in range(23)], shuffle=True).seed(3).shard().batch(3)

def train(ds, steps):
    for step, (numbers,) in enumerate(IterableDataset(ds), 1):
        print(*numbers.tolist(), flush=True)
        dist.all_reduce(numbers.sum())  # waits for the other's step
        if step == steps:
            return

ds = chain()
train(ds, 2)
state = [ds.state_dict()]
dist.broadcast_object_list(state, src=0)
again = chain()
again.load_state_dict(state[0])
train(again, None)
dist.destroy_process_group()
"""


def test_a_process_group_of_two(tmp_path: Any) -> None:
    """Both have equally many steps, also from a state of one of them, and together everything."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), f"file://{tmp_path}/group"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    steps = [rank.communicate(timeout=patient(60))[0].splitlines() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert [len(rank) for rank in steps] == [4, 4]
    seen = [int(number) for rank in steps for step in rank for number in step.split()]
    assert len(seen) == 24 and set(seen) == set(range(23)), "23 is odd: one comes twice"


def test_epochs_of_trainers() -> None:
    """They say which; a loaded state knows better."""

    def shuffled() -> Any:
        flow = df.DataFromList([[i] for i in range(12)])
        flow.seed(7)
        return IterableDataset(flow)

    def passes(dataset: Any) -> list[int]:
        return [int(n) for (n,) in dataset]

    wanted = shuffled()
    orders = [passes(wanted) for _ in range(3)]
    one = shuffled()
    one.set_epoch(2)
    assert passes(one) == orders[2]
    one.set_epoch(1)
    stream = iter(one)
    begun = [int(next(stream)[0]) for _ in range(5)]
    state = one.state_dict()
    again = shuffled()
    again.load_state_dict(state)
    iter(again)  # some open one only to look
    again.set_epoch(1)
    assert begun + passes(again) == orders[1]
    again.set_epoch(2)
    assert passes(again) == orders[2]


def test_items_of_epochs() -> None:
    images = [[np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)] for i in range(4)]
    flow = df.AugmentImageComponent(
        df.DataFromList(images, shuffle=False), [df.imgaug.RandomCrop(8)]
    )
    flow.seed(1)
    dataset = MapDataset(flow, anew=False)
    first = dataset[2][0].numpy()
    np.testing.assert_array_equal(dataset[2][0].numpy(), first)
    dataset.set_epoch(1)
    assert not np.array_equal(dataset[2][0].numpy(), first)
    dataset.set_epoch(0)
    np.testing.assert_array_equal(dataset[2][0].numpy(), first)
