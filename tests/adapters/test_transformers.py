"""Hugging Face's Trainer over dataflows: resumed ones get what undisturbed ones would."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from optional import library

import dataflow as df

torch = library("torch")
transformers = library("transformers")

from dataflow.adapters.torch import IterableDataset, MapDataset  # noqa: E402

EPOCHS, STEPS = 3, 5


class Stop(Exception):
    pass


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []
        self.stop: int | None = None

    def forward(self, labels: Any) -> Any:
        if len(self.seen) == self.stop:
            raise Stop
        self.seen.append(labels.tolist())
        return {"loss": (self.weight * labels.float()).sum()}


def known() -> df.DataFlow:
    flow = df.DataFromList([{"labels": i} for i in range(2 * STEPS)], shuffle=True)
    return flow.seed(7)


def dropping() -> df.DataFlow:
    flow = df.DataFromList([{"labels": i} for i in range(2 * STEPS + 3)], shuffle=True)
    return flow.filter(lambda dp: dp["labels"] < 2 * STEPS).seed(7)


def trained(folder: Any, dataset: Any, stop: int | None = None, **options: Any) -> Model:
    model = Model()
    model.stop = stop
    arguments = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=2,
        save_strategy="steps",
        save_steps=1,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        **options,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=dataset)
    with suppress(Stop):
        trainer.train(resume_from_checkpoint=any(folder.glob("checkpoint-*")))
    return model


def plain(flow: df.DataFlow) -> list[list[int]]:
    epochs = [[dp["labels"] for dp in flow] for _ in range(EPOCHS)]
    return [one[at : at + 2] for one in epochs for at in range(0, len(one), 2)]


@pytest.mark.parametrize("stop", [None, 2, STEPS, STEPS + 3])
@pytest.mark.parametrize("kind", ["known", "dropping", "filled up"])
def test_resumed(kind: str, stop: int | None, tmp_path: Any) -> None:
    """Within the first epoch, at its end, and within the second one."""
    if kind == "dropping" and stop == STEPS + 3:
        pytest.skip("without a length, the Trainer does not know in which epoch it was")
    flow = {"known": known, "dropping": dropping, "filled up": lambda: dropping().fill_up()}[kind]
    # Of unknown length, the Trainer wants to know how many steps there shall be.
    options = {"max_steps": EPOCHS * STEPS} if kind == "dropping" else {}
    wanted = plain(flow())
    first = trained(tmp_path, IterableDataset(flow()), stop, **options)
    if stop is None:
        assert first.seen == wanted
        return
    again = trained(tmp_path, IterableDataset(flow()), **options)
    assert first.seen + again.seen == wanted


def test_a_map_style_dataset(tmp_path: Any) -> None:
    model = trained(tmp_path, MapDataset(known()))
    numbers = [n for step in model.seen for n in step]
    for epoch in range(EPOCHS):
        part = numbers[epoch * 2 * STEPS : (epoch + 1) * 2 * STEPS]
        assert sorted(part) == list(range(2 * STEPS))
