"""A loop in PyTorch that is resumed.

python examples/frameworks/torch_loop.py FOLDER CHECKPOINT EPOCHS
"""

import torch
from photos import CLASSES, EPOCHS, KEPT, SIDE, photos, told

from dataflow.adapters.torch import to_device

ds = photos().batch(8)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, CLASSES))
optimizer = torch.optim.SGD(model.parameters(), 0.01)
device, begin = "cuda" if torch.cuda.is_available() else "cpu", 0
if KEPT.exists():
    state = torch.load(KEPT)
    model.load_state_dict(state["model"])
    ds.load_state_dict(state["data"])
    begin = state["epoch"]
model.to(device)
for epoch in range(begin, EPOCHS):
    seen = []
    for images, labels in to_device(ds, device):  # the next batch is copied meanwhile
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(labels.cpu())
    told(epoch, seen)
    torch.save({"model": model.state_dict(), "data": ds.state_dict(), "epoch": epoch + 1}, KEPT)
