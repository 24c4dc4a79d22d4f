"""A loop in JAX that is resumed.

python examples/frameworks/jax_loop.py FOLDER CHECKPOINT EPOCHS
"""

import pickle

import jax
import jax.numpy as jnp
from photos import CLASSES, EPOCHS, KEPT, SIDE, photos, told

from dataflow.adapters.jax import iterate

ds = photos().batch(8)
weights, begin = jnp.zeros((3 * SIDE * SIDE, CLASSES)), 0
if KEPT.exists():
    weights, begin, state = pickle.loads(KEPT.read_bytes())
    ds.load_state_dict(state)


@jax.jit
def step(weights, images, labels):
    def loss(weights):
        logits = images.reshape(len(images), -1) @ weights
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

    return weights - 0.01 * jax.grad(loss)(weights)


for epoch in range(begin, EPOCHS):
    seen = []
    for images, labels in iterate(ds):  # the next batch is transferred meanwhile
        weights = step(weights, images, labels)
        seen.append(labels)
    told(epoch, seen)
    KEPT.write_bytes(pickle.dumps((weights, epoch + 1, ds.state_dict())))
