"""Keras on TensorFlow, resumed after an epoch.

python examples/frameworks/keras_fit.py FOLDER MODEL.keras EPOCHS
"""

import keras
from photos import CLASSES, EPOCHS, KEPT, SIDE, photos, told

from dataflow.adapters.keras import KeepPlace
from dataflow.adapters.tensorflow import dataset

seen = []
ds = photos().map(lambda dp: [dp[0].transpose(1, 2, 0), seen.append(dp[1]) or dp[1]]).batch(8)
place = KeepPlace(ds, KEPT.with_suffix(".json"))  # goes on there, if there is such a file
if KEPT.exists():
    model = keras.models.load_model(KEPT)
else:
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)


def ended(epoch, logs):
    told(epoch, [seen])
    seen.clear()


model.fit(
    dataset(ds),
    initial_epoch=place.epoch,
    epochs=EPOCHS,
    callbacks=[
        keras.callbacks.ModelCheckpoint(KEPT),
        place,
        keras.callbacks.LambdaCallback(on_epoch_end=ended),
    ],
    verbose=0,
)
