"""Where scripts for earlier packages look for names."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataflow as df
from dataflow import compat

FOLDER = Path(compat.__path__[0])


def paths() -> Iterator[str]:
    """Each module of the folder by the name that scripts have for it."""
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        if parts[-1] != "__init__":
            yield ".".join(("dataflow", *parts))


@pytest.mark.parametrize("name", [*paths()])
def test_a_module_is_a_list_of_names_from_elsewhere(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__all__
    namespace: dict[str, object] = {}
    exec(f"from {name} import *", namespace)
    for public in module.__all__:
        value = namespace[public]
        defined = getattr(value, "__module__", "")
        # What is defined in such a module would be there twice: by this name and by the folder's.
        assert defined != name or name == "dataflow.tensorflow.queue_input"
        assert not defined.startswith("dataflow.compat")


# As public programs have them, with `tensorpack.` taken out.
STATEMENTS = """
from dataflow.base import RNGDataFlow, ProxyDataFlow, DataFlow, DataFlowTerminated
from dataflow.common import BatchData, MapData, TestDataSpeed
from dataflow.raw import DataFromList, FakeData
from dataflow.parallel import PrefetchData, PrefetchDataZMQ, MultiProcessRunnerZMQ
from dataflow.parallel_map import MultiProcessMapDataZMQ, MultiThreadMapData, ThreadedMapData
from dataflow.prefetch import PrefetchDataZMQ, ThreadedMapData
from dataflow.format import LMDBData, LMDBDataPoint, HDF5Data
from dataflow.serialize import LMDBSerializer, TFRecordSerializer
from dataflow.dftools import dump_dataflow_to_lmdb, dump_dataflow_to_process_queue, DIE
from dataflow.image import ImageFromFile, AugmentImageComponent, AugmentImageCoordinates
from dataflow.remote import send_dataflow_zmq, RemoteDataZMQ, dump_dataflow_to_process_queue
from dataflow.dataset.ilsvrc import ILSVRC12, ILSVRC12Files, ILSVRCMeta
from dataflow.dataset.mnist import Mnist
from dataflow.dataset.cifar import Cifar10
from dataflow.dataset.base import NetworkImages
from dataflow.imgaug.base import ImageAugmentor, AugmentorList, PhotometricAugmentor
from dataflow.imgaug.imgproc import Brightness, Contrast, Hue, Lighting
from dataflow.imgaug.misc import Flip, Resize, ResizeShortestEdge
from dataflow.imgaug.meta import MapImage, RandomChooseAug
from dataflow.imgaug.deform import GaussianMap, GaussianDeform
from dataflow.imgaug.transform import CropTransform, ImageTransform, TransformAugmentorBase
from dataflow.imgaug.crop import RandomCrop
from dataflow.utils.image import Viewer
import dataflow.common as common, dataflow.imgaug.misc as misc
from dataflow import ThreadedMapData, LMDBDataPoint, dump_dataflow_to_lmdb
"""


@pytest.mark.parametrize("statement", STATEMENTS.strip().splitlines())
def test_an_import_of_a_public_program(statement: str) -> None:
    exec(statement, {})


def test_they_are_the_same_objects() -> None:
    from dataflow.common import BatchData  # type: ignore[import-not-found]
    from dataflow.imgaug.misc import Flip  # type: ignore[import-not-found]

    from dataflow.compat.common import BatchData as Checked

    assert BatchData is df.BatchData is Checked and Flip is df.imgaug.Flip


def test_they_are_attributes_after_import_dataflow_alone() -> None:
    program = """
import dataflow as df
assert df.common.BatchData is df.BatchData and df.parallel_map.MultiThreadMapData
assert df.imgaug.imgproc.Brightness is df.imgaug.Brightness
assert df.dataset.base.NetworkImages is df.NetworkImages is df.dataset.NetworkImages
assert df.ILSVRC12 is df.dataset.ILSVRC12
assert df.Viewer is df.utils.Viewer is df.utils.image.Viewer
for package in (df, df.dataset, df.imgaug, df.utils):
    try:
        package.nowhere
    except AttributeError as error:
        assert f"module {package.__name__!r} has no attribute 'nowhere'" in str(error)
    else:
        raise SystemExit(package.__name__)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_name_that_is_nowhere_is_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"dataflow\.nowhere"):
        importlib.import_module("dataflow.nowhere")


def test_the_queue_of_tensorflow_1_says_what_there_is_instead() -> None:
    module = importlib.import_module("dataflow.tensorflow.queue_input")
    for name in module.__all__:
        with pytest.raises(NotImplementedError, match=rf"{name} .*adapters\.tensorflow\.dataset"):
            getattr(module, name)(df.DataFromList([1]), [])


def test_nothing_in_the_package_needs_them() -> None:
    root = Path(df.__path__[0])
    for path in root.rglob("*.py"):
        if FOLDER not in path.parents and path != root / "__init__.py":
            assert "dataflow.compat" not in path.read_text("utf-8")
    assert {info.name for info in pkgutil.iter_modules([str(FOLDER)])} > {"base", "common"}
