"""Hugging Face's Trainer, resumed.

python examples/frameworks/transformers_trainer.py FOLDER CHECKPOINTS EPOCHS

The Trainer makes the batches; it goes on in the middle of an epoch by passing over its beginning.
"""

import torch
from photos import CLASSES, EPOCHS, KEPT, SIDE, photos, told
from transformers import Trainer, TrainerCallback, TrainingArguments

import dataflow as df
from dataflow.adapters.torch import IterableDataset

seen = []


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, CLASSES)
        )

    def forward(self, pixel_values, labels):
        seen.append(labels.cpu())
        return {"loss": torch.nn.functional.cross_entropy(self.layers(pixel_values), labels)}


class Told(TrainerCallback):
    def on_epoch_end(self, args, state, control, **kwargs):
        told(round(state.epoch) - 1, seen)
        seen.clear()


ds = df.MapData(photos(), lambda dp: {"pixel_values": dp[0], "labels": dp[1]})
trainer = Trainer(
    Model(),
    TrainingArguments(
        str(KEPT),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=8,
        save_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
    ),
    train_dataset=IterableDataset(ds),
    callbacks=[Told()],
)
trainer.train(resume_from_checkpoint=any(KEPT.glob("checkpoint-*")))
