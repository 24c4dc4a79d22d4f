"""Pipelines: order, ends, processes, threads, states."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import patient

import dataflow as df
from dataflow.highway import (
    Augmentations,
    Batch,
    Benchmark,
    DequeueGenerator,
    Ended,
    FlowSource,
    ImageFileReader,
    ImgDumper,
    ImgSaver,
    Map,
    Noise,
    Pipeline,
    Sink,
)
from dataflow.highway.transforms import AdditiveNoise, FlipX, PadCrop

from .conftest import SIZE


def numbers(size: int = 6, batch: int = 2) -> FlowSource:
    """Batches of images that are all one number."""
    points = [np.full((batch, 2, 3, 1), i, np.uint8) for i in range(size)]
    return FlowSource(df.DataFromList([[p, p[:, 0, 0]] for p in points], shuffle=False), once=True)


def firsts(pipeline: Any) -> list[int]:
    return [int(batch["images"][0, 0, 0, 0]) for batch in pipeline]


def test_a_batch_unpacks_and_is_a_dict() -> None:
    batch = Batch(keys=["a", "b"], labels=np.eye(2), images=np.zeros((2, 4, 4, 3)))
    images, labels = batch
    assert images is batch["images"] and labels is batch["labels"]
    assert list(batch.keys()) == ["keys", "labels", "images"] and len(batch) == 3
    assert dict(batch).keys() == {**batch}.keys() == batch.copy().keys() == batch.keys()
    again = pickle.loads(pickle.dumps(batch))
    assert type(again) is Batch and again["keys"] == ["a", "b"]
    (only,) = Batch(images=images)
    assert only is images


def test_most_sources_have_no_end(photos: Path) -> None:
    with Pipeline([ImageFileReader(photos, 5, (8, 8), n_worker=0)]) as p:
        keys = [key for _ in range(12) for key in p.dequeue()["keys"].tolist()]
    assert len(keys) == 5 * SIZE
    for begin in range(0, len(keys), SIZE):
        assert len(set(keys[begin : begin + SIZE])) == SIZE, "each once in an epoch"
    assert keys[:SIZE] != keys[SIZE : 2 * SIZE]


def test_the_end_of_those_that_have_one() -> None:
    with Pipeline([numbers(), Augmentations(n_worker=0)]) as p:
        assert firsts(p) == [0, 1, 2, 3, 4, 5]
        for _ in range(2):
            with pytest.raises(queue.Empty) as raised:
                p.dequeue()
            assert isinstance(raised.value, (Ended, df.DataFlowError))
        assert list(p) == []


class Doubled(Map):
    def apply(self, batch: dict[str, Any]) -> dict[str, Any] | None:
        images = batch["images"] * 2
        return None if images.flat[0] == 4 else {**batch, "images": images}


class Broken(Map):
    def apply(self, batch: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("broken")


def test_what_a_node_raises_comes_out() -> None:
    with Pipeline([numbers(), Broken(n_worker=0)]) as p:
        with pytest.raises(RuntimeError, match="broken"):
            p.dequeue()
        with pytest.raises(Ended, match="failed before: broken"):
            p.dequeue()


def test_a_transform_that_forgets_its_batch_is_told() -> None:
    class Forgetful:
        def apply(self, batch: Any, deterministic: bool) -> None: ...

    source = Noise((3, 3), n_worker=0)
    with Pipeline([source, Augmentations([Forgetful()], n_worker=0)]) as p:
        for _ in range(2):
            with pytest.raises((TypeError, Ended), match=r"apply\(\) gave None, and must return"):
                p.dequeue()


def test_arguments_as_there(tmp_path: Path) -> None:
    assert Benchmark(N=3, substract_pickling=True).n == 3
    dumper = ImgDumper(tmp_path, True, batch_naming=False, file_type=".png", n_worker=0)
    with Pipeline([Noise((8, 8, 3)), dumper]) as p:
        p.dequeue()
        generator = DequeueGenerator(p, queue_size=7)
        assert generator.size() == generator.get_size() == 7
    # A worker that went on ahead may have been ended while it wrote, under a name that is hidden.
    whole = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert sorted(whole) == ["0.png", "1.png"]


def test_nodes_of_ones_own() -> None:
    with Pipeline([numbers(), Doubled(n_worker=0)]) as p:
        assert firsts(p) == [0, 2, 6, 8, 10]


class KilledOnce(Map):
    """Kills the process that has a rocket, once."""

    def __init__(self, mark: Path, n_worker: int) -> None:
        super().__init__(n_worker)
        self.mark, self.parent = mark, os.getpid()

    def apply(self, batch: dict[str, Any]) -> dict[str, Any]:
        if os.getpid() != self.parent and "space" in str(batch["keys"]):
            with contextlib.suppress(FileExistsError):  # of two at once only one makes it
                self.mark.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return batch


def test_processes_give_the_same_though_one_is_killed(photos: Path, tmp_path: Path) -> None:
    def batches(workers: int, killed: int) -> list[Batch]:
        nodes = [
            ImageFileReader(photos, 2, (16, 16), once=True, n_worker=workers),
            KilledOnce(tmp_path / "mark", 0),
            Augmentations([PadCrop(), FlipX(), AdditiveNoise()], n_worker=workers),
        ]
        with Pipeline(nodes) as p:
            p.flow.seed(7)
            found = list(p)
            assert p.flow.stats()["worker_restarts"] == killed
        return found

    here = batches(0, 0)
    assert len(here) == SIZE // 2
    for one, other in zip(batches(1, 1), here, strict=True):
        assert one["keys"].tolist() == other["keys"].tolist()
        assert np.array_equal(one["images"], other["images"])
        assert np.array_equal(one["labels"], other["labels"])


def test_going_on_where_it_was(photos: Path) -> None:
    def pipeline() -> Pipeline:
        reader = ImageFileReader(photos, 3, (8, 8), n_worker=0)
        return Pipeline([reader, Augmentations([FlipX()], n_worker=0)])

    with pipeline() as p:
        p.flow.seed(3)
        for _ in range(5):
            p.dequeue()
        state = p.flow.state_dict()
        rest = [p.dequeue() for _ in range(5)]
    with pipeline() as other:
        other.flow.load_state_dict(state)
        for batch in rest:
            found = other.dequeue()
            assert found["keys"].tolist() == batch["keys"].tolist()
            assert np.array_equal(found["images"], batch["images"])


class Stuck(Sink):
    """Waits until it is stopped, as a sink without anybody at the other end does."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.let_go = threading.Event(), threading.Event()

    def write(self, batch: dict[str, Any]) -> None:
        self.reached.set()
        assert self.let_go.wait(patient(30))
        raise df.DataFlowTerminated("stopped")

    def stop(self) -> None:
        self.let_go.set()


def test_stop_from_another_thread() -> None:
    sink = Stuck()
    p = Pipeline([Noise(n_worker=0), sink])
    assert sink.reached.wait(patient(30))
    assert p.wait(0) is False
    other = threading.Thread(target=p.stop)
    other.start()
    assert p.wait(patient(30))
    other.join()
    p.stop()

    p = Pipeline([Noise((2,), n_worker=0)])
    p.dequeue()
    other = threading.Thread(target=p.stop)
    other.start()
    with pytest.raises(df.DataFlowTerminated):
        while True:
            p.dequeue()
    other.join()
    with pytest.raises(df.DataFlowTerminated):
        p.dequeue()
    fresh = Pipeline([Noise((2,), n_worker=0)])
    fresh.stop()
    with pytest.raises(df.DataFlowTerminated, match="stopped"):
        fresh.dequeue()


class Fails(Sink):
    closed = False

    def write(self, batch: dict[str, Any]) -> None:
        raise OSError("no space")

    def close(self) -> None:
        self.closed = True


def test_what_ends_a_sink_is_told() -> None:
    sink = Fails()
    with Pipeline([numbers(), sink]) as p:
        with pytest.raises(OSError, match="no space"):
            p.wait()
        with pytest.raises(df.ConfigError, match="ends in Fails"):
            p.dequeue()
    assert sink.closed


def test_benchmark(capfd: pytest.CaptureFixture[str]) -> None:
    sink = Benchmark(N=2)
    with Pipeline([numbers(5), sink]) as p:
        assert p.wait()
    assert (sink.batches, sink.bytes) == (5, 5 * (12 + 2))
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["2 batches", "4 batches"]
    assert "batches/s" in lines[0] and "MB/s" in lines[0]


def test_noise() -> None:
    with Pipeline([Noise((4, 5), n_tensors=3, n_worker=0)]) as p:
        (one,), (other,) = p.dequeue(), p.dequeue()
        assert one.shape == (3, 4, 5) and one.dtype == np.float32
        assert one.min() >= 0 and one.max() < 1 and not np.array_equal(one, other)
    with Pipeline([Noise((4, 5), n_worker=0, force_constant=True)]) as p:
        assert not p.dequeue()["images"].any()


def test_dataflows_in_and_out(photos: Path) -> None:
    import tensorpack.dataflow as tp

    theirs = tp.BatchData(tp.DataFromList([[np.full((2, 2, 3), i), i] for i in range(4)]), 2)
    with Pipeline([FlowSource(theirs, once=True), Augmentations([FlipX()], n_worker=0)]) as p:
        samples = list(DequeueGenerator(p))
    assert sorted(label for _, label in samples) == [0, 1, 2, 3]
    assert all((image == label).all() for image, label in samples)
    with Pipeline([numbers(3)]) as p:
        flow = tp.MapData(DequeueGenerator(p), lambda dp: [dp[0].sum(), *dp[1:]])
        flow.reset_state()
        assert [int(dp[0]) for dp in flow] == [0, 0, 6, 6, 12, 12]
    with pytest.raises(df.ConfigError, match="must be a dataflow"):
        FlowSource([1, 2])
    with pytest.raises(df.ConfigError, match="3 components"):
        flow = df.DataFromList([[np.zeros((1, 2, 2, 1))] * 3])
        Pipeline([FlowSource(flow, names=("images", "labels"))]).dequeue()


def test_what_makes_no_pipeline(photos: Path, tmp_path: Path) -> None:
    wrong: list[list[Any]] = [
        [],
        [Augmentations()],
        [Noise(), Noise()],
        [Noise(), Benchmark(), Augmentations()],
        [Noise(), ImgSaver(tmp_path), Augmentations()],
        [Noise(), FlipX()],
    ]
    for nodes in wrong:
        with pytest.raises(df.ConfigError, match="nodes"):
            Pipeline(nodes)
    source = Noise()
    Pipeline([source])
    with pytest.raises(df.ConfigError, match="another pipeline"):
        Pipeline([source])
    with pytest.raises(df.ConfigError, match="n_worker=-1"):
        Augmentations(n_worker=-1)
    with pytest.raises(df.ConfigError, match="queue_size=0"):
        Noise(queue_size=0)
    with pytest.raises(df.ConfigError, match="no transform"):
        Augmentations([FlipX])
    with pytest.raises(df.ConfigError, match="N=0"):
        Benchmark(0)
    with pytest.raises(df.ConfigError, match="runs by itself"):
        Pipeline([Noise(), ImgDumper(tmp_path, enqueue=True)]).wait()
