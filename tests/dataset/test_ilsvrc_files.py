"""ImageNet by Caffe's lists, as tensorpack has it, and which form a call of `ILSVRC12` has."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optional import library
from published import (
    RNG,
    SYNSETS,
    TEST,
    TRAIN,
    VAL,
    blob,
    blob_message,
    caffe_meta,
    ilsvrc,
    publish,
    tar,
    write,
)
from servers import Server

import dataflow as df
from dataflow.dataset import ILSVRC12, ILSVRC12Files, ILSVRCMeta
from dataflow.dataset.blob import read_blob

# tensorpack leaves lists open.
LEAKS = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module")
def meta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("meta"), caffe_meta())


@pytest.fixture(scope="module", params=["original", "train"])
def images(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both structures of the validation images."""
    folder = tmp_path_factory.mktemp(f"images-{request.param}")
    return ilsvrc(folder, val_in_classes=request.param == "train")


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is there, and nothing can be downloaded to it."""
    place = tmp_path / "datasets"
    monkeypatch.setenv("DATAFLOW_DATASET", str(place))
    return place


@pytest.fixture(scope="module")
def theirs():
    return library("tensorpack.dataflow.dataset")


# -- the lists --------------------------------------------------------------------------------


@LEAKS
def test_lists_as_tensorpack_reads_them(
    meta: Path, theirs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = ILSVRCMeta(meta), theirs.ILSVRCMeta(str(meta))
    assert ours.get_synset_1000() == other.get_synset_1000() == dict(enumerate(SYNSETS))
    assert ours.get_synset_words_1000() == other.get_synset_words_1000()
    for name in ("train", "val", "test"):
        for structure in ("original", "train"):
            assert ours.get_image_list(name, structure) == other.get_image_list(name, structure)
    # It compiles Caffe's protocol on the spot, which is not there: the message itself is the same.
    other.caffepb = type("caffepb", (), {"BlobProto": staticmethod(blob_message())})
    for size in (None, (256, 256), (100, 40)):
        mean, known = ours.get_per_pixel_mean(size), other.get_per_pixel_mean(size)
        assert mean.dtype == known.dtype == np.float32 and mean.shape == known.shape
        np.testing.assert_array_equal(mean, known)


def test_lists_are_downloaded(server: Server, datasets: Path) -> None:
    class Mirrored(ILSVRCMeta):
        archive = publish(server, "caffe_ilsvrc12.tar.gz", tar(caffe_meta()))

    for _ in range(2):
        assert Mirrored().get_synset_1000()[1] == SYNSETS[1]
    assert ILSVRCMeta().dir == datasets / "ilsvrc_metadata"
    names = {path.name for path in (datasets / "ilsvrc_metadata").iterdir()}
    assert names == {"caffe_ilsvrc12.tar.gz", *caffe_meta()}
    assert server.requests == {"/caffe_ilsvrc12.tar.gz": 1}


def test_damaged_lists(meta: Path, tmp_path: Path) -> None:
    shutil.copytree(meta, tmp_path / "meta")
    ours = ILSVRCMeta(tmp_path / "meta")
    for text, message in (("", "is empty"), ("a.JPEG x\n", "has a line"), ("a.JPEG\n", "a line")):
        (tmp_path / "meta/val.txt").write_text(text)
        with pytest.raises(df.MissingData, match=rf"val\.txt {message}|val\.txt has {message}"):
            ours.get_image_list("val")
    (tmp_path / "meta/val.txt").write_text("a.JPEG 77\n")
    with pytest.raises(df.MissingData, match="a line"):
        ours.get_image_list("val", "train")
    (tmp_path / "meta/imagenet_mean.binaryproto").write_bytes(b"\x0a")
    with pytest.raises(df.MissingData, match=r"imagenet_mean\.binaryproto cannot be read"):
        ours.get_per_pixel_mean()
    (tmp_path / "meta/train.txt").unlink()
    with pytest.raises(df.MissingData, match=r"train\.txt is missing"):
        ours.get_image_list("train")
    with pytest.raises(df.ConfigError, match="name='valid'"):
        ours.get_image_list("valid")
    with pytest.raises(df.ConfigError, match="dir_structure='flat'"):
        ours.get_image_list("val", "flat")


def test_the_structure_is_found_out_whatever_else_is_there(tmp_path: Path) -> None:
    """tensorpack looks at one entry, any one."""
    for name in ("notes.txt", "zip", "new_things/a"):
        write(tmp_path, {name: b""})
    assert ILSVRCMeta.guess_dir_structure(tmp_path) == "original"
    (tmp_path / SYNSETS[0]).mkdir()
    assert ILSVRCMeta.guess_dir_structure(str(tmp_path)) == "train"
    (tmp_path / "ILSVRC2012_val_00000001.JPEG").touch()
    with pytest.raises(df.ConfigError, match="images beside folders"):
        ILSVRCMeta.guess_dir_structure(tmp_path)


@settings(max_examples=20)
@given(shape=st.tuples(*[st.integers(1, 4)] * 3), packed=st.booleans(), old=st.booleans())
def test_blobs_of_the_real_library(shape: tuple[int, ...], packed: bool, old: bool) -> None:
    array = RNG.random(shape).astype(np.float32)
    body = blob(array)
    if not packed:  # as old versions wrote repeated numbers
        floats = b"".join(b"\x2d" + value.tobytes() for value in array.ravel())
        body = body[: body.index(b"\x2a")] + floats
    if not old:  # the newer way to tell a shape, in place of the four sizes
        dims = bytes([1, *shape])
        body = body[body.index(b"\x2a" if packed else b"\x2d") :]
        body += b"\x3a" + bytes([2 + len(dims)]) + b"\x0a" + bytes([len(dims)]) + dims
    found = read_blob(body)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array[np.newaxis])
    for cut in range(1, 5):
        with pytest.raises(ValueError):
            read_blob(body[:-cut])


# -- the files --------------------------------------------------------------------------------


@LEAKS
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_files_and_images_as_tensorpack_reads_them(
    split: str, images: Path, meta: Path, theirs
) -> None:
    ours = ILSVRC12Files(images, split, meta, shuffle=False)
    other = theirs.ILSVRC12Files(str(images), split, str(meta), shuffle=False)
    other.reset_state()
    assert list(ours) == list(other) and len(ours) == len(other)
    assert [tuple(row) for row in ours.imglist] == other.imglist
    assert str(ours.full_dir) == other.full_dir
    assert ILSVRC12Files(images, split, meta).shuffle is (split == "train")
    other = theirs.ILSVRC12(str(images), split, str(meta), shuffle=False)
    other.reset_state()
    with ILSVRC12(str(images), split, str(meta), False) as ds:
        assert ds.imglist == other.imglist and ds.synsets == SYNSETS
        for (image, label), (expected, known) in zip(ds, other, strict=True):
            assert image.dtype == np.uint8 and type(label) is type(known) is int and label == known
            np.testing.assert_array_equal(image, expected)


def test_what_is_missing_is_told_with_what_is_expected(tmp_path: Path, meta: Path) -> None:
    for kind in (
        ILSVRC12Files,
        lambda dir, name, meta: ILSVRC12(dir=dir, name=name, meta_dir=meta),
    ):
        with pytest.raises(
            df.MissingData, match=r"none is not a folder; expected are train/n0.*tar"
        ):
            kind(tmp_path / "none", "train", meta)
        with pytest.raises(
            df.MissingData, match=r"val is not a folder; expected are train/n0.*tar"
        ):
            kind(tmp_path, "val", meta)
        (tmp_path / "train").mkdir(exist_ok=True)
        with pytest.raises(df.MissingData, match=rf"{TRAIN[0]} is missing.*expected are train/n0"):
            kind(tmp_path, "train", meta)
        with pytest.raises(df.MissingData, match="meta_dir has to have"):
            kind(tmp_path, "train", tmp_path / "no-meta")
    with pytest.raises(df.ConfigError, match="name='valid' must be 'train', 'val' or 'test'"):
        ILSVRC12Files(tmp_path, "valid")
    with pytest.raises(df.ConfigError, match="dir_structure='flat'"):
        ILSVRC12Files(tmp_path, "val", meta, dir_structure="flat")


def test_boxes(tmp_path: Path, theirs) -> None:
    """tensorpack finds none: it calls a method that Python 3.9 took away."""
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40.5</ymax></bndbox>"
    size = "<size><width>100</width><height>80</height></size>"
    annotation = f"<annotation>{size}<object><name>n1</name>{box}</object></annotation>"
    write(
        tmp_path,
        {
            "n1/n1_1.xml": annotation.encode(),
            "n1/n1_2.xml": b"<annotation>",
            "n1/n1_4.xml": annotation.replace("<ymax>40.5</ymax>", "").encode(),
            "n1/n1_5.xml": f"<annotation>{size}</annotation>".encode(),
        },
    )
    found = ILSVRC12.get_training_bbox(tmp_path, [(f"n1/n1_{i}.JPEG", 0) for i in range(1, 6)])
    assert found[1:] == [None] * 4
    assert found[0] is not None and found[0].dtype == np.float32
    assert found[0].tolist() == [1, 2, 30, 40.5]


# -- which form -------------------------------------------------------------------------------


def own_layout(folder: Path) -> Path:
    """The challenge's own layout of the same images."""
    ilsvrc(folder / "Data/CLS-LOC")
    rows = [f"{name.removesuffix('.JPEG')},{SYNSETS[label]} 1 2 3 4\n" for name, label in VAL]
    lines = [f"{name.removesuffix('.JPEG')} {i}\n" for i, name in enumerate(TRAIN, 1)]
    return write(
        folder,
        {
            "LOC_val_solution.csv": "".join(["ImageId,PredictionString\n", *rows]).encode(),
            "ImageSets/CLS-LOC/train_cls.txt": "".join(lines).encode(),
        },
    )


def names(ds: ILSVRC12) -> list[tuple[str, int]]:
    return [(Path(path).name, label) for path, label in ds.datapoints]


IN_TRAIN = [(Path(name).name, SYNSETS.index(name[:9])) for name in TRAIN]


def test_by_its_arguments(images: Path, meta: Path) -> None:
    """What has arguments of tensorpack's form is that form."""
    for make in (
        lambda: ILSVRC12(images, "val", meta),
        lambda: ILSVRC12(str(images), "val", str(meta), None, None),
        lambda: ILSVRC12(images, "val", meta_dir=meta),
        lambda: ILSVRC12(dir=images, name="val", meta_dir=meta),
        lambda: ILSVRC12(images, name="val", meta_dir=str(meta)),
    ):
        assert names(make()) == VAL and make().shuffle is False
    for make in (
        lambda: ILSVRC12(images, "train", meta, False),
        lambda: ILSVRC12(images, "train", meta, shuffle=False),
        lambda: ILSVRC12(dir=images, name="train", meta_dir=meta, shuffle=False),
    ):
        assert names(make()) == IN_TRAIN and make().shuffle is False
    assert ILSVRC12(images, "train", meta).shuffle is True
    assert len(ILSVRC12(images, "test", meta)) == len(TEST)
    with pytest.raises(df.MissingData, match=r"is missing, with dir_structure='(train|original)'"):
        wrong = "train" if (images / "val" / VAL[0][0]).exists() else "original"
        ILSVRC12(images, "val", meta, None, wrong)


def test_by_what_is_in_the_folder(images: Path, meta: Path, tmp_path: Path, datasets: Path) -> None:
    """Two arguments alone are both forms'."""
    shutil.copytree(meta, datasets / "ilsvrc_metadata")
    assert names(ILSVRC12(images, "val")) == VAL and ILSVRC12(images, "val").shuffle is False
    assert len(ILSVRC12(images, "test")) == len(TEST)
    own = own_layout(tmp_path / "own")
    assert names(ILSVRC12(own, "val")) == VAL and ILSVRC12(own, "val").shuffle is True
    assert names(ILSVRC12(own, "train", False)) == IN_TRAIN
    for split in ("test", "other"):
        with pytest.raises(df.ConfigError, match=f"split='{split}' must be"):
            ILSVRC12(own, split)
    with pytest.raises(df.MissingData, match="nowhere is not a folder; expected are"):
        ILSVRC12(tmp_path / "nowhere", "train")


def test_folders_of_classes_need_no_lists(images: Path, meta: Path, datasets: Path) -> None:
    """Both forms deliver the same."""
    ds = ILSVRC12(images, "train")
    assert names(ds) == IN_TRAIN and ds.shuffle is True and not datasets.exists()
    assert ds.imglist == ILSVRC12(images, "train", meta).imglist
    assert [str(path) for path, _ in ds.datapoints] == [
        path for path, _ in ILSVRC12(images, "train", meta).datapoints
    ]


def test_a_part_of_the_classes_is_not_guessed(meta: Path, tmp_path: Path, datasets: Path) -> None:
    """A label may be a rank among those that are there, or the place in the list."""
    folder = ilsvrc(tmp_path / "part")
    shutil.rmtree(folder / "train" / SYNSETS[0])
    assert {label for _, label in ILSVRC12(folder, "train").datapoints} == {0, 1}, "no list"
    shutil.copytree(meta, datasets / "ilsvrc_metadata")
    with pytest.raises(df.ConfigError, match=r"has 2 of the 3 classes.*location=….*dir=…"):
        ILSVRC12(folder, "train")
    ds = ILSVRC12(location=folder, split="train")
    assert {label for _, label in ds.datapoints} == {0, 1}
    (folder / "train/other-class").mkdir()  # in no list: tensorpack's form cannot be meant
    assert len(ILSVRC12(folder, "train")) == 4


def test_both_layouts_in_one_folder_are_not_guessed(meta: Path, tmp_path: Path) -> None:
    folder = ilsvrc(own_layout(tmp_path / "both"))
    for split in ("train", "val"):
        with pytest.raises(df.ConfigError, match=r"has both .*CLS-LOC.*location=….*dir=…"):
            ILSVRC12(folder, split)
    assert "/Data/" in ILSVRC12(location=folder, split="val").datapoints[0][0]
    assert "/Data/" in ILSVRC12(folder, "valid").datapoints[0][0]
    assert "/Data/" in ILSVRC12(folder, "train", True).datapoints[0][0]
    for ds in (ILSVRC12(dir=folder, name="val", meta_dir=meta), ILSVRC12(folder, "val", meta)):
        assert "/Data/" not in ds.datapoints[0][0]


@pytest.mark.parametrize(
    ("positional", "named"),
    [
        (("a", "train"), {"location": "b"}),
        (("a", "train"), {"dir": "b"}),
        (("a", "train"), {"name": "val"}),
        (("a", "train", True), {"meta_dir": "m"}),
        (("a", "train", "m"), {"split": "val"}),
        (("a", "train", "m"), {"meta_dir": "n"}),
        (("a", "train", True), {"shuffle": True}),
        (("a", "train", "m", True), {"shuffle": True}),
        (("a", "train", True, True), {}),
        (("a", "train", "m", None, None, None), {}),
        (("a",), {"dir_structure": "train"}),
        ((), {"location": "a", "name": "val"}),
        ((), {"dir": "a", "train_or_valid": "val"}),
        ((), {"dir": "a"}),
    ],
)
def test_arguments_of_no_form(positional: tuple, named: dict) -> None:
    with pytest.raises(TypeError):
        ILSVRC12(*positional, **named)
