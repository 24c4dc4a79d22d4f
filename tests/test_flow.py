"""The protocol, in both spellings and with users' own classes."""

from __future__ import annotations

import copy
import gc
import threading
from collections.abc import Iterator

import pytest
from patience import patient

import dataflow as df
from dataflow.flow import UnknownLength


class NewStyle(df.DataFlow):
    def __iter__(self):
        for i in range(3):
            yield [i]

    def __len__(self):
        return 3


class OldStyle(df.DataFlow):
    def get_data(self):
        for i in range(3):
            yield [i]

    def size(self):
        return 3


class OldProxy(df.ProxyDataFlow):
    def get_data(self):
        for dp in self.ds.get_data():
            yield [dp[0] + 10]


@pytest.mark.parametrize("flow", [NewStyle(), OldStyle(), df.DataFromList([[0], [1], [2]], False)])
def test_both_spellings_of_every_method(flow: df.DataFlow) -> None:
    assert list(flow) == list(flow.get_data()) == [[0], [1], [2]]
    assert len(flow) == flow.size() == 3
    assert [dp[0] for dp in OldProxy(flow)] == [10, 11, 12]
    assert len(OldProxy(flow)) == OldProxy(flow).size() == 3


@pytest.mark.parametrize("cls", [NewStyle, OldStyle])
def test_stages_over_users_classes(cls: type[df.DataFlow]) -> None:
    assert [b[0].tolist() for b in cls().map(lambda dp: [dp[0] * 2]).batch(3)] == [[0, 2, 4]]


def test_unknown_length_is_an_error_but_list_works() -> None:
    flow = df.DataFromGenerator(lambda: iter([[1], [2]]))
    assert list(flow) == [[1], [2]]
    with pytest.raises(NotImplementedError):
        len(flow)
    with pytest.raises(UnknownLength):
        flow.size()


def test_a_flow_that_defines_nothing_says_so() -> None:
    class Empty(df.DataFlow):
        pass

    with pytest.raises(NotImplementedError, match="Empty defines neither __iter__ nor get_data"):
        list(Empty())


def test_reset_state_is_called_once_by_itself() -> None:
    class Counting(df.DataFlow):
        resets = 0

        def reset_state(self):
            super().reset_state()
            self.resets += 1

        def __iter__(self):
            yield [self.resets]

    assert list(Counting()) == [[1]]
    flow = Counting()
    assert list(flow) == list(flow) == [[1]]
    explicit = Counting()
    explicit.reset_state()
    assert list(explicit) == [[1]]
    below = Counting()
    assert list(df.MapData(below, lambda dp: dp)) == list(below) == [[1]]


def test_a_newer_iterator_ends_the_older_one() -> None:
    flow = df.DataFromList([[0], [1]], shuffle=False)
    first = iter(flow)
    assert next(first) == [0]
    second = iter(flow)
    with pytest.raises(df.DataFlowTerminated, match="newer iterator"):
        next(first)
    assert list(second) == [[0], [1]]


def test_close_ends_the_iterator_and_is_idempotent() -> None:
    with df.DataFromList([[0], [1]], shuffle=False) as flow:
        iterator = iter(flow)
        next(iterator)
    flow.close()
    with pytest.raises(df.DataFlowTerminated, match="closed"):
        next(iterator)
    assert list(flow) == [[0], [1]]


def test_leaving_a_loop_ends_the_pass_below() -> None:
    ended = []

    def source():
        try:
            yield from ([i] for i in range(100))
        finally:
            ended.append(True)

    for _ in df.DataFromGenerator(source).map(lambda dp: dp).batch(2):
        break
    gc.collect()
    assert ended == [True]


def test_a_seed_fixes_every_epoch_and_epochs_differ() -> None:
    def chain() -> df.DataFlow:
        return df.DataFromList([[i] for i in range(50)]).shuffled(10)

    one, two = chain().seed(7), chain().seed(7)
    epochs = [list(one) for _ in range(3)]
    assert epochs == [list(two) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    two.set_epoch(1)
    assert list(two) == epochs[1]
    assert list(chain().seed(8)) != epochs[0]


def test_without_a_seed_the_drawn_one_replays_the_run() -> None:
    flow = df.DataFromList([[i] for i in range(50)])
    seen = list(flow)
    again = df.DataFromList([[i] for i in range(50)]).seed(flow.stats()["seed"])
    assert list(again) == seen


def test_negative_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="epoch=-1"):
        df.DataFromList([]).set_epoch(-1)


def test_users_attributes_named_as_methods_win() -> None:
    class Mine(df.RNGDataFlow):
        def __init__(self) -> None:
            self.seed = 5
            self.shuffle = True

        def __iter__(self):
            yield [int(self.rng.randint(1 << 30))]

    flow = Mine()
    top = df.MapData(flow, lambda dp: dp)
    top.seed(3)
    again = df.MapData(Mine(), lambda dp: dp)
    again.seed(3)
    assert list(top) == list(again)
    assert flow.seed == 5 and flow.shuffle is True


def test_rng_of_an_opaque_source_follows_seed_and_epoch() -> None:
    class Noise(df.RNGDataFlow):
        def __iter__(self):
            for _ in range(3):
                yield [self.rng.rand()]

    alone = Noise()
    alone.seed(4)
    first, second = list(alone), list(alone)
    assert first != second
    below = Noise().map(lambda dp: dp)
    below.seed(4)
    assert [list(below), list(below)] == [first, second]


def test_users_rng_may_be_assigned() -> None:
    import numpy as np

    class Noise(df.RNGDataFlow):
        def reset_state(self):
            self.rng = np.random.RandomState(0)

        def __iter__(self):
            yield [self.rng.randint(1000)]

    assert list(Noise()) == [[np.random.RandomState(0).randint(1000)]]


def test_a_subclass_of_a_stage_may_wrap_its_iterator() -> None:
    class Doubled(df.BatchData):
        def __iter__(self):
            for batch in super().__iter__():
                yield batch
                yield batch

    flow = Doubled(df.DataFromList([[i] for i in range(20)]), 10)
    flow.seed(1)
    first, second = ([b[0].tolist() for b in flow] for _ in range(2))
    assert len(first) == 4 and first[0] == first[1]
    assert first != second, "each iter() is the next epoch"


def test_stats_name_the_stages_from_the_source_upward() -> None:
    flow = df.DataFromList([[i] for i in range(6)], shuffle=False).map(lambda dp: dp).batch(2)
    list(flow)
    stats = flow.stats()
    assert [row["name"] for row in stats["stages"]] == ["DataFromList", "MapData", "BatchData"]
    assert stats["items"] == 3 and stats["stages"][1]["items"] == 6
    assert stats["errors"] == {} and stats["worker_restarts"] == 0
    assert all(row["busy"] >= 0 and row["share"] >= 0 for row in stats["stages"])
    assert "holds the run back" in flow.explain()


def test_copies_carry_no_running_iterator() -> None:
    flow = df.DataFromList([[0], [1]], shuffle=False)
    iterator = iter(flow)
    next(iterator)
    assert list(copy.copy(flow)) == [[0], [1]]
    assert next(iterator) == [1]


def test_retry_failed_needs_keys() -> None:
    with pytest.raises(TypeError, match="DataFromGenerator has no keys"):
        df.DataFromGenerator([]).retry_failed()


def test_another_thread_may_close_what_is_iterated() -> None:
    """It waits for the datapoint that is under way; the loop ends with an error, not as if done."""
    under_way, goes_on = threading.Event(), threading.Event()

    def slow(dp):
        if dp[0] == 3:
            under_way.set()
            assert goes_on.wait(patient(10))
        return dp

    ds = df.DataFromList([[i] for i in range(100)], shuffle=False).map(slow)
    found = []

    def close() -> None:
        under_way.wait(patient(10))
        threading.Timer(0.05, goes_on.set).start()
        ds.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(df.DataFlowTerminated, match="closed"):
        for dp in ds:
            found.append(dp[0])
    closing.join()
    assert found == [0, 1, 2, 3]


def every_flow_over(ds: df.DataFlow) -> list[df.DataFlow]:
    return [
        df.MapData(ds, lambda dp: dp),
        df.BatchData(ds, 1),
        df.LocallyShuffleData(ds, 2),
        df.RepeatedDataPoint(ds, 1),
        df.CacheData(ds),
        df.MultiThreadMapData(ds, 1, lambda dp: dp),
        df.PrefetchDataZMQ(ds, 1),
        df.ConcatData([ds, df.DataFromList([])]),
    ]


def test_reset_state_runs_once_whoever_calls_it() -> None:
    """A user's need not call `super()`, and may not bear to be called twice."""

    class Growing(df.DataFlow):
        def __init__(self) -> None:
            self.held: list[int] = []

        def reset_state(self) -> None:
            self.held += [1, 2, 3]

        def __iter__(self) -> Iterator[list[int]]:
            yield from ([i] for i in self.held)

    for number in range(len(every_flow_over(Growing()))):
        ds = every_flow_over(Growing())[number]
        for _ in range(2):
            ds.reset_state()
        with ds:
            for _ in range(2):
                assert len(list(ds)) == 3, type(ds).__name__
    ds = Growing()
    ds.reset_state()
    assert len(list(ds)) == len(list(ds)) == 3


def test_a_chain_of_overrides_runs_each_once() -> None:
    calls = []

    class Base(df.ProxyDataFlow):
        def reset_state(self) -> None:
            super().reset_state()
            calls.append("base")

    class Own(Base):
        def reset_state(self) -> None:
            super().reset_state()
            calls.append("own")

    ds = Own(df.DataFromList([[1]]))
    ds.reset_state()
    assert list(ds) == [[1]] and calls == ["base", "own"]


def test_a_reset_state_that_failed_runs_again() -> None:
    class Failing(df.DataFlow):
        tried = 0

        def reset_state(self) -> None:
            self.tried += 1
            if self.tried == 1:
                raise OSError("not yet")

        def __iter__(self) -> Iterator[list[int]]:
            yield [self.tried]

    ds = Failing()
    with pytest.raises(OSError, match="not yet"):
        list(ds)
    assert list(ds) == [[2]]


class Files(df.RNGDataFlow):
    def __init__(self, names: str) -> None:
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[list[str]]:
        for index in self.rng.permutation(len(self.names)):
            yield [self.names[index]]


@pytest.mark.parametrize("wrap", [lambda ds: ds, lambda ds: ds.map(lambda dp: dp)])
def test_own_sources_in_one_chain_draw_differently(wrap) -> None:
    """Unpaired data is not paired by chance; and it is the same in every run."""

    def make() -> df.DataFlow:
        ds = df.JoinData([wrap(Files("abcdefgh")), wrap(Files("ABCDEFGH"))])
        return ds.seed(5)

    epochs = [list(ds) for ds in [make()] * 2]
    assert epochs[0] != epochs[1]
    for epoch in epochs:
        assert any(
            one.lower() != other.lower()
            for one, other in zip(*zip(*epoch, strict=True), strict=True)
        )
    ds = make()
    assert [list(ds), list(ds)] == epochs
    # One by itself draws as it did before there were branches.
    assert list(Files("abcdefgh").seed(5)) == list(Files("abcdefgh").map(lambda dp: dp).seed(5))


def test_why_there_is_no_datapoint() -> None:
    """What failed and is skipped is told of by `ds[i]`; what a stage drops is just dropped."""
    source = df.dataset.FileImages()  # which skips
    source.datapoints = [["/nowhere/1.jpg", 0], ["/nowhere/2.jpg", 1]]
    with pytest.raises(
        df.Dropped, match=r"position 1 failed, and is left out: /nowhere/2\.jpg"
    ) as info:
        source[1]
    assert isinstance(info.value.__cause__, df.FetchError)
    ds = df.MapData(df.DataFromList([[1]]), lambda dp: None)
    with pytest.raises(df.Dropped, match="a stage drops the datapoint at position 0"):
        ds[0]


def test_an_iterator_that_is_never_read_is_no_epoch() -> None:
    """Trainers open one to look."""
    ds = df.DataFromList([[i] for i in range(20)])
    ds.seed(3)
    first = [n for (n,) in ds]
    second = [n for (n,) in ds]
    assert first != second
    again = df.DataFromList([[i] for i in range(20)])
    again.seed(3)
    iter(again)
    unread = iter(again)
    assert again.state_dict()["epoch"] == 0
    assert [n for (n,) in again] == first
    del unread
    iter(again)
    assert [n for (n,) in again] == second
    stream = iter(again)
    next(stream)
    assert [n for (n,) in again] not in (first, second)  # one that was read is an epoch
    iter(again)
    again.set_epoch(1)
    assert [n for (n,) in again] == second


def test_a_state_outlives_an_iterator_that_is_never_read() -> None:
    ds = df.DataFromList([[i] for i in range(20)])
    ds.seed(3)
    stream = iter(ds)
    begun = [next(stream)[0] for _ in range(5)]
    state = ds.state_dict()
    for flow in (df.DataFromList([[i] for i in range(20)]), ds):
        flow.load_state_dict(state)
        iter(flow)
        assert flow.state_dict() == state
        iter(flow)
        assert sorted(begun + [n for (n,) in flow]) == list(range(20))


def test_what_was_passed_over_to_get_there_is_not_read() -> None:
    """Of a flow that can only be gone through again, looking is no epoch, and reading is one."""

    class Squares(df.ProxyDataFlow):
        def __iter__(self) -> Iterator[list[int]]:
            for (n,) in self.ds:
                yield [n * n]

    def make() -> df.DataFlow:
        return df.MapData(Squares(df.DataFromList([[i] for i in range(300)], shuffle=False)), list)

    ds = make()
    stream = iter(ds)
    for _ in range(250):
        next(stream)
    state = ds.state_dict()
    again = make()
    again.load_state_dict(state)
    iter(again)
    assert [n for (n,) in again] == [i * i for i in range(250, 300)]
    assert len(list(again)) == 300
