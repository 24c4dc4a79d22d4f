"""Train a small network on MNIST with JAX.

python examples/jax_mnist.py [--dir FOLDER] [--epochs 3]
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp

import dataflow as df
from dataflow.adapters.jax import iterate


def batches(part: str, folder: str | None, size: int, procs: int) -> df.DataFlow:
    """[images N×784 in 0 to 1, labels] for training, or for testing, as NumPy arrays."""
    ds = df.dataset.Mnist(part, shuffle=part == "train", dir=folder).seed(1)
    ds = df.MapData(ds, lambda dp: [dp[0].reshape(-1), dp[1]])
    return df.PrefetchDataZMQ(df.BatchData(ds, size, remainder=part == "test"), num_proc=procs)


def scores(weights: list[jax.Array], images: jax.Array) -> jax.Array:
    return jax.nn.relu(images @ weights[0] + weights[1]) @ weights[2]


def loss(weights: list[jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
    likely = jax.nn.log_softmax(scores(weights, images))
    return -jnp.take_along_axis(likely, labels[:, None].astype(int), 1).mean()


@jax.jit
def step(weights: list[jax.Array], images: jax.Array, labels: jax.Array) -> list[jax.Array]:
    slopes = jax.grad(loss)(weights, images, labels)
    return jax.tree.map(lambda one, slope: one - 0.5 * slope, weights, slopes)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on MNIST.")
    parser.add_argument("--dir", help="where the files are, or should be")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--procs", type=int, default=1)
    args = parser.parse_args()

    keys = jax.random.split(jax.random.key(1))
    weights = [jax.random.normal(keys[0], (784, 128)) / 28, jnp.zeros(128)]
    weights.append(jax.random.normal(keys[1], (128, 10)) / 11)
    with batches("train", args.dir, 64, args.procs) as train:
        for epoch in range(args.epochs):
            for images, labels in iterate(train):  # each pass is another order
                weights = step(weights, images, labels)
            print(f"epoch {epoch}: loss {loss(weights, images, labels):.3f}")
        print(train.explain())
    with batches("test", args.dir, 256, args.procs) as test:
        right = [(scores(weights, images).argmax(1) == labels) for images, labels in iterate(test)]
    print(f"accuracy {jnp.concatenate(right).mean():.3f}")


main()
