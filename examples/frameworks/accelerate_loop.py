"""accelerate, on any number of processes.

python examples/frameworks/accelerate_loop.py FOLDER STATE EPOCHS

With `accelerate launch` in the place of `python` there are several processes. The data is not
prepared by accelerate: each process has its own share of it.
"""

import torch
from accelerate import Accelerator
from photos import CLASSES, EPOCHS, KEPT, SIDE, photos, told

from dataflow.adapters.torch import to_device

accelerator = Accelerator()
ds = photos(accelerator.process_index, accelerator.num_processes).batch(8)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, CLASSES))
model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.01))
place = KEPT / f"data{accelerator.process_index}.pt"  # each process has its own
begin = 0
if place.exists():
    accelerator.load_state(KEPT)
    state = torch.load(place)
    ds.load_state_dict(state["data"])
    begin = state["epoch"]
for epoch in range(begin, EPOCHS):
    seen = []
    for images, labels in to_device(ds, accelerator.device):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        seen.append(labels.cpu())
    told(epoch, seen)
    accelerator.save_state(KEPT)
    torch.save({"data": ds.state_dict(), "epoch": epoch + 1}, place)
