"""The second program of Highway's README: a source, any number of workers, a trainer.

    python examples/highway/machines.py trainer --trainer tcp://127.0.0.1:5556
    python examples/highway/machines.py source photos --source tcp://127.0.0.1:5555
    python examples/highway/machines.py worker --source tcp://… --trainer tcp://…

Each may be on a machine of its own. Source and workers go on until Ctrl-C. Nobody is kept out:
for networks that are not your own take `df.send` and `df.receive`.
"""

from __future__ import annotations

import argparse

from dataflow.highway.engine import Pipeline
from dataflow.highway.modules import Augmentations, ImageFileReader, ZMQSink, ZMQSource
from dataflow.highway.transforms import AdditiveNoise, FlipX, PadCrop

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("machine", choices=["source", "worker", "trainer"])
parser.add_argument("data_dir", nargs="?", help="of the source: one sub-folder a class")
parser.add_argument("--source", default="tcp://127.0.0.1:5555", help="where the source binds")
parser.add_argument("--trainer", default="tcp://127.0.0.1:5556", help="where the trainer binds")
parser.add_argument("--procs", type=int, default=4, help="of each worker")
parser.add_argument("--steps", type=int, default=100, help="batches to train on")
args = parser.parse_args()

if args.machine == "source":
    if args.data_dir is None:
        parser.error("the source needs a folder")
    img_reader = ImageFileReader(args.data_dir, 16, (240, 320))
    p = Pipeline([img_reader, ZMQSink(args.source)])

elif args.machine == "worker":
    transforms = [FlipX(), PadCrop(), AdditiveNoise()]
    augmentations = Augmentations(transforms, n_worker=args.procs)
    p = Pipeline([ZMQSource(args.source), augmentations, ZMQSink(args.trainer, bind=False)])

else:
    p = Pipeline([ZMQSource(args.trainer, bind=True)])
    for _ in range(args.steps):
        images, labels = p.dequeue()  # and train
    print(f"images {images.shape} {images.dtype}, labels {labels.shape} {labels.dtype}")
