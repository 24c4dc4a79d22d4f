"""Each example runs as it is, on little data."""

from __future__ import annotations

import ast
import itertools
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from optional import library
from patience import patient
from published import cifar10, idx, write

from dataflow.demo.photos import ensure_photos, photo_path
from dataflow.demo.server import serve

ROOT = Path(__file__).parents[2]
# Those of frameworks, which take long to import, are run by `test_frameworks`.
EXAMPLES = sorted(
    {*(ROOT / "examples").rglob("*.py")} - {*(ROOT / "examples").glob("frameworks/*")}
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demos find their photos: small ones, so that nothing needs to be drawn."""
    cache = tmp_path_factory.mktemp("cache")
    photos = cache / "photos-2"
    rng = np.random.default_rng(0)
    for index in range(100):
        path = photos / photo_path(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (60, 80, 3), np.uint8))
    assert ensure_photos(100, folder=photos, progress=False) == photos
    return cache


def run(
    name: str, *words: object, cache: Path, folder: Path, status: int = 0, **env: str
) -> tuple[str, str]:
    """Run an example in a folder; returns what it printed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    here = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, words)],
        env={**here, "PYTHONPATH": path, "DATAFLOW_CACHE": str(cache), **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patient(90),
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def test_network_images_demo(cache: Path, tmp_path: Path) -> None:
    out, _ = run("network_images.py", "--demo", "--threads", 8, cache=cache, folder=tmp_path)
    lines = out.splitlines()
    assert lines[0].startswith("(64, 224, 224, 3) uint8 [")
    assert lines[1].startswith("(36, 224, 224, 3) uint8 [")
    assert lines[2] == "failed: none"
    assert "holds the run back" in lines[3]


def test_network_images_of_a_list(cache: Path, tmp_path: Path) -> None:
    with serve(cache / "photos-2") as base:
        lines = [f"{base}/{photo_path(i)} {i}\n" for i in range(20)]
        (tmp_path / "urls.txt").write_text("".join([*lines, "\n", f"{base}/none.jpg 99\n"]))
        words = ("urls.txt", "--procs", 1, "--batch", 10)
        out, _ = run("network_images.py", *words, cache=cache, folder=tmp_path)
    assert out.count("(10, 224, 224, 3) uint8") == 2
    assert "failed: {'http_404': 1}" in out


@pytest.mark.parametrize("words", [["--demo"], ["--demo", "--augment", "--process", "1"]])
def test_ilsvrc12_demo(words: list[str], cache: Path, tmp_path: Path) -> None:
    out, err = run("ilsvrc12.py", *words, "--size", 60, cache=cache, folder=tmp_path)
    assert "60/60" in err
    assert "holds the run back" in out


def test_ilsvrc12_view_without_a_display(cache: Path, tmp_path: Path) -> None:
    run("ilsvrc12.py", "--demo", "--view", cache=cache, folder=tmp_path)
    first = min((cache / "photos-2").iterdir())
    shown = list((tmp_path / "viewer/label-0").glob("*.png"))
    assert len(shown) == len(list(first.iterdir())) > 0


def test_ilsvrc12_of_a_url_and_of_a_service_code(cache: Path, tmp_path: Path) -> None:
    base = tmp_path / "web/code"
    (base / "ImageSets/CLS-LOC").mkdir(parents=True)
    names = []
    for index in range(12):
        name = f"n{index % 3:08d}/n{index % 3:08d}_{index}"
        path = base / f"Data/CLS-LOC/train/{name}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((cache / "photos-2" / photo_path(index)).read_bytes())
        names.append(f"{name} {index + 1}\n")
    (base / "ImageSets/CLS-LOC/train_cls.txt").write_text("".join(names))
    with serve(tmp_path / "web") as url:
        template = {"DATAFLOW_ILSVRC_URL": f"{url}/{{}}/"}
        for location in (f"{url}/code", "code", str(base)):
            words = ("ilsvrc12.py", location, "--process", 1)
            _, err = run(*words, cache=tmp_path / "cache", folder=tmp_path, **template)
            assert "12/5000" in err


def test_custom_source(cache: Path, tmp_path: Path) -> None:
    runs = [run("custom_source.py", "--size", 200, cache=cache, folder=tmp_path) for _ in range(2)]
    assert runs[0] == runs[1], "the seed decides"
    out, err = runs[0]
    assert err == ""
    assert out.startswith("drawn by 2 processes\nskipped 49: ")
    assert out.endswith("failed: {'ValueError': 4}\n")


@pytest.mark.parametrize("name", ["network_images.py", "ilsvrc12.py"])
def test_no_input_is_a_clear_error(name: str, cache: Path, tmp_path: Path) -> None:
    for words in ((), ("x", "--demo")):
        _, err = run(name, *words, cache=cache, folder=tmp_path, status=2)
        assert "--demo" in err.splitlines()[-1] and "Traceback" not in err


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_is_short_and_says_how_to_run_it(path: Path, cache: Path, tmp_path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    for framework in ("jax", "tensorflow", "torch"):
        if f"import {framework}" in text:
            library(framework)
    name = path.relative_to(ROOT / "examples").as_posix()
    assert f"python examples/{name}" in (ast.get_docstring(ast.parse(text)) or "")
    out, _ = run(name, "--help", cache=cache, folder=tmp_path)
    assert "usage:" in out


def test_resume(cache: Path, tmp_path: Path) -> None:
    whole, _ = run("resume.py", cache=cache, folder=tmp_path)
    begun, _ = run("resume.py", "--stop-after", 5, cache=cache, folder=tmp_path)
    rest, _ = run("resume.py", "--procs", 3, cache=cache, folder=tmp_path)
    lines = rest.splitlines()
    assert lines[0] == "going on where the last run was" and lines[-1] == "the epoch is complete"
    assert begun.splitlines() + lines[1:] == whole.splitlines()
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of MNIST, with drawn digits."""
    folder = tmp_path_factory.mktemp("mnist")
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 1280), ("t10k", 200)):
        images, labels = np.zeros((count, 28, 28), np.uint8), rng.integers(0, 10, count, np.uint8)
        for image, label, (x, y) in zip(
            images, labels, rng.integers(0, 8, (count, 2)), strict=True
        ):
            cv2.putText(image, str(label), (int(x), 20 + int(y)), 0, 0.8, 255, 2)
        write(folder, {f"{prefix}-images-idx3-ubyte.gz": idx(images)})
        write(folder, {f"{prefix}-labels-idx1-ubyte.gz": idx(labels)})
    return folder


def test_mnist(digits: Path, cache: Path, tmp_path: Path) -> None:
    out, _ = run("mnist.py", "--dir", digits, cache=cache, folder=tmp_path)
    assert out.startswith("images (64, 28, 28) float32, labels uint8: mnist.png\n")
    assert "holds the run back" in out
    sheet = cv2.imread(str(tmp_path / "mnist.png"))
    assert sheet.shape[1] > 500
    assert (sheet == 255).sum() > 1000, "the strokes are to be seen"


def test_cifar10(cache: Path, tmp_path: Path) -> None:
    write(tmp_path, cifar10(20))
    out, _ = run("cifar10.py", "--dir", tmp_path, cache=cache, folder=tmp_path)
    assert out.startswith("images (64, 32, 32, 3) float32, labels int64: cifar10.png\n")
    assert (tmp_path / "cifar10.png").exists()


def test_viewimage_without_a_display(cache: Path, tmp_path: Path) -> None:
    photos = cache / "photos-2"
    out, _ = run("viewimage.py", photos, "--count", 10, cache=cache, folder=tmp_path)
    assert out == "no display: 10 images of 100 in images.png\n"
    out, _ = run("viewimage.py", photos, "--label", 0, cache=cache, folder=tmp_path)
    first = len(list(min(photos.iterdir()).iterdir()))
    assert out == f"no display: {first} images of 100 in images.png\n"
    assert cv2.imread(str(tmp_path / "images.png")) is not None


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of photographs; those of one are a class. Every fourth is kept for the test."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    for name in ("hubble_deep_field", "chelsea", "coffee", "brick", "grass"):
        photo = getattr(data, name)()
        colours = cv2.COLOR_RGB2BGR if photo.ndim == 3 else cv2.COLOR_GRAY2BGR
        photo = cv2.resize(cv2.cvtColor(photo, colours), (640, 640))
        for row, column in itertools.product(range(10), repeat=2):
            tile = photo[64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
            part = "val" if row % 2 and column % 2 else "train"
            path = folder / part / name / f"{row}{column}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), tile)
    return folder


def test_training_on_photos(photos: Path, cache: Path, tmp_path: Path) -> None:
    """Real training on real photographs: 9 of 10 tiles that it has not seen are told apart."""
    library("torch")
    words = ("pytorch_photos.py", photos, "--epochs", 20)
    out, _ = run(*words, cache=cache, folder=tmp_path)
    assert float(out.splitlines()[-1].removeprefix("accuracy ")) > 0.9


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_training_on_mnist(framework: str, digits: Path, cache: Path, tmp_path: Path) -> None:
    """Real training: the digits are recognised at the end."""
    library(framework)
    name = f"{framework.replace('torch', 'pytorch')}_mnist.py"
    out, _ = run(name, "--dir", digits, "--epochs", 4, cache=cache, folder=tmp_path)
    assert float(out.splitlines()[-1].removeprefix("accuracy ")) > 0.9


def test_two_machines(cache: Path, tmp_path: Path) -> None:
    """Two preprocessors and a trainer, with keys, on this one."""
    from dataflow.transport.keys import make_keys

    make_keys(tmp_path / "keys")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    words = (address, "--keys", tmp_path / "keys")
    with ThreadPoolExecutor() as pool:
        preprocessor = ("distributed/preprocessor.py", *words, "--size", 70)
        senders = [pool.submit(run, *preprocessor, cache=cache, folder=tmp_path) for _ in "12"]
        trainer = ("distributed/trainer.py", *words, "--senders", 2)
        out, err = run(*trainer, cache=cache, folder=tmp_path)
        assert (out, err) == (
            "epoch 0: 140 images, 70 of them discs\nepoch 1: 140 images, 70 of them discs\n",
            "",
        )
        for sender in senders:
            assert sender.result() == ("sent 6 batches, 1.7 MB\n", "")


def test_a_pool_of_machines(cache: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    command = ["dataflow", "worker", "pooled:flow", address, "--procs", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT / "examples" / "distributed",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    ) as worker:
        try:
            out, err = run("distributed/pooled.py", address, cache=cache, folder=tmp_path)
        finally:
            worker.terminate()
        worker.communicate(timeout=patient(20))
    # It says so where the worker takes its time to come up.
    said = [line for line in err.splitlines() if not line.startswith("waiting for a worker at ")]
    assert (out, said) == (
        "epoch 0: 1000 images, 500 of them discs\nepoch 1: 1000 images, 500 of them discs\n",
        [],
    )


def test_streams_of_images(cache: Path, tmp_path: Path) -> None:
    """Twice the same, as the seed is."""
    photos = cache / "photos-2"
    folder = photos / min(photos.iterdir())
    pictures = {}
    for name in ("birds", "aligned"):
        for place in ("one", "two"):
            (tmp_path / place).mkdir(exist_ok=True)
            words = () if name == "aligned" else (folder,)
            run(f"streams/{name}.py", *words, cache=cache, folder=tmp_path / place)
            pictures[place] = cv2.imread(str(tmp_path / place / f"{name}.png"))
        assert pictures["one"].shape[1] > 900
        assert np.array_equal(pictures["one"], pictures["two"])
    assert "piecewise_affine(5, 4)" in (tmp_path / "one/birds.svg").read_text()
    cv2.imwrite(str(tmp_path / "large.png"), np.full((300, 300, 3), (0, 0, 250), np.uint8))
    run("streams/patches.py", tmp_path, cache=cache, folder=tmp_path)
    assert (cv2.imread(str(tmp_path / "patches.png")) == (0, 0, 250)).all(axis=2).mean() > 0.8


def test_streams_of_numbers_and_data_sets(digits: Path, cache: Path, tmp_path: Path) -> None:
    out, _ = run("streams/simple.py", cache=cache, folder=tmp_path)
    assert len(out.split()) == 10 and set(out.split()) <= set("123456789")
    out, _ = run("streams/mnist.py", "--dir", digits, cache=cache, folder=tmp_path)
    assert len(set(out.split()[1:])) > 5
    sheet = cv2.imread(str(tmp_path / "digits.png"))
    assert (sheet == 255).sum() > 1000, "the strokes are to be seen"
    write(tmp_path, cifar10(20))
    run("streams/cifar.py", "--dir", tmp_path, cache=cache, folder=tmp_path)
    assert cv2.imread(str(tmp_path / "cifar.png")).shape[1] > 600
