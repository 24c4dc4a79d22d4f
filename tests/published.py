"""Small files in the formats of the well-known data sets, and a server that has them."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from servers import Exchange, Route, Server

from dataflow.dataset import PublishedFile

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


# -- serving ----------------------------------------------------------------------------------


def ranged(body: bytes) -> Route:
    """An answer that can begin in the middle."""

    def route(exchange: Exchange) -> None:
        wanted = exchange.headers.get("range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        if start >= len(body):
            exchange.start(416, {"Content-Length": "0"})
            return
        fields = {"Content-Length": str(len(body) - start)}
        if wanted:
            fields["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        exchange.start(206 if wanted else 200, fields)
        exchange.send(body[start:])

    return route


def md5(body: bytes) -> str:
    return f"md5:{hashlib.md5(body).hexdigest()}"


def publish(server: Server, name: str, body: bytes) -> PublishedFile:
    """The server has it from now on."""
    server.routes[f"/{name}"] = ranged(body)
    return PublishedFile((server.url(f"/{name}"),), md5(body), len(body))


def tar(files: Mapping[str, bytes]) -> bytes:
    """A .tar.gz of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return folder


# -- formats ----------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    """MNIST's format."""
    head = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes(), 1)


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes text and bytes as Python 2 wrote its strings."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _string(self, value: str | bytes) -> None:
        data = value.encode() if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _string


def python2_pickle(value: Any) -> bytes:
    """A pickle as Python 2 and the NumPy of its time wrote it."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, 2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar10(per_file: int = 4, *, names: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The files of CIFAR-10's archive, with so many images each."""
    names = names or (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
    files = {
        name: python2_pickle(
            {
                "batch_label": name,
                "labels": RNG.integers(0, 10, per_file).tolist(),
                "data": pixels(per_file, 3072),
                "filenames": [f"{i}.png" for i in range(per_file)],
            }
        )
        for name in names
    }
    classes = ["airplane", "automobile", "bird", "cat", "deer"]
    classes += ["dog", "frog", "horse", "ship", "truck"]
    files["batches.meta"] = python2_pickle(
        {"num_cases_per_batch": per_file, "label_names": classes, "num_vis": 3072}
    )
    return {f"cifar-10-batches-py/{name}": body for name, body in files.items()}


def cifar100(count: int = 6) -> dict[str, bytes]:
    """The files of CIFAR-100's archive."""
    files = {
        name: python2_pickle(
            {
                "filenames": [f"{i}.png" for i in range(count)],
                "batch_label": name,
                "fine_labels": RNG.integers(0, 100, count).tolist(),
                "coarse_labels": RNG.integers(0, 20, count).tolist(),
                "data": pixels(count, 3072),
            }
        )
        for name in ("train", "test")
    }
    files["meta"] = python2_pickle(
        {
            "fine_label_names": [f"fine {i}" for i in range(100)],
            "coarse_label_names": [f"coarse {i}" for i in range(20)],
        }
    )
    return {f"cifar-100-python/{name}": body for name, body in files.items()}


def mat(**variables: Any) -> bytes:
    """A file of MATLAB's."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, variables, do_compression=True)
    return buffer.getvalue()


def svhn(count: int = 12) -> bytes:
    digits = (np.arange(count) % 10 + 1).astype(np.uint8)  # 10 is the digit 0
    return mat(X=np.asfortranarray(pixels(32, 32, 3, count)), y=digits[:, np.newaxis])


def silhouettes() -> bytes:
    """With as many images as tensorpack insists on."""
    variables: dict[str, Any] = {}
    for name, count in (("train", 4100), ("val", 2264), ("test", 2307)):
        variables[f"{name}_data"] = RNG.integers(0, 2, (count, 784), np.uint8)
        variables[f"{name}_labels"] = RNG.integers(1, 102, (count, 1)).astype(np.uint8)
    return mat(**variables)


def bsds500(images: Mapping[str, tuple[str, bool]]) -> dict[str, bytes]:
    """The files of the archive.

    Args:
        images: split, and whether it is upright, of each image.
    """
    files = {}
    for name, (split, upright) in images.items():
        shape = (481, 321) if upright else (321, 481)
        good, data = cv2.imencode(".jpg", cv2.GaussianBlur(pixels(*shape, 3), (0, 0), 3))
        assert good
        files[f"BSR/BSDS500/data/images/{split}/{name}.jpg"] = data.tobytes()
        people = np.empty((1, 3), object)
        for person in range(3):
            edges = RNG.integers(0, 2, shape, np.uint8)
            people[0, person] = {"Segmentation": edges + np.uint16(1), "Boundaries": edges}
        body = mat(groundTruth=people)
        files[f"BSR/BSDS500/data/groundTruth/{split}/{name}.mat"] = body
    return files


def jpeg(height: int = 8, width: int = 8) -> bytes:
    good, data = cv2.imencode(".jpg", pixels(height, width, 3))
    assert good
    return data.tobytes()


# -- ImageNet ---------------------------------------------------------------------------------

SYNSETS = ["n01440764", "n01443537", "n02084071"]
TRAIN = [
    *(f"{SYNSETS[0]}/{SYNSETS[0]}_{i}.JPEG" for i in (3, 7)),
    f"{SYNSETS[1]}/{SYNSETS[1]}_1.JPEG",
    *(f"{SYNSETS[2]}/{SYNSETS[2]}_{i}.JPEG" for i in (2, 5, 9)),
]
VAL = [(f"ILSVRC2012_val_{i:08d}.JPEG", (2, 0, 1, 2)[i - 1]) for i in range(1, 5)]
TEST = [f"ILSVRC2012_test_{i:08d}.JPEG" for i in range(1, 3)]


def blob(array: np.ndarray) -> bytes:
    """A BlobProto, written by the real library."""
    message = blob_message()()
    message.num, (message.channels, message.height, message.width) = 1, array.shape
    message.data.extend(array.ravel().tolist())
    body: bytes = message.SerializeToString()
    return body


def blob_message() -> Any:
    """The class of the message, as far as it matters."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="blob.proto", package="caffe", syntax="proto2")
    kind = file.message_type.add(name="BlobProto")
    field = descriptor_pb2.FieldDescriptorProto
    for number, name in enumerate(("num", "channels", "height", "width"), 1):
        kind.field.add(name=name, number=number, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    for number, name in ((5, "data"), (6, "diff")):
        floats = kind.field.add(
            name=name, number=number, type=field.TYPE_FLOAT, label=field.LABEL_REPEATED
        )
        floats.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.BlobProto"))


def caffe_meta() -> dict[str, bytes]:
    """The files of Caffe's archive, in the order in which they are there."""
    lists = {
        "synsets.txt": SYNSETS,
        "synset_words.txt": [f"{synset} word {i}, other" for i, synset in enumerate(SYNSETS)],
        "test.txt": [f"{name} 0" for name in TEST],
        "train.txt": [f"{name} {SYNSETS.index(name[:9])}" for name in TRAIN],
        "val.txt": [f"{name} {label}" for name, label in VAL],
    }
    files = {name: "".join(f"{line}\n" for line in lines).encode() for name, lines in lists.items()}
    return files | {"imagenet_mean.binaryproto": blob(RNG.random((3, 256, 256)) * 255)}


def ilsvrc(folder: Path, *, val_in_classes: bool = False) -> Path:
    """The images, as they are unpacked. Each has its own height."""
    names = [f"train/{name}" for name in TRAIN] + [f"test/{name}" for name in TEST]
    names += [f"val/{f'{SYNSETS[label]}/' if val_in_classes else ''}{n}" for n, label in VAL]
    return write(folder, {name: jpeg(8 + i) for i, name in enumerate(names)})
