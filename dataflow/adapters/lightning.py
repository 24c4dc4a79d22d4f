"""Dataflows for Lightning.

::

    from dataflow.adapters.lightning import DataModule

    trainer.fit(model, datamodule=DataModule(ds, validation), ckpt_path="last")

Lightning may read a batch before it trains on the last one, opens iterators that it does not read,
and keeps checkpoints at many moments. What is kept here with each is where the *training* is.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dataflow.errors import NotResumable, StateError
from dataflow.flow import DataFlow
from dataflow.node import walk
from dataflow.resume import after_pass
from dataflow.stages.shard import ShardData
from dataflow.utils.extras import missing

if TYPE_CHECKING:
    import lightning.pytorch as pl
else:
    try:
        # The two are the same under two names, and know each other's classes not.
        if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
            import pytorch_lightning as pl
        else:
            import lightning.pytorch as pl
    except ImportError as error:
        raise missing("lightning", error) from error

from torch import distributed  # which comes with it

from dataflow.adapters.torch import IterableDataset, tensors

__all__ = ["Batches", "DataModule", "DataflowCallback"]

logger = logging.getLogger(__name__)


class Batches:
    """A flow's batches as a loader of Lightning's, for `DataflowCallback`.

    Args:
        ds: the flow; or an `IterableDataset`, for its `length`.
    """

    def __init__(self, ds: DataFlow | IterableDataset) -> None:
        self._dataset = ds if isinstance(ds, IterableDataset) else IterableDataset(ds)
        self._begun: dict[str, Any] | None = None  # the state with which the pass began
        # The states with each batch that was handed out, and that nobody trained on yet.
        self._handed: deque[dict[str, Any] | None] = deque()
        self._trained = 0  # batches of the pass
        self._reached: dict[str, Any] | None = None
        self._told = False
        self._loaded = False

    @property
    def ds(self) -> DataFlow:
        """The flow."""
        return self._dataset.ds

    def __len__(self) -> int:
        """Batches in an epoch; TypeError where that is not known."""
        return len(self._dataset)

    def __iter__(self) -> Iterator[Any]:
        if self._handed and not self._trained and self._begun is not None:
            # Some were read ahead in a pass that was never trained on.
            self.ds.load_state_dict(self._begun)
        self._begun = self._state()
        self._handed.clear()
        self._trained = 0
        whole, self._loaded = not self._loaded, False
        return self._pass(whole)

    def _pass(self, whole: bool) -> Iterator[Any]:
        said, number = self._dataset.said() if whole else None, 0
        for batch in self.ds:
            self._handed.append(self._state())
            number += 1
            yield tensors(batch)
        self._dataset.tell(said, number)

    def trained(self, *, last: bool) -> None:
        """The training has had one batch more.

        Args:
            last: it was the epoch's last one.
        """
        if not self._handed:
            return
        self._trained += 1
        state = self._handed.popleft()
        self._reached = state if state is None or not last else after_pass(state)

    def state_dict(self) -> dict[str, Any]:
        """Where the training is; nothing, where that cannot be told.

        With several ranks that share the datapoints it is to be called on all of them, and tells of
        all: one that dropped some has come further than others.
        """
        state = self._reached or self._state() or {}
        if self._share is None or not distributed.is_initialized():
            return state
        ranks: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(ranks, state)
        return {"ranks": ranks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there.

        Raises:
            StateError: it is of another flow; or of another number of ranks that had not come to
                the same place.
        """
        if "ranks" in state:
            state = self._own(state["ranks"])
        if not state:
            return
        self.ds.load_state_dict(state)
        self._loaded = True
        self._handed.clear()
        self._reached = dict(state)

    @property
    def _share(self) -> ShardData | None:
        """What gives this rank its share."""
        return next((one for one in walk(self.ds) if isinstance(one, ShardData)), None)

    def _own(self, ranks: list[dict[str, Any]]) -> dict[str, Any]:
        """The state of this rank, of those of all."""
        share = self._share
        if share is not None and share.world_size == len(ranks):
            return ranks[share.rank]
        if any(one.get("cursors") != ranks[0].get("cursors") for one in ranks):
            raise StateError(
                f"the state is of {len(ranks)} ranks, some of which dropped datapoints and so had "
                "come further than others: it can only be loaded by as many again"
            )
        return ranks[0]

    def _state(self) -> dict[str, Any] | None:
        try:
            return self.ds.state_dict()
        except NotResumable as error:
            if not self._told:
                self._told = True
                logger.warning("checkpoints do not have the place in the data: %s", error)
            return None


class DataflowCallback(pl.Callback):
    """Keeps the place in the training data with every checkpoint, and goes on there.

    ::

        batches = Batches(ds)
        trainer = Trainer(callbacks=[DataflowCallback(batches)])
        trainer.fit(model, batches, ckpt_path="last")

    `DataModule` has one of its own.

    Args:
        batches: what the trainer gets as its loader.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """A batch was trained on."""
        self._batches.trained(last=trainer.is_last_batch)

    def state_dict(self) -> dict[str, Any]:
        """Where the training is."""
        return self._batches.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there."""
        self._batches.load_state_dict(state_dict)


class DataModule(pl.LightningDataModule):
    """Dataflows as Lightning's data module; what they deliver are the batches.

    Every checkpoint, whenever it is kept, has the place in the training data, so that a resumed
    training gets what an undisturbed one would have got. With several ranks, give the flow a
    `ShardData`; where its datapoints may be dropped, a `FillUpData`, too.

    Args:
        train: the flow to train on, or an `IterableDataset`, for its `length`; or a function that
            makes it, which is called when the ranks are known, as `ShardData` wants to know them.
        val: that for validation, or several in a list. Each pass over these is their first epoch,
            so that validations are alike.
        test: likewise.
        predict: likewise.
    """

    def __init__(
        self,
        train: DataFlow | IterableDataset | Callable[[], DataFlow | IterableDataset] | None = None,
        val: Any = None,
        test: Any = None,
        predict: Any = None,
    ) -> None:
        super().__init__()
        self._flows = {"train": train, "val": val, "test": test, "predict": predict}
        self._train: Batches | None = None

    def setup(self, stage: str) -> None:
        """Make the flows, and follow the training."""
        self._flows = {
            name: flow() if callable(flow) else flow for name, flow in self._flows.items()
        }
        if self._train is None and self._flows["train"] is not None:
            self._train = Batches(self._flows["train"])
        batches, callbacks = self._train, getattr(self.trainer, "callbacks", [])
        if batches is None or stage != "fit":
            return
        if not any(isinstance(one, _Following) and one.of(batches) for one in callbacks):
            callbacks.insert(0, _Following(batches))

    def train_dataloader(self) -> Any:
        """The loader to train on; to overfit on it, the same batches again and again."""
        if getattr(self.trainer, "overfit_batches", 0):
            return self._other("train")
        return self._train

    def val_dataloader(self) -> Any:
        """That for validation, or several."""
        return self._other("val")

    def test_dataloader(self) -> Any:
        """Likewise."""
        return self._other("test")

    def predict_dataloader(self) -> Any:
        """Likewise."""
        return self._other("predict")

    def _other(self, name: str) -> Any:
        flows = self._flows[name]
        if isinstance(flows, (list, tuple)):
            return [_Alike(flow) for flow in flows]
        return [] if flows is None else _Alike(flows)

    def teardown(self, stage: str) -> None:
        """End what works for the flows."""
        if self._train is not None and stage == "fit":
            self._train.ds.close()

    def state_dict(self) -> dict[str, Any]:
        """Where the training is."""
        return {} if self._train is None else self._train.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there."""
        if self._train is not None:
            self._train.load_state_dict(state_dict)


class _Following(DataflowCallback):
    """One that only follows: the state is the data module's."""

    def of(self, batches: Batches) -> bool:
        """Whether it follows these."""
        return self._batches is batches

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


class _Alike:
    """A loader whose passes are alike."""

    def __init__(self, ds: DataFlow | IterableDataset) -> None:
        self._dataset = ds if isinstance(ds, IterableDataset) else IterableDataset(ds)

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[Any]:
        self._dataset.set_epoch(0)
        return iter(self._dataset)
