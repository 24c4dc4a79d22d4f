"""Dataflows for Keras: trainings that go on after an epoch. See `dataflow.adapters.tensorflow`."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from dataflow.adapters.structure import length_of
from dataflow.errors import ConfigError
from dataflow.flow import DataFlow
from dataflow.resume import after_pass
from dataflow.utils.extras import missing

try:
    import keras
except ImportError as error:
    raise missing("keras", error) from error

__all__ = ["KeepPlace"]

logger = logging.getLogger(__name__)


class KeepPlace(keras.callbacks.Callback):
    """Keeps the place in the data with every epoch, and goes on there.

    ::

        place = KeepPlace(ds, "place.json")
        model.fit(dataset(ds), initial_epoch=place.epoch, epochs=90, callbacks=[place, …])

    Keras and TensorFlow read ahead within an epoch, so only its end is a place that is known. The
    model is for Keras' own callbacks to keep.

    Args:
        ds: the flow that is trained on.
        path: a JSON file. Where there is one, the flow goes on there.

    Attributes:
        epoch: the one to begin with, for ``initial_epoch``.

    Raises:
        StateError: the file is of another flow.
        ConfigError: (by `fit`) its epochs are not the flow's: other ``steps_per_epoch``, or a
            dataset that is repeated.
    """

    def __init__(self, ds: DataFlow, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._ds = ds
        self._path = Path(path)
        self.epoch = 0
        self._expected = 0  # the flow's next epoch, after this one of the training
        if self._path.exists():
            kept = json.loads(self._path.read_text("utf-8"))
            ds.load_state_dict(kept["data"])
            self.epoch = int(kept["epoch"])

    def on_train_begin(self, logs: Any = None) -> None:
        """See whether the training's epochs are the flow's."""
        self._expected = self._ds.state_dict()["epoch"]
        steps, length = self.params.get("steps"), length_of(self._ds)
        if steps is None or steps == length:
            return
        if length is not None:
            raise ConfigError(
                f"steps_per_epoch={steps}, and an epoch of the flow has {length} batches: only its "
                f"end is a place that can be kept. Give df.FixedSizeData(ds, {steps}), whose "
                "epochs go on where the last one stopped, and leave steps_per_epoch out"
            )
        logger.warning(
            "how many batches an epoch of the flow has is not known; where there are more than the "
            "%d steps, the rest is left out after a resume. df.FixedSizeData(ds, %d) has so many",
            *(steps, steps),
        )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the file."""
        state = self._ds.state_dict()
        its_pass = self._ds._current_pass()
        # Keras asks for as many batches as it was told of, and may not see the end.
        if its_pass is not None and not its_pass.finished:
            state = after_pass(state)
        self._expected += 1
        if state["epoch"] != self._expected:
            raise ConfigError(
                "the flow is in another epoch than the training, and its place cannot be kept: "
                "leave out dataset(ds).repeat(), as Keras begins the next epoch by itself"
            )
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps({"epoch": epoch + 1, "data": state}), "utf-8")
        os.replace(beside, self._path)
