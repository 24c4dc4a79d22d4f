"""Lightning, resumed from its last checkpoint.

python examples/frameworks/lightning_fit.py FOLDER CHECKPOINTS EPOCHS
"""

import lightning.pytorch as pl
import torch
from photos import CLASSES, EPOCHS, KEPT, SIDE, photos, told

from dataflow.adapters.lightning import DataModule


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, CLASSES)
        )
        self.seen = []

    def training_step(self, batch):
        images, labels = batch
        self.seen.append(labels.cpu())
        return torch.nn.functional.cross_entropy(self.layers(images), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

    def on_train_epoch_end(self):
        told(self.current_epoch, self.seen)
        self.seen.clear()


trainer = pl.Trainer(
    max_epochs=EPOCHS,
    callbacks=[pl.callbacks.ModelCheckpoint(KEPT, save_last=True)],
    logger=False,
    enable_progress_bar=False,
)


def flow():
    """Called once the ranks are known."""
    return photos(trainer.global_rank, trainer.world_size).batch(8)


trainer.fit(Model(), datamodule=DataModule(flow), ckpt_path="last")
