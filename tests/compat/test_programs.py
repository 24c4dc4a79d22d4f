"""What training programs on tensorpack do to get their data, each in short, on made data.

Each is a function of the package: with ours it runs as it would in the program, and where
tensorpack is installed its result is compared with theirs, in shapes, dtypes and numbers. Theirs
runs without worker processes, which hang at exit.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import cv2
import numpy as np
import pytest
from optional import library
from published import cifar10, idx, pixels, write

import dataflow as ours

Package: TypeAlias = Any
Program: TypeAlias = Callable[[Package, Path], list[Any]]
PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    PROGRAMS[function.__name__] = function
    return function


def some(flow: Any, count: int) -> list[Any]:
    """As programs begin: reset, then the first datapoints."""
    flow.reset_state()
    return list(islice(flow, count))


# -- the data ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    files: dict[str, bytes] = {}
    for prefix, count in (("train", 60), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        files[f"{prefix}-images-idx3-ubyte.gz"] = idx(pixels(count, 28, 28))
        files[f"{prefix}-labels-idx1-ubyte.gz"] = idx(labels)
    for kind, width in (("a", 80), ("b", 80), ("pairs", 160)):
        for number in range(12):
            shade = cv2.GaussianBlur(pixels(80, width, 3), (0, 0), 3)
            files[f"{kind}/{number:02}.jpg"] = cv2.imencode(".jpg", shade)[1].tobytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for number in range(8):
            image = pixels(60, 40 + 20 * number, 3)
            zipped.writestr(f"in/{number}.png", cv2.imencode(".png", image)[1].tobytes())
    files["photos.zip"] = archive.getvalue()
    return write(folder, {**files, **cifar10(8)})


def paths(place: Path, kind: str) -> list[str]:
    return sorted(str(path) for path in (place / kind).glob("*.jpg"))


# -- classification ----------------------------------------------------------------------------


@program
def resnet(df: Package, place: Path) -> list[Any]:
    def data(split: str) -> Any:
        train = split == "train"
        ds = df.dataset.Cifar10(split, dir=str(place))
        mean = ds.get_per_pixel_mean(("train",))
        augmentors: list[Any] = [df.imgaug.MapImage(lambda image: image - mean)]
        if train:
            augmentors = [
                *(df.imgaug.CenterPaste((40, 40)), df.imgaug.RandomCrop((32, 32))),
                *(df.imgaug.Flip(horiz=True), *augmentors),
            ]
        ds = df.BatchData(df.AugmentImageComponent(ds, augmentors), 16, remainder=not train)
        return df.MultiProcessRunner(ds, 3, 2) if train else ds

    return some(data("train"), 2) + some(data("test"), 9)


@program
def mixup(df: Package, place: Path) -> list[Any]:
    def mixed(batch: list[Any]) -> list[Any]:
        images, labels = batch[0], np.eye(10)[batch[1]]
        weight = np.random.beta(1, 1, len(images))
        order = np.random.permutation(len(images))
        shares = weight.reshape(-1, 1, 1)
        return [
            images * shares + images[order] * (1 - shares),
            labels * weight[:, None] + labels[order] * (1 - weight[:, None]),
        ]

    ds = df.BatchData(df.dataset.Mnist("train", dir=str(place)), 8)
    return some(df.MapData(ds, mixed), 5)


@program
def validation_files(df: Package, place: Path) -> list[Any]:
    augmentors = df.imgaug.AugmentorList(
        [df.imgaug.ResizeShortestEdge(64, cv2.INTER_CUBIC), df.imgaug.CenterCrop((56, 56))]
    )

    def read(datapoint: Any) -> Any:
        path, label = datapoint
        return augmentors.augment(cv2.imread(path, cv2.IMREAD_COLOR)), label

    ds = df.DataFromList([[path, n] for n, path in enumerate(paths(place, "a"))], shuffle=False)
    ds = df.MultiThreadMapData(ds, 2, read, buffer_size=5, strict=True)
    batches = some(df.MultiProcessRunnerZMQ(df.BatchData(ds, 5, remainder=True), 1), 9)
    labels = np.concatenate([labels for _, labels in batches])
    assert sorted(labels.tolist()) == list(range(12))
    return [images for images, _ in batches]


# -- detection ---------------------------------------------------------------------------------


class Training:
    """A mapper as detection has it: a class, so that it can be sent to processes."""

    def __init__(self, df: Package) -> None:
        self.augmentors = df.imgaug.AugmentorList(
            [df.imgaug.ResizeShortestEdge(40), df.imgaug.Flip(horiz=True)]
        )

    def __call__(self, record: dict[str, Any]) -> dict[str, Any] | None:
        boxes = record["boxes"].copy()
        image = cv2.imread(record["file_name"]).astype("float32")
        transform = self.augmentors.get_transform(image)
        image = transform.apply_image(image)
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
        corners = transform.apply_coords(corners).reshape(-1, 4, 2)
        boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])[record["is_crowd"] == 0]
        if not len(boxes):
            return None
        return {"image": image, "gt_boxes": boxes, "number": record["number"]}


@program
def detection(df: Package, place: Path) -> list[Any]:
    records = [
        {
            "file_name": path,
            "number": n,
            "boxes": np.float32([[4, 8, 30 + n, 40], [10, 10, 20, 60]]),
            "is_crowd": np.int8([n % 3 == 0] * 2),
        }
        for n, path in enumerate(paths(place, "a"))
    ]
    ds = df.DataFromList(records, shuffle=True)
    found = some(df.MultiProcessMapData(ds, 2, Training(df), buffer_size=6), 8)
    assert sorted(one["number"] for one in found) == [n for n in range(12) if n % 3]
    for one in found:
        assert one["image"].shape == (40, 40, 3)
        left, top, right, bottom = one["gt_boxes"][0]
        assert (top, bottom) == (4, 20) and right - left == pytest.approx((26 + one["number"]) / 2)
    return [{"image": one["image"], "gt_boxes": one["gt_boxes"]} for one in found]


# -- pictures from pictures --------------------------------------------------------------------


@program
def dcgan(df: Package, place: Path) -> list[Any]:
    ds = df.ImageFromFile(paths(place, "a"), channel=3, shuffle=True)
    augmentors = [df.imgaug.CenterCrop(70), df.imgaug.Resize(64)]
    ds = df.BatchData(df.AugmentImageComponent(ds, augmentors), 4)
    return some(df.MultiProcessRunnerZMQ(ds, 2), 3)


@program
def image_to_image(df: Package, place: Path) -> list[Any]:
    def halves(datapoint: Any) -> Any:
        (image,) = datapoint
        return [image[:, :80], image[:, 80:]]

    ds = df.MapData(df.ImageFromFile(paths(place, "pairs"), channel=3, shuffle=True), halves)
    ds = df.AugmentImageComponents(ds, [df.imgaug.Resize(70), df.imgaug.RandomCrop(64)], (0, 1))
    return some(df.MultiProcessRunner(df.BatchData(ds, 1), 100, 1), 12)


@program
def cycle_gan(df: Package, place: Path) -> list[Any]:
    augmentors = [df.imgaug.Resize(72), df.imgaug.RandomCrop(64), df.imgaug.Flip(horiz=True)]

    def images(kind: str) -> Any:
        ds = df.ImageFromFile(paths(place, kind), channel=3, shuffle=True)
        return df.AugmentImageComponent(ds, augmentors)

    ds = df.BatchData(df.JoinData([images("a"), images("b")]), 3)
    return some(df.MultiProcessRunnerZMQ(ds, 2), 4)


@program
def edges(df: Package, place: Path) -> list[Any]:
    class CropMultiple16(df.imgaug.ImageAugmentor):  # type: ignore[misc]
        def get_transform(self, img: Any) -> Any:
            height, width = (length // 16 * 16 for length in img.shape[:2])
            top = self.rng.randint(img.shape[0] - height + 1)
            left = self.rng.randint(img.shape[1] - width + 1)
            return df.imgaug.CropTransform(top, left, height, width)

    def threshold(edge: Any) -> Any:
        edge[edge >= 0.5] = 1
        edge[edge < 0.5] = 0
        return edge

    rng = np.random.RandomState(0)
    shapes = [(60, 70), (70, 60)] * 6
    points = [[pixels(*shape, 3), rng.rand(*shape).astype("float32")] for shape in shapes]
    ds = df.DataFromList(points, shuffle=False)
    augmentors = [CropMultiple16(), df.imgaug.Flip(horiz=True), df.imgaug.Flip(vert=True)]
    ds = df.AugmentImageComponents(ds, augmentors, (0, 1), copy=False)
    ds = df.MapDataComponent(ds, threshold, 1)
    photometric = [df.imgaug.Brightness(63, clip=False), df.imgaug.Contrast((0.4, 1.5))]
    ds = df.AugmentImageComponent(ds, photometric, copy=False)
    batches = some(df.MultiProcessRunnerZMQ(df.BatchDataByShape(ds, 2, idx=0), 1), 6)
    assert all(set(np.unique(edge)) <= {0, 1} for _, edge in batches)
    return batches


class Zipped:
    """Images in a zip file, opened at the beginning and again in each process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open()

    def open(self) -> None:
        archive = zipfile.ZipFile(self.path)
        self.members = [(archive, name) for name in archive.namelist()]

    def reset_state(self) -> None:
        super().reset_state()  # type: ignore[misc]
        self.close()
        self.open()

    def close(self) -> None:
        with suppress(AttributeError):
            self.members[0][0].close()

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[list[Any]]:
        for archive, name in self.members:
            yield [np.frombuffer(archive.read(name), np.uint8)]


@program
def super_resolution(df: Package, place: Path) -> list[Any]:
    class Source(Zipped, df.RNGDataFlow):  # type: ignore[misc]
        pass

    class Decode(df.MapDataComponent):  # type: ignore[misc]
        def __init__(self, ds: Any) -> None:
            super().__init__(ds, lambda body: cv2.imdecode(body, cv2.IMREAD_COLOR), index=0)

    def large(image: Any) -> Any:
        return image if image.shape[1] >= 80 else None

    source = Source(place / "photos.zip")
    try:
        ds = df.MapDataComponent(df.MapDataComponent(Decode(source), large), square)
        return some(df.BatchData(df.MultiProcessRunnerZMQ(ds, 1), 3), 2)
    finally:
        source.close()


def square(image: Any) -> Any:
    side = min(image.shape[:2])
    return cv2.resize(image[:side, :side], (32, 32))


@program
def optical_flow(df: Package, place: Path) -> list[Any]:
    class Frames(df.DataFlow):  # type: ignore[misc]
        def __init__(self) -> None:
            self.first = paths(place, "a")

        def size(self) -> int:  # the older spelling of __len__
            return len(self.first) - 1

        def __iter__(self) -> Iterator[list[Any]]:
            crop = df.imgaug.CenterCrop((64, 64))
            for one, other in zip(self.first, self.first[1:], strict=False):
                motion = np.zeros((80, 80, 2), "float32")
                pictures = (cv2.imread(one), cv2.imread(other), motion)
                yield [crop.augment(picture) for picture in pictures]

    ds = df.MapData(Frames(), lambda dp: [part.transpose(2, 0, 1) for part in dp])
    return some(df.BatchData(ds, 1), 11)


# -- sequences ---------------------------------------------------------------------------------


@program
def speech(df: Package, place: Path) -> list[Any]:
    class Recordings(df.DataFlow):  # type: ignore[misc]
        def __len__(self) -> int:
            return 11

        def __iter__(self) -> Iterator[list[Any]]:
            rng = np.random.RandomState(0)
            for n in range(11):
                yield [rng.rand(6 + n, 5), rng.randint(0, 60, 3 + n % 3)]

    class Padded(df.ProxyDataFlow):  # type: ignore[misc]
        """Batches of its own making; its `__init__` does not call that of the base."""

        def __init__(self, ds: Any, batch: int) -> None:
            self.batch = batch
            self.ds = ds

        def __len__(self) -> int:
            return len(self.ds) // self.batch

        def __iter__(self) -> Iterator[list[Any]]:
            inner = iter(self.ds)
            for _ in range(len(self)):
                parts = [next(inner) for _ in range(self.batch)]
                lengths = np.asarray([len(feature) for feature, _ in parts])
                features = np.zeros((self.batch, lengths.max(), 5))
                for row, (feature, _) in zip(features, parts, strict=True):
                    row[: len(feature)] = feature
                yield [features, np.concatenate([label for _, label in parts]), lengths]

    library("lmdb")
    database = place / f"speech-{df.__name__}.lmdb"
    database.unlink(missing_ok=True)
    df.LMDBSerializer.save(Recordings(), str(database))
    ds = df.LMDBSerializer.load(str(database), shuffle=False)
    ds = df.MapDataComponent(ds, lambda feature: (feature - 0.5) / 0.1)
    return some(df.MultiProcessRunnerZMQ(Padded(ds, 4), 1), 2)


@program
def characters(df: Package, place: Path) -> list[Any]:
    class Windows(df.RNGDataFlow):  # type: ignore[misc]
        def __init__(self, text: str) -> None:
            self.known = {char: n for n, char in enumerate(sorted(set(text)))}
            self.text = np.array([self.known[char] for char in text], dtype="int32")

        def __len__(self) -> int:
            return 20

        def __iter__(self) -> Iterator[list[Any]]:
            for start in self.rng.randint(0, len(self.text) - 9, (20,)):
                window = self.text[start : start + 9]
                yield [window[:-1], window[1:]]

    batches = some(df.BatchData(Windows("the quick brown fox " * 5), 8), 2)
    assert all(np.array_equal(x[:, 1:], y[:, :-1]) for x, y in batches)
    return batches


# -- pairs and triplets, sums ------------------------------------------------------------------


@program
def triplets(df: Package, place: Path) -> list[Any]:
    class Triplets(df.dataset.Mnist):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("train", shuffle=False, dir=str(place))
            self.of = [self.images[self.labels == label] for label in range(10)]

        def pick(self, label: int) -> Any:
            return self.of[label][self.rng.randint(len(self.of[label]))].reshape(28, 28)

        def __iter__(self) -> Iterator[list[Any]]:
            while True:
                label, other = self.rng.choice(10, size=2, replace=False)
                yield [self.pick(label), self.pick(label), self.pick(other)]

    return some(df.BatchData(Triplets(), 8), 4)


@program
def sums_of_digits(df: Package, place: Path) -> list[Any]:
    augmentors = [df.imgaug.MapImage(lambda image: image * 255), df.imgaug.RandomPaste((40, 40))]
    digits = df.dataset.Mnist("train", dir=str(place))
    digits = df.AugmentImageComponent(digits, augmentors)
    ds = df.JoinData([digits, digits])
    ds = df.MapData(ds, lambda dp: [np.stack([dp[0], dp[2]], axis=2), dp[1] + dp[3]])
    batches = some(df.BatchData(ds, 20), 3)
    # A digit is not added to itself, or all sums would be even.
    assert any((labels % 2).any() for _, labels in batches)
    return batches


@program
def older_spellings(df: Package, place: Path) -> list[Any]:
    """As wbaek/dataflow's example has them, and releases of tensorpack up to 0.9.5."""
    ours_only = {"nr_prefetch": 12, "nr_proc": 2} if df is ours else {}
    imgaug = df.imgaug
    augmentors = [
        imgaug.RandomApplyAug(imgaug.RandomResize((0.8, 1.2), (0.8, 1.2)), 0.3),
        imgaug.RandomApplyAug(imgaug.RotationAndCropValid(15), 0.5),
        imgaug.RandomApplyAug(imgaug.SaltPepperNoise(white_prob=0.01, black_prob=0.01), 0.25),
        *(imgaug.Resize((28, 28)), imgaug.CenterPaste((32, 32)), imgaug.RandomCrop((28, 28))),
        imgaug.MapImage(lambda image: image.reshape(28, 28, 1)),
    ]
    ds = df.AugmentImageComponent(df.dataset.Mnist("train", dir=str(place)), augmentors)
    ds = df.BatchData(ds, batch_size=32, remainder=False)
    ds = df.PrefetchData(ds, **ours_only)
    ds = df.PrintData(ds, num=0)
    ds = df.RepeatedData(ds, nr=-1) if df is ours else df.RepeatedData(ds, -1)
    return some(ds, 5)


# -- experience --------------------------------------------------------------------------------


@program
def replay(df: Package, place: Path) -> list[Any]:
    class Replay(df.DataFlow):  # type: ignore[misc]
        """Plays while it is read, with locks and threads of its own: it stays where it is."""

        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.memory = np.zeros((100, 4, 4), np.uint8)
            self.size = 0
            self.rng = np.random.RandomState(0)

        def play(self) -> None:
            with self.lock:
                self.memory[self.size % 100] = self.size % 256
                self.size += 1

        def __iter__(self) -> Iterator[list[Any]]:
            while True:
                if self.size < 20:
                    self.play()
                    continue
                with self.lock:
                    index = self.rng.randint(0, min(self.size, 100), 6)
                    yield [self.memory[index], index]
                player = threading.Thread(target=self.play)
                player.start()
                player.join()

    return some(Replay(), 5)


# -- running them ------------------------------------------------------------------------------


def outline(value: Any) -> Any:
    """What must be the same: everything but the values, many of which are drawn."""
    if isinstance(value, dict):
        return {key: outline(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [outline(part) for part in value]
    # Integers are int64 here and int32 there, see docs/migrating.md.
    kind = value.dtype.kind if value.dtype.kind in "iu" else value.dtype.str
    return kind if value.dtype.kind in "iu" and value.ndim == 1 else (kind, value.shape)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.filterwarnings("ignore:.* is the older spelling:DeprecationWarning")
def test_a_program_runs(name: str, place: Path) -> None:
    result = PROGRAMS[name](ours, place)
    assert result, "not an empty loop"


class Theirs(SimpleNamespace):
    """tensorpack's names, the runners without processes."""

    def __init__(self, package: Any) -> None:
        super().__init__(**{name: getattr(package, name) for name in package.__all__})
        self.__name__ = "tensorpack"
        self.MultiProcessRunner = self.MultiProcessRunnerZMQ = lambda ds, *args: ds
        self.PrefetchData = lambda ds: ds
        self.MultiProcessMapData = lambda ds, num_proc, func, buffer_size: package.MapData(ds, func)
        self.MultiThreadMapData = lambda ds, num, func, **kwargs: package.MapData(ds, func)


# Their reader of CIFAR-10 insists on 10,000 images a file.
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "resnet"])
def test_it_gets_what_it_got(name: str, place: Path) -> None:
    theirs = Theirs(library("tensorpack.dataflow"))
    expected = PROGRAMS[name](theirs, place)
    assert sorted(map(str, map(outline, PROGRAMS[name](ours, place)))) == sorted(
        map(str, map(outline, expected))
    )
