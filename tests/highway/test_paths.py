"""Where Highway's programs look for names, and how they ask a batch for its parts."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.highway import Batch

STATEMENTS = """
from dataflow.highway.engine import Pipeline
from dataflow.highway.augmentations.img import FlipX, Resize, TopCenterCrop, Slicer, Zoom, HistEq
from dataflow.highway.augmentations.base import Augmentation
from dataflow.highway.augmentations import FlipX
from dataflow.highway.transforms import FlipX
from dataflow.highway.modules import Augmentations, ImageFileReader, ZMQSink, ZMQSource
from dataflow.highway.modules.processing import Noise, Augmentations
from dataflow.highway.modules.network import ZMQSink, ZMQSource
from dataflow.highway.modules.db import LevelDBSource, LevelDBSink
from dataflow.highway.modules.fs import ClfImgReader, ImgReader, ImgSaver
from dataflow.highway.debug import Benchmark, ImgDumper
from dataflow.highway.adapters import DequeueGenerator
"""


@pytest.mark.parametrize("statement", STATEMENTS.strip().splitlines())
def test_an_import_of_a_program(statement: str) -> None:
    exec(statement, {})


def test_names_may_be_bytes() -> None:
    batch = Batch(images=np.zeros((2, 3)), labels=np.ones(2))
    assert batch[b"images"] is batch["images"]
    for missing in (b"keys", "keys", b"\xff", 3):
        with pytest.raises(KeyError):
            batch[missing]
