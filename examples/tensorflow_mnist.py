"""Train a small network on MNIST with Keras; the dataflow as a `tf.data.Dataset`.

python examples/tensorflow_mnist.py [--dir FOLDER] [--epochs 3]
"""

from __future__ import annotations

import argparse

import tensorflow as tf

import dataflow as df
from dataflow.adapters.tensorflow import dataset


def batches(part: str, folder: str | None, size: int, procs: int) -> df.DataFlow:
    """[images N×28×28×1 in 0 to 1, labels] for training, or for testing, as NumPy arrays."""
    ds = df.dataset.Mnist(part, shuffle=part == "train", dir=folder).seed(1)
    ds = df.MapData(ds, lambda dp: [dp[0][..., None], dp[1]])
    return df.PrefetchDataZMQ(df.BatchData(ds, size, remainder=part == "test"), num_proc=procs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on MNIST.")
    parser.add_argument("--dir", help="where the files are, or should be")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--procs", type=int, default=1)
    args = parser.parse_args()

    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    convolutions = [layers.Conv2D(n, 5, 2, activation="relu") for n in (16, 32)]
    model = tf.keras.Sequential([*convolutions, layers.Flatten(), layers.Dense(10)])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    with (
        batches("train", args.dir, 64, args.procs) as train,
        batches("test", args.dir, 256, args.procs) as test,
    ):
        model.fit(dataset(train).prefetch(2), epochs=args.epochs, verbose=2)
        _, accuracy = model.evaluate(dataset(test), verbose=0)
        print(train.explain())
    print(f"accuracy {accuracy:.3f}")


main()
