"""PyTorch's loader over our engine, beside PyTorch's own."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import re
import signal
import threading
from collections import namedtuple
from itertools import islice
from typing import Any

import numpy as np
import pytest
from forked import exit_status_of
from optional import library

import dataflow as df

torch = library("torch")

from torch.utils import data  # noqa: E402

from dataflow.adapters.torch import DataLoader  # noqa: E402

Pair = namedtuple("Pair", ["a", "b"])


FORMS: dict[str, Any] = {
    "int": lambda i: i * i,
    "float": lambda i: i / 2,
    "text": lambda i: f"item {i}",
    "tensor": lambda i: torch.full((3, 4), i, dtype=torch.int16),
    "half": lambda i: torch.full((2,), i, dtype=torch.bfloat16),
    "array": lambda i: np.full((2, 5), i, np.float32),
    "tuple": lambda i: (torch.tensor([i]), i, f"{i}"),
    "named": lambda i: Pair(torch.tensor(i), [i, {"x": np.float64(i)}]),
    "dict": lambda i: {"image": np.full((4, 4, 3), i % 256, np.uint8), "meta": {"id": i}},
    "bool": lambda i: (i % 2 == 0, np.int32(i)),
}


class Squares(data.Dataset[Any]):
    """Items of one of PyTorch's forms."""

    def __init__(self, form: str, size: int = 23) -> None:
        self.form, self.size = form, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return FORMS[self.form](index)


class Noise(data.Dataset[Any]):
    """Items that draw from all the generators that there are."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        return index, float(torch.rand(())), random.random(), np.random.rand()


class Fragile(Squares):
    """Kills its worker, once."""

    def __init__(self, marker: str) -> None:
        super().__init__("int")
        self.marker = marker

    def __getitem__(self, index: int) -> Any:
        if index == 11 and not os.path.exists(self.marker):
            open(self.marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def same(one: Any, other: Any) -> bool:
    """Of one type, with the same values, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class All(Squares):
    """Items with all of these forms."""

    def __getitem__(self, index: int) -> Any:
        return {form: of(index) for form, of in FORMS.items()}


@pytest.mark.parametrize(
    ("dataset", "workers"), [*((Squares(form), 0) for form in FORMS), (All(""), 2)]
)
def test_batches_are_pytorchs(dataset: Any, workers: int) -> None:
    """Same values, types and orders, from the same seeds."""
    runs = []
    for kind, count in ((data.DataLoader, 0), (DataLoader, workers)):
        torch.manual_seed(5)
        loader = kind(dataset, batch_size=4, shuffle=True, num_workers=count)
        plain = kind(dataset, batch_size=None, num_workers=count)
        runs.append([list(loader), list(loader), list(plain)])
        assert len(loader) == 6
    assert same(*runs)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 5, "drop_last": True},
        {"batch_size": 3, "sampler": [5, 3, 8, 3]},
        {"batch_sampler": [[1, 2], [3], [4, 5, 6]]},
        {"batch_size": 4, "collate_fn": lambda items: sum(items)},
        {"batch_size": None, "collate_fn": lambda item: {"it": item}},
        {"batch_size": 2, "shuffle": True, "generator": 7},
        {"batch_size": 2, "sampler": "weighted"},
        {"batch_size": 4, "prefetch_factor": 1, "in_order": True, "persistent_workers": True},
    ],
)
def test_arguments(options: dict[str, Any]) -> None:
    runs = []
    several = "prefetch_factor" in options
    for kind in (data.DataLoader, DataLoader):
        given = dict(options)
        if "generator" in given:
            given["generator"] = torch.Generator().manual_seed(given["generator"])
        if given.get("sampler") == "weighted":
            chance = torch.Generator().manual_seed(2)
            given["sampler"] = data.WeightedRandomSampler(torch.ones(23), 30, generator=chance)
        loader = kind(Squares("int"), num_workers=2 if several else 0, **given)
        runs.append([list(loader), list(loader)])
        if kind is DataLoader:
            loader.close()
    assert same(*runs)


def test_arguments_that_cannot_be_are_pytorchs_errors(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):
        DataLoader(Squares("int"), shuffle=True, sampler=[1])
    with pytest.raises(ValueError, match="non-negative"):
        DataLoader(Squares("int"), num_workers=-1)
    with pytest.raises(ValueError, match="multi-process loading"):
        DataLoader(Squares("int"), multiprocessing_context="fork")
    with pytest.raises(ValueError, match="valid start method"):
        DataLoader(Squares("int"), num_workers=1, multiprocessing_context="bad")
    loader = DataLoader(Squares("int"), num_workers=1, multiprocessing_context="fork")
    assert pickle.loads(pickle.dumps(loader)).num_workers == 1
    assert "'fork' is not used" in caplog.text


def test_random_numbers_are_alike_on_any_number_of_workers() -> None:
    """And those of the training are as if nobody had drawn here."""
    found = []
    for workers in (0, 2):
        torch.manual_seed(3)
        random.seed(4)
        np.random.seed(5)
        loader = DataLoader(Noise(), batch_size=4, shuffle=True, num_workers=workers)
        passes = [[tuple(map(tuple, map(torch.Tensor.tolist, b))) for b in loader] for _ in "ab"]
        found.append((passes, float(torch.rand(())), random.random(), np.random.rand()))
    assert found[0] == found[1]
    first, second = found[0][0]
    drawn = [number for batch in first + second for column in batch[1:] for number in column]
    assert len(set(drawn)) == len(drawn) == 6 * 24


@pytest.mark.parametrize("generator", [False, True])
@pytest.mark.parametrize(("at", "workers"), [(0, 0), (1, 0), (4, 0), (4, 1), (6, 0), (7, 0)])
def test_going_on_with_a_state(generator: bool, at: int, workers: int) -> None:
    """Of before a pass, in it, with its last batch, and after it; and the passes that follow."""

    def made(count: int) -> Any:
        torch.manual_seed(3)
        own = torch.Generator().manual_seed(8) if generator else None
        return DataLoader(Noise(), 4, shuffle=True, num_workers=count, generator=own)

    def told(batches: Any) -> list[Any]:
        return [[column.tolist() for column in batch] for batch in batches]

    whole = made(0)
    list(whole)
    stream, batches = iter(whole), []
    batches += told(islice(stream, at))
    state = json.loads(json.dumps(whole.state_dict()))
    rest = [*([] if at == 7 else [told(stream)]), told(whole), told(whole)]
    assert len(rest[-1]) == 6 and rest[-1] != rest[-2]
    again = made(workers)
    again.load_state_dict(state)
    assert again.state_dict() == state
    torch.rand(3)  # what else a program draws before it goes on
    assert [told(again) for _ in rest] == rest
    again.close()


def test_what_is_no_state() -> None:
    with pytest.raises(df.StateError, match="no state of a DataLoader"):
        DataLoader(Squares("int")).load_state_dict({"dataflow": 1})


class About(Squares):
    def __getitem__(self, index: int) -> Any:
        info = data.get_worker_info()
        return info.id, info.num_workers, info.dataset.offset + index


def moved(number: int) -> None:
    data.get_worker_info().dataset.offset = 100


def test_workers_know_what_they_are() -> None:
    loader = DataLoader(About("int"), batch_size=4, num_workers=2, worker_init_fn=moved)
    batches = list(loader)
    assert {int(n) for ids, _, _ in batches for n in ids} <= {0, 1}
    assert {int(n) for _, counts, _ in batches for n in counts} == {2}
    assert [int(n) for _, _, numbers in batches for n in numbers] == list(range(100, 123))


def test_a_worker_that_dies(tmp_path: Any) -> None:
    loader = DataLoader(Fragile(str(tmp_path / "died")), batch_size=2, num_workers=2)
    assert [int(n) for batch in loader for n in batch] == list(range(23))
    assert (tmp_path / "died").exists()


class Failing(Squares):
    def __getitem__(self, index: int) -> Any:
        raise KeyError(f"no {index}")


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_come_as_they_are(workers: int) -> None:
    loader = DataLoader(Failing("int"), num_workers=workers)
    for _ in range(2):
        with pytest.raises(KeyError, match="no 0"):
            next(iter(loader))


class OneFails(Squares):
    def __init__(self, how: str) -> None:
        super().__init__("int", 12)
        self.how = how

    def __getitem__(self, index: int) -> Any:
        if index == 5 and self.how == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 5:
            raise StopIteration if self.how == "stops" else KeyError("five")
        return index


@pytest.mark.parametrize(
    ("how", "workers", "kind", "said"),
    [
        ("raises", 0, KeyError, "five"),
        ("raises", 2, KeyError, "five"),
        ("stops", 0, RuntimeError, "the data set's item .4, 5. raised StopIteration"),
        ("stops", 1, RuntimeError, "the data set's item .4, 5. raised StopIteration"),
        ("kills", 1, df.PoisonedDatapoint, r"batch 2, of the data set's items \[4, 5\]: .*kills"),
    ],
)
def test_after_an_error_it_goes_on(how: str, workers: int, kind: Any, said: str) -> None:
    loader = DataLoader(OneFails(how), 2, num_workers=workers)
    for _ in range(2):
        batches, found = iter(loader), []
        while True:
            try:
                found.append(next(batches).tolist())
            except StopIteration:
                break
            except kind as error:
                assert re.search(said, str(error))
                found.append("failed")
        assert found == [[0, 1], [2, 3], "failed", [6, 7], [8, 9], [10, 11]]
    loader.close()


class Sparse(Squares):
    def __getitem__(self, index: int) -> Any:
        return torch.eye(3).to_sparse() * index


def test_sparse_tensors() -> None:
    loader = DataLoader(Sparse("", 4), None, num_workers=1)
    assert [int(one.to_dense()[0, 0]) for one in loader] == [0, 1, 2, 3]
    loader.close()


class Locked(Squares):
    def __init__(self) -> None:
        super().__init__("int", 4)
        self.lock = threading.Lock()


def test_what_cannot_go_to_workers_is_told_in_a_data_sets_words() -> None:
    with pytest.raises(TypeError, match=r"because of Locked\.lock.* num_workers=0") as caught:
        list(DataLoader(Locked(), num_workers=1))
    assert "MapData" not in str(caught.value) and "reset_state" not in str(caught.value)
    assert len(list(DataLoader(Locked()))) == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_copies_and_forks_have_workers_of_their_own(workers: int) -> None:
    loader = DataLoader(Squares("int", 6), 3, num_workers=workers)
    expected = [[0, 1, 4], [9, 16, 25]]

    def numbers(one: Any) -> Any:
        return [batch.tolist() for batch in one]

    assert numbers(loader) == expected
    copies = [copy.copy(loader), copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))]
    status = exit_status_of(lambda: 0 if numbers(loader) == expected else 1)
    assert status == 0 and numbers(loader) == expected
    begun = iter(copies[0])
    next(begun)
    loader.close()
    assert numbers(begun) == expected[1:]
    for one in copies:
        assert numbers(one) == expected
        one.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_arguments_may_be_changed_between_passes(workers: int) -> None:
    loader = DataLoader(Squares("int", 4), 2, num_workers=workers)
    list(loader)
    loader.collate_fn = sum
    assert [int(one) for one in loader] == [1, 13]
    loader.close()


def test_iterable_data_sets_are_left_to_pytorch() -> None:
    class Stream(data.IterableDataset[int]):
        def __iter__(self) -> Any:
            return iter(range(7))

    assert [batch.tolist() for batch in DataLoader(Stream(), 3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_loop_that_is_left_early() -> None:
    loader = DataLoader(Squares("int"), 2, num_workers=2, persistent_workers=True)
    for batch in loader:
        assert batch.tolist() == [0, 1]
        break
    assert len(list(loader)) == 12
    loader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_two_passes_at_once(workers: int) -> None:
    loader = DataLoader(Squares("int", 8), 2, num_workers=workers)
    pairs = [(one.tolist(), other.tolist()) for one in loader for other in loader]
    assert len(pairs) == 16 and pairs[5] == ([4, 9], [4, 9])
    assert [one.tolist() == other.tolist() for one, other in zip(loader, loader, strict=True)]


def test_an_empty_one_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert list(DataLoader(Squares("int", 0))) == []
    assert not caplog.records


class Added(Squares):
    more = 0

    def __getitem__(self, index: int) -> Any:
        return index + self.more, os.getpid()


@pytest.mark.parametrize("workers", [0, 1])
def test_what_changed_between_passes_is_seen(workers: int) -> None:
    """By the same processes, as long as nothing changes."""
    dataset = Added("int", 4)
    loader = DataLoader(dataset, 4, num_workers=workers)
    ((first, one),), ((second, other),) = loader, loader
    assert first.tolist() == second.tolist() == [0, 1, 2, 3] and one.tolist() == other.tolist()
    dataset.more = 100
    ((third, _),) = loader
    assert third.tolist() == [100, 101, 102, 103]
    loader.close()
