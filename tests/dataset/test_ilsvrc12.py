"""ImageNet's challenge: its layout in a folder and behind a web server."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, ok

import dataflow as df
from dataflow.dataset import ILSVRC12, ILSVRC12Local
from dataflow.demo.server import serve

from .conftest import encoded, index_of

SYNSETS = ["n01440764", "n01443537", "n02084071", "n15075141"]
# (synset, number of the image, which of the pictures it is)
TRAIN = [(SYNSETS[i % 4], i, i) for i in (3, 0, 2, 5, 1, 4, 7, 6)]
VALID = [(SYNSETS[i], n, 10 + n) for n, i in enumerate([2, 0, 3, 1, 2], start=1)]


def layout(root: Path, *, labels: str = "csv in base") -> Path:
    """A small copy of the distribution; returns its base."""
    base = root / "ILSVRC"
    lists = base / "ImageSets/CLS-LOC"
    lists.mkdir(parents=True)
    lines = []
    for number, (synset, name, picture) in enumerate(TRAIN, start=1):
        file = base / f"Data/CLS-LOC/train/{synset}/{synset}_{name}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(picture))
        lines.append(f"{synset}/{synset}_{name} {number}\n")
    (lists / "train_cls.txt").write_text("".join(lines))
    rows = ["ImageId,PredictionString\n"]
    annotations = base / "Annotations/CLS-LOC/val"
    for synset, number, picture in VALID:
        name = f"ILSVRC2012_val_{number:08d}"
        file = base / f"Data/CLS-LOC/val/{name}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(picture))
        rows.insert(1, f"{name},{synset} 10 20 30 40 {synset} 1 2 3 4 \n")  # not sorted
        if labels == "xml":
            annotations.mkdir(parents=True, exist_ok=True)
            (annotations / f"{name}.xml").write_text(
                f"<annotation><folder>val</folder><object><name>{synset}</name></object>"
                f"<object><name>{synset}</name></object></annotation>"
            )
    if labels == "csv in base":
        (base / "LOC_val_solution.csv").write_text("".join(rows))
    elif labels == "csv beside base":
        (root / "LOC_val_solution.csv").write_text("".join(rows))
    return base


def found(ds) -> list[tuple[int, int]]:
    return [(index_of(image), label) for image, label in ds]


IN_TRAIN = [(picture, SYNSETS.index(synset)) for synset, _, picture in TRAIN]
IN_VALID = [(picture, SYNSETS.index(synset)) for synset, _, picture in VALID]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Listings are kept here."""
    place = tmp_path / "cache"
    monkeypatch.setenv("DATAFLOW_CACHE", str(place))
    return place


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layout(tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="session")
def root_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("web")
    layout(root / "code-1", labels="csv in base")
    layout(root / "code-2", labels="csv beside base")
    layout(root / "bare", labels="none")
    with serve(root) as url:
        yield url


# -- in a folder ------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [ILSVRC12, ILSVRC12Local])
@pytest.mark.parametrize("kind", [str, Path, lambda path: f"{path}/"])
def test_a_folder(cls, kind, local: Path) -> None:
    with cls(kind(local), "train", shuffle=False) as ds:
        assert len(ds) == ds.size() == 8
        assert ds.synsets == SYNSETS
        assert found(ds) == IN_TRAIN
    with cls(kind(local), "valid", False) as ds:
        assert found(ds) == IN_VALID


@pytest.mark.parametrize("labels", ["csv in base", "csv beside base", "xml"])
def test_where_the_validation_labels_are(labels: str, tmp_path: Path) -> None:
    with ILSVRC12(layout(tmp_path, labels=labels), "valid", shuffle=False) as ds:
        assert found(ds) == IN_VALID


@pytest.mark.parametrize("place", ["Data/CLS-LOC/train", "train"])
def test_class_folders_without_a_list(place: str, tmp_path: Path) -> None:
    base = layout(tmp_path)
    (base / "ImageSets/CLS-LOC/train_cls.txt").unlink()
    if place == "train":
        shutil.move(base / "Data/CLS-LOC/train", base / "train")
    with ILSVRC12(base, "train", shuffle=False) as ds:
        assert Counter(found(ds)) == Counter(IN_TRAIN)
        assert [label for _, label in ds.datapoints] == sorted(label for _, label in IN_TRAIN)


def test_labels_are_ranks_among_all_classes_even_where_few_are_in_the_split(tmp_path: Path) -> None:
    base = layout(tmp_path)
    rows = (base / "LOC_val_solution.csv").read_text().splitlines(True)
    kept = [row for row in rows if row.startswith("ImageId") or SYNSETS[3] in row]
    (base / "LOC_val_solution.csv").write_text("".join(kept))
    with ILSVRC12(base, "valid") as ds:
        assert [label for _, label in ds.datapoints] == [3]


def test_a_folder_in_parallel_and_in_processes(local: Path) -> None:
    with ILSVRC12(local, "train").parallel(num_threads=16) as ds:
        assert Counter(found(ds)) == Counter(IN_TRAIN)
    with df.PrefetchDataZMQ(ILSVRC12(local, "train").parallel(4), 2) as ds:
        assert Counter(found(ds)) == Counter(IN_TRAIN)
        assert [row["name"] for row in ds.stats()["stages"]][:2] == ["ReadFile", "Decode"]


# -- behind a web server ----------------------------------------------------------------------


def test_a_base_url(root_url: str) -> None:
    for url in (f"{root_url}/code-1/ILSVRC", f"{root_url}/code-1/ILSVRC/"):
        with ILSVRC12(url, "train", shuffle=False) as ds:
            assert found(ds) == IN_TRAIN
            assert ds.datapoints[0][0].startswith(f"{root_url}/code-1/ILSVRC/Data/CLS-LOC/train/n")
        with ILSVRC12(url, "valid", shuffle=False) as ds:
            assert found(ds) == IN_VALID


def test_validation_labels_beside_the_base_url(root_url: str) -> None:
    with ILSVRC12(f"{root_url}/code-2/ILSVRC", "valid", shuffle=False) as ds:
        assert found(ds) == IN_VALID


def test_a_service_code(root_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_ILSVRC_URL", f"{root_url}/{{}}/ILSVRC/")
    with ILSVRC12("code-1", "train").parallel(num_threads=4) as ds:
        assert Counter(found(ds)) == Counter(IN_TRAIN)
    with ILSVRC12("code-2", "valid") as ds:
        assert Counter(found(ds)) == Counter(IN_VALID)


def test_listings_are_fetched_once_and_kept(tmp_path: Path, cache: Path) -> None:
    with Server() as server:
        listing = "".join(f"{synset}/{synset}_{name} 1\n" for synset, name, _ in TRAIN).encode()
        server.routes["/ImageSets/CLS-LOC/train_cls.txt"] = ok(listing, "text/plain")
        points = [ILSVRC12(server.url(""), "train").datapoints for _ in range(3)]
        assert points[0] == points[1] == points[2]
        assert server.requests == {"/ImageSets/CLS-LOC/train_cls.txt": 1}
        url = server.url("")
    assert ILSVRC12(url, "train").datapoints == points[0], "the server is gone"
    assert [file.read_bytes() for file in (cache / "listings").iterdir()] == [listing]
    with pytest.raises(df.MissingData):
        ILSVRC12(url, "valid")


def test_a_page_instead_of_a_listing_is_no_listing(cache: Path) -> None:
    """Many servers answer everything with a page; that must not be kept as the list."""
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>\n"
    with Server() as server:
        for path in ("/ImageSets/CLS-LOC/train_cls.txt", "/LOC_val_solution.csv"):
            server.routes[path] = ok(page, "text/html")
        for split, file in (("train", "train_cls.txt"), ("valid", "LOC_val_solution.csv")):
            with pytest.raises(df.MissingData, match=file):
                ILSVRC12(server.url(""), split)
        listing = f"{SYNSETS[0]}/{SYNSETS[0]}_1 1\n".encode()
        server.routes["/ImageSets/CLS-LOC/train_cls.txt"] = ok(listing, "text/plain")
        assert len(ILSVRC12(server.url(""), "train")) == 1


@pytest.mark.parametrize("text", ["", "ImageId,PredictionString\n", "a,b\nname\n", "a,b\nname,\n"])
def test_a_broken_table_of_labels(text: str, tmp_path: Path) -> None:
    base = layout(tmp_path)
    (base / "LOC_val_solution.csv").write_text(text)
    with pytest.raises(df.MissingData, match=r"LOC_val_solution\.csv"):
        ILSVRC12(base, "valid")


# -- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size"),
    [("train", 8), ("training", 8), ("valid", 5), ("validation", 5), ("val", 5)],
)
def test_names_of_splits(name: str, size: int, local: Path) -> None:
    assert len(ILSVRC12(local, name)) == len(ILSVRC12Local(local, name)) == size


@pytest.mark.parametrize("name", ["test", "Train", ""])
def test_other_splits_are_refused(name: str, local: Path) -> None:
    for cls in (ILSVRC12, ILSVRC12Local):
        with pytest.raises(ValueError, match=f"split={name!r}.*'train' or 'valid'"):
            cls(local, name)


def test_positions_and_older_names(local: Path) -> None:
    expected = ILSVRC12(local, "train", False).datapoints
    for make in (
        lambda: ILSVRC12(service_code=local, train_or_valid="train", shuffle=False),
        lambda: ILSVRC12(local, train_or_valid="training", shuffle=False),
        lambda: ILSVRC12(location=local, split="train", shuffle=False),
        lambda: ILSVRC12Local(local, "train", False),
        lambda: ILSVRC12Local(local, train_or_valid="train", shuffle=False),
    ):
        ds = make()
        assert ds.datapoints == expected and ds.shuffle is False


def test_it_shuffles_by_default(local: Path) -> None:
    for cls in (ILSVRC12, ILSVRC12Local):
        ds = cls(local, "train")
        assert ds.shuffle is True
        assert cls(local, "train", seed=3)._seed_of_chain() == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"location": "a"}, {"split": "train"}, {"split": "train", "train_or_valid": "train"}],
)
def test_missing_and_doubled_arguments(arguments, local: Path) -> None:
    with pytest.raises(TypeError):
        ILSVRC12(**arguments)
    with pytest.raises(TypeError, match="location and service_code"):
        ILSVRC12(local, "train", service_code="b")


# -- what is missing --------------------------------------------------------------------------


def test_missing_lists_are_named_with_where_to_get_them(tmp_path: Path, root_url: str) -> None:
    (tmp_path / "empty").mkdir()
    for make, names in (
        (lambda: ILSVRC12(tmp_path / "empty", "train"), ["train_cls.txt", "empty"]),
        (
            lambda: ILSVRC12(tmp_path / "empty", "valid"),
            ["LOC_val_solution.csv", "Annotations/CLS-LOC/val"],
        ),
        (lambda: ILSVRC12(f"{root_url}/none", "train"), ["train_cls.txt", f"{root_url}/none"]),
        (
            lambda: ILSVRC12(f"{root_url}/bare/ILSVRC", "valid"),
            [f"{root_url}/bare/ILSVRC/LOC_val_solution.csv", "http_404"],
        ),
    ):
        with pytest.raises(df.MissingData) as caught:
            make()
        assert isinstance(caught.value, FileNotFoundError)
        for name in [*names, "image-net.org", "kaggle.com"]:
            assert name in str(caught.value)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(df.MissingData, match="is not a folder"):
        ILSVRC12(tmp_path / "none", "train")
    with pytest.raises(df.MissingData, match=r"is not a folder.*image-net\.org"):
        ILSVRC12Local("none", "train")


def test_a_synset_that_no_folder_has(tmp_path: Path) -> None:
    base = layout(tmp_path)
    with (base / "ImageSets/CLS-LOC/train_cls.txt").open("a") as file:
        file.write("n99999999/n99999999_1 9\n")
    with pytest.raises(df.MissingData, match="n99999999"):
        ILSVRC12(base, "train")


@pytest.mark.parametrize("text", ["<annotation>", "<annotation></annotation>"])
def test_a_broken_annotation(text: str, tmp_path: Path) -> None:
    base = layout(tmp_path, labels="xml")
    broken = sorted((base / "Annotations/CLS-LOC/val").iterdir())[2]
    broken.write_text(text)
    with pytest.raises(df.MissingData, match=broken.name):
        ILSVRC12(base, "valid")


def test_a_missing_image_is_a_failed_datapoint(tmp_path: Path) -> None:
    base = layout(tmp_path)
    (base / "Data/CLS-LOC/val/ILSVRC2012_val_00000002.JPEG").unlink()
    with ILSVRC12(base, "valid", False) as ds:
        assert found(ds) == [IN_VALID[0], *IN_VALID[2:]]
        assert ds.stats()["errors"] == {"not_found": 1}
