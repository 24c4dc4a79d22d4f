"""tf.data over dataflows."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optional import library
from ranks import TWICE, check, dead_ones, started

import dataflow as df

tf = library("tensorflow")

from dataflow.adapters.tensorflow import dataset, iterate, signature_of  # noqa: E402


def source(size: int = 10) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=False).map(large)


def large(datapoint: list[Any]) -> list[Any]:
    return [np.full((64, 64, 3), datapoint[0], np.uint8), datapoint[0], "name"]


def test_every_pass_is_an_epoch_and_the_first_datapoint_is_not_lost() -> None:
    flow = df.DataFromList([[i] for i in range(10)], shuffle=True).map(large)
    expected = flow.batch(4, remainder=True).seed(3)
    found = dataset(df.DataFromList([[i] for i in range(10)]).map(large).batch(4, True).seed(3))
    for _ in range(2):
        labels = [labels.numpy().tolist() for _, labels, _ in found]
        assert labels == [labels.tolist() for _, labels, _ in expected]
        assert [len(one) for one in labels] == [4, 4, 2]
    assert next(iter(found))[2].numpy().tolist() == [b"name"] * 4


def test_the_signature() -> None:
    images, labels, names = signature_of(next(iter(source().batch(4))))
    assert images == tf.TensorSpec((None, 64, 64, 3), tf.uint8)
    assert labels.shape == (None,) and names == tf.TensorSpec((None,), tf.string)
    scalar = signature_of({"x": 1.5, "y": (np.float32(1), [2, True])})
    assert scalar["x"].shape == () and scalar["y"][0].dtype == tf.float32
    given = dataset(source(), (images, tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.string)))
    assert given.element_spec[1].dtype == tf.int64
    with pytest.raises(df.ConfigError, match="no datapoints"):
        dataset(df.DataFromList([]))


def test_tensors_that_are_kept_stay_as_they_are() -> None:
    with df.PrefetchDataZMQ(source(32), num_proc=1, hwm=2).seed(1) as ds:
        kept = [images for images, *_ in iterate(ds)]
        assert [np.unique(one).tolist() for one in kept] == [[i] for i in range(32)]
        del kept


def test_what_is_not_aligned_is_copied() -> None:
    whole = np.arange(100, dtype=np.float32)
    flow = df.DataFromList([[whole[1:50], whole[::2], True, np.float64(2), "a"]])
    ((odd, stepped, flag, number, text),) = iterate(flow)
    assert odd.numpy().tolist() == whole[1:50].tolist()
    assert stepped.numpy().tolist() == whole[::2].tolist()
    assert (flag, float(number), text) == (True, 2.0, "a")


def test_keras_fits() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(256, 2)).astype(np.float32)
    flow = df.DataFromList([[x, np.float32(x.sum() > 0)] for x in points])
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, activation="sigmoid")])
    model.compile(tf.keras.optimizers.SGD(0.5), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(dataset(flow.batch(16)), epochs=8, verbose=0)
    assert history.history["accuracy"][-1] > 0.85


def test_the_number_is_asserted_where_it_is_exact() -> None:
    unknown = tf.data.UNKNOWN_CARDINALITY
    numbers = df.DataFromList([[np.int64(i)] for i in range(10)], shuffle=True).seed(1)
    assert int(dataset(numbers).cardinality()) == 10
    skipping = numbers.filter(lambda dp: True)
    assert int(dataset(skipping).cardinality()) == unknown
    assert int(dataset(skipping, length=10).cardinality()) == 10
    assert int(dataset(numbers, length=None).cardinality()) == unknown
    endless = numbers.repeat(-1)
    assert int(dataset(endless).cardinality()) == unknown
    part = df.DataFromList([[np.int64(i)] for i in range(10)], shuffle=True).seed(1)
    iterator = iter(part)
    for _ in range(3):
        next(iterator)
    again = df.DataFromList([[np.int64(i)] for i in range(10)], shuffle=True).seed(1)
    again.load_state_dict(part.state_dict())
    rest = dataset(again)
    assert int(rest.cardinality()) == unknown
    assert [len(list(rest)), len(list(rest))] == [7, 10]
    with pytest.raises(tf.errors.FailedPreconditionError):
        list(dataset(numbers.map(lambda dp: None if dp[0] == 3 else dp)))


@pytest.mark.parametrize("length", ["known", "unknown"])
@pytest.mark.parametrize("stop", [None, 1, 2])
def test_keras_goes_on_after_an_epoch(length: str, stop: int | None, tmp_path: Any) -> None:
    """With `KeepPlace`, which knows that Keras may not see the end of an epoch."""
    keras = library("keras")
    from dataflow.adapters.keras import KeepPlace

    def trained(epochs: int) -> list[int]:
        seen: list[int] = []
        flow = df.DataFromList([[np.float32([i]), np.float32(i)] for i in range(12)], shuffle=True)
        flow = flow if length == "known" else flow.filter(lambda dp: dp[1] < 9)
        flow = flow.map(lambda dp: seen.append(int(dp[1])) or dp).batch(3).seed(3)
        place = KeepPlace(flow, tmp_path / f"place{stop}.json")
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        numbers = dataset(flow)
        model.fit(numbers, initial_epoch=place.epoch, epochs=epochs, callbacks=[place], verbose=0)
        return seen

    whole = trained(4) if stop is None else trained(stop) + trained(4)
    plain = df.DataFromList([[i] for i in range(12)], shuffle=True).seed(3)
    kept = 12 if length == "known" else 9
    assert whole == [n for _ in range(4) for (n,) in plain if n < kept]


def test_keras_and_epochs_that_are_not_the_flows(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """They are refused, as the place could not be kept; `FixedSizeData` makes them the flow's."""
    keras = library("keras")
    from dataflow.adapters.keras import KeepPlace

    def trained(epochs: int, steps: int | None, made: Any = lambda ds: ds) -> list[float]:
        seen: list[float] = []
        ds = df.DataFromList([[np.float32([i]), np.float32(i)] for i in range(12)], shuffle=True)
        ds = made(ds.seed(1).batch(2))
        place = KeepPlace(ds, tmp_path / "place.json")
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=True)
        step = model.train_step
        model.train_step = lambda data: (seen.extend(data[1].numpy().tolist()), step(data))[1]
        options = {} if steps is None else {"steps_per_epoch": steps}
        more = {"initial_epoch": place.epoch, "epochs": epochs, "callbacks": [place], "verbose": 0}
        data = dataset(ds, length=None if steps else "exact")
        model.fit(data.repeat() if steps == 6 else data, **options, **more)
        return seen

    with pytest.raises(df.ConfigError, match=r"steps_per_epoch=2, .* has 6 .*FixedSizeData"):
        trained(2, 2)
    with pytest.raises(df.ConfigError, match=r"leave out dataset\(ds\)\.repeat\(\)"):
        trained(2, 6)
    trained(1, 2, lambda ds: ds.filter(lambda dp: True))
    assert "how many batches an epoch of the flow has is not known" in caplog.text
    for path in tmp_path.iterdir():
        path.unlink()
    parts = [trained(epochs, None, lambda ds: df.FixedSizeData(ds, 4)) for epochs in (1, 2, 3)]
    (tmp_path / "place.json").unlink()
    assert [*chain.from_iterable(parts)] == trained(3, None, lambda ds: df.FixedSizeData(ds, 4))
    assert len(set(map(len, parts))) == 1 and sorted(parts[0] + parts[1][:4]) == list(range(12))


RANKS = """
import tensorflow as tf
from dataflow.adapters.tensorflow import iterate

strategy = tf.distribute.MultiWorkerMirroredStrategy()

@tf.function
def total(numbers):
    def step(numbers):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(numbers))
    return strategy.run(step, args=(numbers,))

def epoch(ds):
    for (numbers,) in iterate(ds):
        yield numbers.numpy().tolist()
        float(total(numbers))  # waits for the other rank's step: one more would hang here
"""


@pytest.mark.timeout(400)
def test_two_ranks(tmp_path: Path) -> None:
    """Equally many steps whatever fails; resumed in the middle of an epoch."""
    dead = dead_ones()
    check(started(tmp_path, RANKS + TWICE, dead), dead)


KERAS = """
os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(os.environ["COORDINATOR"], ranks, rank)
keras.utils.set_random_seed(0)  # the same weights everywhere
keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(1e-5), "mse")

def batches(ds, seen):
    for (numbers,) in ds:
        seen.append(numbers.tolist())
        yield numbers[:, None], numbers[:, None]

told = []
for epoch in range(epochs):
    with flow() as ds:
        if epoch:
            ds.load_state_dict(state)
        told.append([])
        model.fit(batches(ds, told[-1]), verbose=0)
        state = json.loads(json.dumps(ds.state_dict()))
tell(*told)
"""


@pytest.mark.timeout(400)
def test_two_ranks_of_keras(tmp_path: Path) -> None:
    """On JAX, as `fit` under TensorFlow's strategy of several workers fails with tf.data, too."""
    library("keras")
    library("jax")
    dead = dead_ones()
    check(started(tmp_path, KERAS, dead), dead)
