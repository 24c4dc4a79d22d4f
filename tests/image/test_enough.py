"""Decoding only what augmentors take gives what decoding everything does, but for resampling."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import dataflow as df
from dataflow.errors import DecodeError
from dataflow.image import enough, jpeg
from dataflow.imgaug import (
    AugmentorList,
    Brightness,
    CenterCrop,
    Flip,
    GoogleNetRandomCropAndResize,
    RandomCrop,
    RandomCropRandomShape,
    RandomResize,
    Resize,
    ResizeShortestEdge,
)

AREA = cv2.INTER_AREA


@pytest.fixture(params=["native", "by OpenCV"], autouse=True)
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test, with and without the native decoder."""
    if request.param == "native" and not jpeg.is_native():
        pytest.skip(f"no native decoder: {jpeg.MISSING}")
    if request.param != "native":
        monkeypatch.setattr(jpeg, "_library", None)


def encoded(image: np.ndarray, turn: int = 1, **options: Any) -> bytes:
    """BGR or grey, as a JPEG that is to be turned."""
    exif = Image.Exif()
    exif[274] = turn
    file = io.BytesIO()
    pixels = np.ascontiguousarray(image[:, :, ::-1] if image.ndim == 3 else image)
    picture = Image.fromarray(pixels)
    if options.pop("cmyk", False):
        picture = picture.convert("CMYK")
    picture.save(file, "JPEG", exif=exif, **{"quality": 92, **options})
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cat: np.ndarray) -> Path:
    """Files of all kinds: small and large, turned, grey, progressive, CMYK, of odd sizes, PNG."""
    root = tmp_path_factory.mktemp("photos")
    large = cv2.resize(cat, (1601, 1065), interpolation=cv2.INTER_CUBIC)
    files = {
        "0.jpg": encoded(cat),
        "1.jpg": encoded(cat, 6),
        "2.jpg": encoded(cat[:, :, 0], 3),
        "3.jpg": encoded(large, 8),
        "4.jpg": encoded(large[:1001, :1499], 5, progressive=True),
        "5.jpg": encoded(large, 7, subsampling=0),
        "6.jpg": encoded(large, cmyk=True),
        "7.png": cv2.imencode(".png", cat)[1].tobytes(),
        "8.jpg": encoded(large, 2, subsampling="4:2:2"),
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
    return root


def flow(folder: Path, augmentors: list[Any], decode: str, **options: Any) -> Any:
    source = df.dataset.FileImages(seed=5, on_error="raise", decode=decode, **options)
    source.datapoints = [[str(path), at] for at, path in enumerate(sorted(folder.iterdir()))]
    return df.AugmentImageComponent(source, augmentors)


def images(ds: Any) -> list[np.ndarray]:
    return [image for image, *_ in ds]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """In decibels."""
    assert one.shape == other.shape and one.dtype == other.dtype
    error = float(np.mean((one.astype(float) - other) ** 2))
    return 10 * np.log10(255**2 / error) if error else 99.0


EXACT: dict[str, list[Any]] = {
    "a cut": [RandomCrop(100), Flip(horiz=True)],
    "a cut of any shape": [RandomCropRandomShape(20, 20, 200, 200)],
    "mirrored, then cut": [Flip(vert=True), Flip(horiz=True), CenterCrop((90, 120))],
    "nothing to be done early": [Brightness(30), RandomCrop(100)],
    "enlarged": [RandomCrop(60), Resize(150), Flip(horiz=True)],
    "a function behind": [RandomCrop(120), lambda image: 255 - image, Flip(horiz=True)],
    "nearest": [Resize(50, cv2.INTER_NEAREST), CenterCrop(40)],
    "nothing": [],
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("mode", ["bgr", "rgb", "grey"])
def test_at_full_size_every_byte_is_the_same(folder: Path, name: str, mode: str) -> None:
    augmentors = EXACT[name]
    wanted = images(flow(folder, augmentors, "full", mode=mode))
    found = images(flow(folder, augmentors, "enough", mode=mode))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


SCALED: dict[str, list[Any]] = {
    "random resized crop": [GoogleNetRandomCropAndResize(interp=AREA), Flip(horiz=True)],
    "shortest edge": [ResizeShortestEdge(120, AREA), CenterCrop(112)],
    "resize": [Resize((90, 130), AREA), Brightness(10)],
    "to a few pixels": [Resize(5, AREA)],
    "to some more": [RandomCrop(200), Resize(23, AREA)],
    "random resize": [RandomResize((0.1, 0.4), aspect_ratio_thres=0, interp=AREA)],
    "cut, mirrored, resized": [RandomCrop(240), Flip(horiz=True), Resize(60, AREA)],
    "mirrored, resized, cut": [Flip(vert=True), ResizeShortestEdge(99, AREA), RandomCrop(64)],
}


@pytest.mark.parametrize("name", SCALED)
def test_at_smaller_sizes_only_the_resampling_differs(folder: Path, name: str) -> None:
    """Beside averaging, which is what a decoder does; bilinear scaling skips pixels."""
    wanted = images(flow(folder, SCALED[name], "full"))
    found = images(flow(folder, SCALED[name], "enough"))
    assert min(map(psnr, found, wanted)) >= 35


@pytest.mark.parametrize("options", [{"mode": "unchanged"}, {"alpha": "keep"}])
def test_the_plan_names_it_where_it_takes_effect(folder: Path, options: Any) -> None:
    assert "divide anew" in str(flow(folder, [Resize(40)], "enough").plan())
    assert "divide anew" not in str(flow(folder, [Resize(40)], "enough", **options).plan())


@pytest.mark.parametrize("interp", [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
def test_other_interpolations_of_smooth_photographs(folder: Path, interp: int) -> None:
    """Of large photographs, which have no more detail than what bilinear scaling can take."""
    augmentors = [GoogleNetRandomCropAndResize(target_shape=224, interp=interp)]
    wanted = images(flow(folder, augmentors, "full"))
    found = images(flow(folder, augmentors, "enough"))
    assert min(map(psnr, found, wanted)) >= 35


@pytest.mark.skipif(not jpeg.is_native(), reason="nothing to compare")
def test_both_decoders_give_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains = [*EXACT.values(), *SCALED.values()]
    one = [images(flow(folder, augmentors, "enough")) for augmentors in chains]
    other_library = None if jpeg._library is not None else jpeg._load()[0]
    monkeypatch.setattr(jpeg, "_library", other_library)
    other = [images(flow(folder, augmentors, "enough")) for augmentors in chains]
    flat = itertools.chain.from_iterable
    for mine, theirs in zip(flat(one), flat(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@given(
    st.integers(0, 2**31),
    st.integers(1, 8),
    st.integers(2, 6),
    st.sampled_from([AREA, cv2.INTER_LINEAR]),
)
@settings(max_examples=25, deadline=None)
def test_no_point_moves(seed: int, turn: int, times: int, interp: int) -> None:
    """A disc is where it is after decoding everything, to 0.3 pixels."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(500, 900, 2))
    image = np.full((height, width, 3), 40, np.uint8)
    x, y = rng.uniform(0.42, 0.58) * width, rng.uniform(0.42, 0.58) * height
    cv2.circle(image, (round(x), round(y)), 24 * times // 2, (230, 230, 230), -1, cv2.LINE_AA)
    data = encoded(image, turn)
    side = min(height, width)
    augmentors = AugmentorList([CenterCrop(side - side % 7), Resize(side // times, interp)])
    centres = []
    for decode in ("full", "enough"):
        ds = flow_of(data, augmentors, decode)
        (small,) = images(ds)
        moments = cv2.moments((small[:, :, 0].astype(np.float32) - 40).clip(0))
        centres.append((moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]))
    assert np.abs(np.subtract(*centres)).max() < 0.3


def flow_of(data: bytes, augmentors: Any, decode: str) -> Any:
    """Of one file, which needs no place."""

    class Memory(df.dataset.NetworkImages):
        @staticmethod
        def map_func_download(datapoint: Any) -> Any:
            return [data, *datapoint[1:]]

    source = Memory(seed=1, on_error="raise", decode=decode)  # type: ignore[arg-type]
    source.datapoints = [["x"]]
    return df.AugmentImageComponent(source, augmentors)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 1), (3, 1000), (8, 8)])
def test_the_smallest_images(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 77, np.uint8)
    for turn in (1, 6, 7):
        for augmentors in ([Resize(4)], [GoogleNetRandomCropAndResize()], [CenterCrop(1)]):
            (full,) = images(flow_of(encoded(image, turn), augmentors, "full"))
            (less,) = images(flow_of(encoded(image, turn), augmentors, "enough"))
            assert full.shape == less.shape
            assert np.abs(full.astype(int) - less).max() <= 2


# -- the chain stays what it is -----------------------------------------------------------------


RANDOM = [GoogleNetRandomCropAndResize(target_shape=64), Brightness(30), Flip(horiz=True)]


def topologies(folder: Path) -> Iterator[tuple[str, Any]]:
    yield "in turn", flow(folder, RANDOM, "enough")
    yield "processes", df.PrefetchDataZMQ(flow(folder, RANDOM, "enough"), 2)
    source = df.dataset.FileImages(seed=5, on_error="raise", decode="enough")
    source.datapoints = [[str(path), at] for at, path in enumerate(sorted(folder.iterdir()))]
    yield "threads between", df.AugmentImageComponent(source.parallel(3), RANDOM)
    yield (
        "processes between",
        df.AugmentImageComponent(df.PrefetchDataZMQ(source, 2), RANDOM),
    )


def test_the_same_on_any_topology(folder: Path) -> None:
    wanted: list[np.ndarray] | None = None
    for name, ds in topologies(folder):
        with ds:
            found = images(ds)
            assert wanted is None or all(map(np.array_equal, found, wanted)), name
            wanted = found
            for at in (0, 3, 7):
                np.testing.assert_array_equal(ds[at][0], wanted[at])


def test_a_saved_state_goes_on(folder: Path) -> None:
    with flow(folder, RANDOM, "enough") as ds:
        wanted = images(ds)
        ds.set_epoch(0)
        stream = iter(ds)
        for _ in range(4):
            next(stream)
        state = ds.state_dict()
    with flow(folder, RANDOM, "enough") as ds:
        ds.load_state_dict(state)
        rest = images(ds)
    assert all(map(np.array_equal, rest, wanted[4:])) and len(rest) == len(wanted) - 4


def test_what_is_drawn_is_as_without(folder: Path) -> None:
    """An augmentor that comes behind draws the same, as does a stage behind."""

    def chain(decode: str) -> list[Any]:
        ds = flow(folder, [RandomCrop(64), Flip(horiz=True), Brightness(90)], decode)
        ds = df.AugmentImageComponent(ds, [RandomCrop(32)])
        return images(ds)

    assert all(map(np.array_equal, chain("enough"), chain("full")))


def test_errors_belong_to_whom_they_belonged(folder: Path, tmp_path: Path) -> None:
    """What cannot be decoded is the source's failure, what cannot be cut the augmentor's."""
    (tmp_path / "0.jpg").write_bytes(encoded(np.zeros((50, 50, 3), np.uint8)))
    (tmp_path / "1.jpg").write_bytes(b"\xff\xd8\xff no image")
    (tmp_path / "2.jpg").write_bytes(encoded(np.zeros((200, 200, 3), np.uint8)))

    for decode in ("full", "enough"):
        ds = flow(tmp_path, [RandomCrop(100)], decode)
        with pytest.raises(ValueError, match="cannot cut 100×100 out of an image of 50×50"):
            next(iter(ds))
        ds = flow(tmp_path, [CenterCrop(10)], decode)
        with pytest.raises(DecodeError, match="not a usable image"):
            images(ds)
        ds = flow(tmp_path, [RandomCrop(100)], decode)
        ds.ds.on_error = "skip"
        with pytest.raises(ValueError, match="cannot cut"):  # no failure of the source's
            images(ds)
        ds = flow(tmp_path, [RandomCrop(100)], decode)
        ds.ds.on_error = "skip"
        runner = df.PrefetchDataZMQ(ds, 2, on_error="skip")
        with runner:
            assert [label for _, label in runner] == [2]
            assert {error.reason for error in runner.errors()} == {"truncated", "ValueError"}


def test_images_that_augmentors_may_fail_on(tmp_path: Path) -> None:
    for at, side in enumerate((50, 200, 60, 300)):
        (tmp_path / f"{at}.jpg").write_bytes(encoded(np.zeros((side, side, 3), np.uint8)))
    ds = flow(tmp_path, [], "enough").ds
    ds = df.AugmentImageComponent(ds, [RandomCrop(100)], catch_exceptions=True)
    assert [label for _, label in ds] == [1, 3]
    assert ds.func.failures.count == 2


def test_less_is_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the whole of any JPEG, and at the smallest size that will do."""

    def whole(*args: Any) -> Any:
        raise AssertionError("a whole image was decoded")

    denominators = []
    part = enough.native_part

    def native(*args: Any) -> Any:
        denominators.append(args[-1])
        return part(*args)

    files = sorted(map(str, folder.glob("[34568].jpg")))
    source = df.dataset.FileImages(seed=5, on_error="raise", decode="enough")
    source.datapoints = [[path] for path in files]
    ds = df.AugmentImageComponent(source, [ResizeShortestEdge(100), CenterCrop(90)])
    monkeypatch.setattr(enough, "plain_pixels", whole)
    monkeypatch.setattr(enough, "native_part", native)
    assert {image.shape for image in images(ds)} == {(90, 90, 3)}
    assert denominators == [8] * len(files)
    assert "divide anew" in str(ds.plan())
    assert "divide anew" not in str(flow(folder, [CenterCrop(90)], "full").plan())
    assert "divide anew" not in str(flow(folder, [Brightness(9)], "enough").plan())


def test_a_subclass_or_another_component_is_left_alone(folder: Path) -> None:
    class Own(df.AugmentImageComponent):
        def apply(self, datapoint: Any) -> Any:
            assert datapoint[0].shape[0] > 250  # all of it
            return super().apply(datapoint)

    source = flow(folder, [], "enough").ds
    wanted = images(flow(folder, [CenterCrop(32)], "full"))
    assert all(map(np.array_equal, images(Own(source, [CenterCrop(32)])), wanted))
    with pytest.raises(TypeError, match="an image is a NumPy array"):
        images(df.AugmentImageComponent(source, [CenterCrop(32)], index=1))


# -- the other sources -------------------------------------------------------------------------


def test_image_from_file(folder: Path) -> None:
    files = sorted(map(str, folder.glob("[0-8].jpg")))
    for options in ({"resize": 100}, {"resize": (90, 60), "channel": 1}):
        full = images(df.ImageFromFile(files, **options))
        less = images(df.ImageFromFile(files, **options, decode="enough"))
        for one, other in zip(less, full, strict=True):
            assert one.shape == other.shape and psnr(one, other) > 30  # bilinear skips pixels
    full_flow = df.AugmentImageComponent(df.ImageFromFile(files), [CenterCrop(99)])
    flow = df.AugmentImageComponent(df.ImageFromFile(files, decode="enough"), [CenterCrop(99)])
    assert all(map(np.array_equal, images(flow), images(full_flow)))


@pytest.mark.parametrize("select", [None, ["cls", "jpg"]])
def test_web_dataset(folder: Path, tmp_path: Path, select: list[str] | None) -> None:
    import tarfile

    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for at, path in enumerate(sorted(folder.glob("*.jpg"))):
            for suffix, data in (("jpg", path.read_bytes()), ("cls", str(at).encode())):
                info = tarfile.TarInfo(f"{at}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    index: Any = "jpg" if select is None else 1
    found = []
    for decode in ("full", "enough"):
        ds = df.dataset.WebDataset(str(tmp_path / "a.tar"), select, decode=decode)  # type: ignore[arg-type]
        ds = df.AugmentImageComponent(ds, [RandomCrop(64), Flip(horiz=True)], index)
        ds.seed(2)
        found.append([datapoint[index] for datapoint in ds])
    assert all(map(np.array_equal, *found))
    assert found[0][0].shape == (64, 64, 3)


def test_a_wrong_word(folder: Path) -> None:
    with pytest.raises(df.ConfigError, match='decode=\'less\' must be "full" or "enough"'):
        images(flow(folder, [], "less"))
    with pytest.raises(df.ConfigError, match="decode='less'"):
        df.ImageFromFile(["x"], decode="less")  # type: ignore[arg-type]
    with pytest.raises(df.ConfigError, match="decode='less'"):
        df.dataset.WebDataset("x.tar", decode="less")  # type: ignore[arg-type]
