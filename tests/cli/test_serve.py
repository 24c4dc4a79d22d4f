"""``dataflow serve`` as a command, and who listens to it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pytest
from optional import library
from patience import patient
from tensorcom_peer import peer

import dataflow as df
from dataflow.cli.batches import folder_images
from dataflow.cli.main import main

skimage = library("skimage")
Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
Start: TypeAlias = "Callable[..., subprocess.Popen[str]]"

PHOTOS = ("chelsea.png", "rocket.jpg")
EACH = 5

FLOWS = """
import numpy as np
import dataflow as df

def flow():
    return df.DataFromList([[np.full((2, 3), i, "u1"), i] for i in range(8)], shuffle=False)

def wide():
    return df.DataFromList([[np.zeros(2)]])

def empty():
    return df.DataFromList([])
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of parts of two photographs, and a broken file."""
    folder = tmp_path_factory.mktemp("images")
    for label, name in enumerate(PHOTOS):
        photo = cv2.imread(str(Path(skimage.__file__).parent / "data" / name))
        (folder / f"train/{label}").mkdir(parents=True)
        (folder / f"val/{label}").mkdir(parents=True)
        for i in range(EACH):
            part = cv2.resize(photo, (90 + i, 70))
            cv2.imwrite(str(folder / f"train/{label}/{i}.jpg"), part)
    (folder / "train/1/broken.jpg").write_bytes(b"<html>")
    return folder


@pytest.fixture(scope="module")
def shards(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images, a class a shard."""
    folder = tmp_path_factory.mktemp("shards")
    for label in range(2):
        (folder / "label").write_text(str(label))
        with tarfile.open(folder / f"{label}.tar", "w") as tar:
            for path in sorted((images / f"train/{label}").iterdir()):
                tar.add(path, path.name)
                tar.add(folder / "label", f"{path.stem}.cls")
    return folder


def ports(number: int) -> list[int]:
    """Free ones."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [one.getsockname()[1] for one in listening]
    for one in listening:
        one.close()
    return found


def check(batch: Any, size: int, dtype: Any = np.int32) -> list[int]:
    """The labels of a batch, after a look whether the images are of them."""
    xs, ys = batch
    assert (xs.dtype, ys.dtype) == (np.uint8, dtype)
    assert xs.shape == (len(ys), size, size, 3)
    for image, label in zip(xs, ys, strict=True):
        middle = image.mean(axis=(0, 1))
        assert (middle[0] > middle[2]) == (label == 0), "red is first"
    return [int(label) for label in ys]


def test_two_jobs_of_tensorcom_share_a_server(start: Start, images: Path) -> None:
    one, other = ports(2)
    words = ("-d", images, "-b", 4, "--size", 32, "--augment", "center", "--procs", 1)
    urls = (f"zpub://127.0.0.1:{{{one},{other}}}", "zpub+ipc://jobs")
    with peer() as their:
        server = start("serve", *words, *urls)
        their.begin(
            """
jobs = [Connection(url) for _ in range(2)]
result = [told(job.recv()) for job in jobs for _ in range(6)]
""",
            url=f"zsub://127.0.0.1:{{{one},{other}}}",
        )
        with df.Connection(f"zsub://127.0.0.1:{one}", timeout=60) as ours:
            mine = [ours.recv() for _ in range(3)]
        theirs = their.end()
    server.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = server.communicate(timeout=patient(20))
    assert server.returncode == 130 and time.monotonic() - begun < patient(5)
    assert "Traceback" not in err and "11 images of 2 classes on zpub://127.0.0.1" in err
    assert "MB/s" in err
    for rows in theirs:
        arrays = [
            np.frombuffer(bytes.fromhex(text), dtype).reshape(shape) for dtype, shape, text in rows
        ]
        mine.append(arrays)
    assert {label for batch in mine for label in check(batch, 32)} == {0, 1}
    assert {len(xs) for xs, _ in mine} <= {4, 2}, "two are left of ten"
    assert len({bytes(xs) for xs, _ in mine}) > 5


@pytest.mark.parametrize("parts", [(), ("train",), ("train", "val")])
def test_the_folder_of_the_classes_is_found(parts: tuple[str, ...], tmp_path: Path) -> None:
    """Otherwise all images would be of one class, `train`."""
    for part in parts or ("",):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / part / name / "0.png"), np.zeros((8, 8, 3), "u1"))
    assert folder_images(tmp_path, shuffle=False).classes == ["cat", "dog"]


def test_two_jobs_get_every_batch_of_shards(start: Start, run: Run, shards: Path) -> None:
    assert run("keys", shards / "keys").returncode == 0
    (port,) = ports(1)
    url, keys = f"tcp://127.0.0.1:{port}", shards / "keys"
    words = ("--shards", shards / "{0..1}.tar", "-b", 4, "--size", 32, "--seed", 3)
    more = ("--procs", 2, "--threads", 2, "--epochs", 2, "--keys", keys, "--receivers", 2)
    server = start("serve", *words, *more, url)

    def job(_: int) -> list[Any]:
        with df.receive(url, bind=False, keys=keys, timeout=60) as ds:
            return [list(ds) for _ in range(2)]

    with ThreadPoolExecutor(2) as jobs:
        mine, others = jobs.map(job, range(2))
    out, err = server.communicate(timeout=patient(20))
    assert (server.returncode, out) == (0, "") and "Traceback" not in err
    assert "11 images of 2 shards" in err and "20/22" in err and "2 left out" in err
    np.testing.assert_equal(mine, others)
    epochs = [[label for batch in epoch for label in check(batch, 32, np.int64)] for epoch in mine]
    assert [[len(ys) for _, ys in epoch] for epoch in mine] == [[4, 4, 2]] * 2
    assert [sorted(epoch) for epoch in epochs] == [[0] * EACH + [1] * EACH] * 2
    assert epochs[0] != epochs[1], "shuffled"


def test_a_flow_of_ones_own(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    with df.Connection("zpull://127.0.0.1:*", timeout=60) as ours:
        url = ours.addresses[0].replace("tcp", "zpush")
        server = start("serve", "--pipeline", "flows:flow", "-b", 3, "--epochs", 2, url)
        found = [ours.recv() for _ in range(6)]
        assert server.communicate(timeout=patient(20))[0] == "" and server.returncode == 0
    assert [ys.tolist() for _, ys in found] == [[0, 1, 2], [3, 4, 5], [6, 7]] * 2
    assert [xs[:, 0, 0].tolist() for xs, _ in found] == [ys.tolist() for _, ys in found]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "one of the arguments -d/--imagenet-dir --shards --pipeline is required"),
        ("-d images --shards x", "not allowed with argument"),
        ("-d nothing zpub://127.0.0.1:*", "nothing is not a folder"),
        ("--shards no.tar zpub://127.0.0.1:*", "no.tar is not there"),
        ("--shards flows.py zpub://127.0.0.1:*", "flows.py: this is no tar archive"),
        ("--shards ssh://b/x.tar zpub://127.0.0.1:*", "ssh://b/x.tar is no file, and no URL of"),
        ("-d images h:1", "url='h:1' is not SCHEME"),
        ("-d images zsub://h:1", "zsub://h:1 is for receiving: serve on zpub or zpush"),
        ("-d images tcp://127.0.0.1:1 zpub://h:1", "either tcp and ipc, or zpub and zpush"),
        ("-d images zpub://127.0.0.1:* zpush://h:1 --receivers 2", "--receivers is for tcp"),
        ("-d images tcp://0.0.0.0:*", "would let every host that reaches it connect"),
        ("-d images tcp://127.0.0.1:* --allow64", "--allow64 is for zpub and zpush"),
        ("-d images --keys k zpub://127.0.0.1:*", "--keys is for tcp and ipc, not for zpub"),
        ("-d images --cache c zpub://127.0.0.1:*", "--cache c is for --shards"),
        ("--pipeline flows:flow --size 3 --no-shuffle", "--size, --no-shuffle: not with"),
        ("--pipeline flows:none zpub://127.0.0.1:*", "flows:none: module 'flows' has no"),
        ("--pipeline flows:empty zpub://127.0.0.1:*", "the dataflow is empty"),
        ("--pipeline flows:wide zpub://127.0.0.1:*", "component 0: float64 needs allow64=True"),
        (
            "-d images --augment none --procs 1 --epochs 1 zpub://127.0.0.1:*",
            "--augment none is for images of one size: component 0 cannot be batched",
        ),
    ],
)
def test_mistakes(
    words: str,
    line: str,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "images").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "flows", raising=False)
    assert main(["serve", *words.split()]) in (1, 2)
    err = capsys.readouterr().err
    assert line in err and err.count("\ndataflow serve: ") + err.startswith("dataflow serve: ") == 1


def test_who_cannot_be_kept_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "flows", raising=False)
    words = ["serve", "--pipeline", "flows:flow", "--epochs", "1", "zpub://0.0.0.0:*"]
    assert main(words) == 0
    assert "lets every host that reaches it connect, and is not encrypted" in caplog.text
    caplog.clear()
    assert main([*words, "--insecure"]) == 0 and not caplog.text
