"""As ``dataflow.tensorflow.queue_input`` of wbaek/dataflow, but for what was in it."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["QueueInput", "QueueInputMulti"]


class QueueInput:
    """Was a thread that fed a queue of TensorFlow 1.

    Raises:
        NotImplementedError: always; the message says what feeds TensorFlow now.
    """

    def __init__(self, ds: Any, *args: Any, **kwargs: Any) -> None:
        _no_more(type(self).__name__)


class QueueInputMulti(QueueInput):
    """Was the same for several queues."""


def _no_more(name: str) -> NoReturn:
    raise NotImplementedError(
        f"{name} fed the queues and sessions of TensorFlow 1, which are gone. Loop over "
        "dataflow.adapters.tensorflow.dataset(ds), a tf.data.Dataset, or give it to model.fit"
    )
