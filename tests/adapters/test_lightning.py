"""Trainings of Lightning that are resumed, at any moment, get what undisturbed ones would."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from optional import library

import dataflow as df

pl = library("lightning.pytorch")
torch = library("torch")

from dataflow.adapters.lightning import Batches, DataflowCallback, DataModule  # noqa: E402
from dataflow.adapters.torch import IterableDataset  # noqa: E402

EPOCHS, STEPS = 4, 5


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def known() -> df.DataFlow:
    return (
        df.DataFromList([[i] for i in range(2 * STEPS)], shuffle=True).map(noisy).batch(2).seed(7)
    )


def unknown() -> df.DataFlow:
    flow = df.DataFromList([[i] for i in range(2 * STEPS + 5)], shuffle=True)
    return flow.filter(lambda dp: dp[0] < 2 * STEPS).map(noisy).batch(2).seed(7)


def workers() -> df.DataFlow:
    # Without a function of this module, which workers would import with all of Lightning.
    flow = df.DataFromList([[np.array([i])] for i in range(2 * STEPS)], shuffle=True)
    return df.PrefetchDataZMQ(flow, 1, on_error="skip").batch(2).seed(7)


def noisy(datapoint: list[int]) -> list[Any]:
    return [np.array(datapoint, np.int64)]


FLOWS: dict[str, Callable[[], df.DataFlow]] = {"known": known, "unknown": unknown}


class Model(pl.LightningModule):
    """Remembers what it was trained on, by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, ...]] = []
        self.validated: list[tuple[int, ...]] = []

    def training_step(self, batch: Any) -> Any:
        self.seen.append(tuple(batch[0].flatten().tolist()))
        return (self.weight * batch[0].float()).sum()

    def validation_step(self, batch: Any) -> None:
        self.validated.append(tuple(batch[0].flatten().tolist()))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.0)


class Stop(Exception):
    pass


class StopAt(pl.Callback):
    """Ends the training, as if the machine had gone, when so many batches were trained on."""

    def __init__(self, batches: int, hook: str, path: str) -> None:
        self.batches, self.path, self.count = batches, path, 0
        setattr(self, hook, self.stop)

    def stop(self, trainer: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        if len(module.seen) >= self.batches and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)
            raise Stop


def trainer_of(folder: Any, *callbacks: Any, **options: Any) -> Any:
    return pl.Trainer(
        **{"max_epochs": EPOCHS, "enable_checkpointing": False, **options},
        callbacks=list(callbacks),
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def trained(folder: Any, flow: df.DataFlow, *callbacks: Any, **options: Any) -> Model:
    model, path = Model(), options.pop("ckpt_path", None)
    module = DataModule(flow, options.pop("val", None))
    try:
        trainer_of(folder, *callbacks, **options).fit(model, datamodule=module, ckpt_path=path)
    except Stop:
        pass
    finally:
        module.teardown("fit")
    return model


def plain(flow: df.DataFlow, epochs: int = EPOCHS) -> list[tuple[int, ...]]:
    return [tuple(batch[0].flatten().tolist()) for _ in range(epochs) for batch in flow]


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("validation", [False, True])
def test_an_undisturbed_training_is_a_plain_loop(
    kind: str, validation: bool, tmp_path: Any
) -> None:
    val = known() if validation else None
    model = trained(tmp_path, FLOWS[kind](), val=val)
    assert model.seen == plain(FLOWS[kind]())
    if validation:
        assert model.validated[-STEPS * EPOCHS :] == plain(known(), 1) * EPOCHS


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_epoch_end", "on_validation_end"])
@pytest.mark.parametrize("batches", [2, STEPS - 1, STEPS, STEPS + 3, 2 * STEPS])
def test_resumed(kind: str, validation: bool, hook: str, batches: int, tmp_path: Any) -> None:
    if hook == "on_validation_end" and not validation:
        pytest.skip("there is none")
    if batches % STEPS and hook != "on_train_batch_end":
        pytest.skip("only whole epochs end")
    path = str(tmp_path / "stopped.ckpt")
    val = known if validation else lambda: None
    stopped = trained(tmp_path, FLOWS[kind](), StopAt(batches, hook, path), val=val())
    assert len(stopped.seen) == batches
    again = trained(tmp_path, FLOWS[kind](), val=val(), ckpt_path=path)
    assert stopped.seen + again.seen == plain(FLOWS[kind]())


@pytest.mark.parametrize("kind", FLOWS)
def test_more_epochs_than_were_planned(kind: str, tmp_path: Any) -> None:
    """A checkpoint of after the training."""
    model = Model()
    trainer = trainer_of(tmp_path, max_epochs=2)
    trainer.fit(model, datamodule=DataModule(FLOWS[kind]()))
    trainer.save_checkpoint(path := str(tmp_path / "after.ckpt"))
    again = trained(tmp_path, FLOWS[kind](), ckpt_path=path)
    assert model.seen + again.seen == plain(FLOWS[kind]())


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("batches", [1, 3, 4])
def test_a_part_of_each_epoch(kind: str, batches: int, tmp_path: Any) -> None:
    """The rest of the epoch is left; the next one is another."""
    path = str(tmp_path / "stopped.ckpt")
    options = {"limit_train_batches": 3}
    whole = plain(FLOWS[kind]())
    wanted = [one for at, one in enumerate(whole) if at % STEPS < 3]
    assert trained(tmp_path, FLOWS[kind](), **options).seen == wanted
    stop = StopAt(batches, "on_train_batch_end", path)
    stopped = trained(tmp_path, FLOWS[kind](), stop, **options)
    again = trained(tmp_path, FLOWS[kind](), ckpt_path=path, **options)
    assert stopped.seen + again.seen == wanted


@pytest.mark.parametrize("kind", FLOWS)
def test_loaders_that_are_asked_for_anew(kind: str, tmp_path: Any) -> None:
    path = str(tmp_path / "stopped.ckpt")
    options = {"reload_dataloaders_every_n_epochs": 1}
    stop = StopAt(STEPS + 2, "on_train_batch_end", path)
    stopped = trained(tmp_path, FLOWS[kind](), stop, **options)
    again = trained(tmp_path, FLOWS[kind](), ckpt_path=path, **options)
    assert stopped.seen + again.seen == plain(FLOWS[kind]())


@pytest.mark.parametrize("kind", FLOWS)
def test_a_number_of_steps(kind: str, tmp_path: Any) -> None:
    """It ends within an epoch; more of them go on there."""
    model = Model()
    trainer = trainer_of(tmp_path, max_steps=STEPS + 2, max_epochs=-1)
    trainer.fit(model, datamodule=DataModule(FLOWS[kind]()))
    trainer.save_checkpoint(path := str(tmp_path / "after.ckpt"))
    steps = {"max_steps": 3 * STEPS, "max_epochs": -1}
    again = trained(tmp_path, FLOWS[kind](), ckpt_path=path, **steps)
    assert model.seen + again.seen == plain(FLOWS[kind]())[: 3 * STEPS]


def test_checkpoints_of_lightning_and_the_batch_that_failed(tmp_path: Any) -> None:
    """Kept every two steps; the training ends by an exception in a step."""

    class Failing(Model):
        def training_step(self, batch: Any) -> Any:
            if len(self.seen) == STEPS + 2:
                raise Stop
            return super().training_step(batch)

    keeps = pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=2, save_top_k=-1)
    last = pl.callbacks.OnExceptionCheckpoint(tmp_path, filename="exception")
    model, module = Failing(), DataModule(unknown())
    with pytest.raises(Stop):
        trainer = trainer_of(tmp_path, keeps, last, enable_checkpointing=True)
        trainer.fit(model, datamodule=module)
    whole = plain(unknown())
    for name, reached in (("exception", STEPS + 2), ("epoch=1-step=6", 6), ("epoch=0-step=4", 4)):
        again = trained(tmp_path, unknown(), ckpt_path=str(tmp_path / f"{name}.ckpt"))
        assert again.seen == whole[reached:], name


@pytest.mark.parametrize("batches", [3, STEPS])
def test_a_callback_with_a_loader(batches: int, tmp_path: Any) -> None:
    """Without a data module, and over worker processes."""

    def fit(*callbacks: Any, path: str | None = None) -> Model:
        model = Model()
        with workers() as flow:
            loader = Batches(IterableDataset(flow))
            trainer = trainer_of(tmp_path, *callbacks, DataflowCallback(loader))
            with suppress(Stop):
                trainer.fit(model, loader, ckpt_path=path)
        return model

    path = str(tmp_path / "stopped.ckpt")
    # Those of the user's come before: the batch is not trained on for them.
    stopped = fit(StopAt(batches, "on_train_batch_start", path))
    again = fit(path=path)
    with workers() as flow:
        assert stopped.seen + again.seen == plain(flow)


def test_a_flow_without_a_state(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Own(df.DataFlow):
        def __iter__(self) -> Any:
            yield from known()

        def __len__(self) -> int:
            return STEPS

    path = str(tmp_path / "stopped.ckpt")
    trained(tmp_path, Own(), StopAt(3, "on_train_batch_end", path))
    assert caplog.text.count("do not have the place in the data") == 1
    assert len(trained(tmp_path, Own(), ckpt_path=path).seen) == EPOCHS * STEPS - 3


def test_a_pass_that_is_shorter_than_it_said_is_told_of(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Lightning leaves out the validation then, without a word."""

    def some() -> df.DataFlow:
        flow = df.DataFromList([[i] for i in range(2 * STEPS)], shuffle=True)
        return flow.map(lambda dp: None if dp[0] % 5 == 3 else noisy(dp)).batch(2).seed(7)

    path = str(tmp_path / "stopped.ckpt")
    trained(tmp_path, some(), StopAt(2, "on_train_batch_end", path), max_epochs=1)
    assert "len() of the dataset" not in caplog.text
    trained(tmp_path, some(), max_epochs=1)
    assert caplog.text.count("len() of the dataset is 5, and there were 4 datapoints") == 1
    trained(tmp_path, known(), ckpt_path=None, max_epochs=2)
    assert caplog.text.count("len() of the dataset") == 1


def test_several_for_validation_and_other_stages(tmp_path: Any) -> None:
    module = DataModule(known(), [known(), unknown()], known(), known())
    model = Model()
    model.validation_step = lambda batch, batch_idx, dataloader_idx=0: None  # type: ignore[assignment]
    model.test_step = lambda batch: None  # type: ignore[method-assign,assignment]
    model.predict_step = lambda batch: batch[0]  # type: ignore[method-assign,assignment]
    trainer = trainer_of(tmp_path, max_epochs=1)
    trainer.fit(model, datamodule=module)
    trainer.test(model, datamodule=module, verbose=False)
    for _ in range(2):
        found = trainer.predict(model, datamodule=module)
        assert [tuple(one.flatten().tolist()) for one in found] == plain(known(), 1)


def test_overfitting_is_on_the_same_batches(tmp_path: Any) -> None:
    model = trained(tmp_path, known(), overfit_batches=2)
    assert model.seen == plain(known(), 1)[:2] * EPOCHS
