"""Tensorcom's programs under their own names."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dataflow.cli import tensorcom
from dataflow.cli.main import _parser

Command = Callable[[Sequence[str] | None], int]

# What is typed, and which command it is now.
NEWER: list[tuple[Command, str, str]] = [
    (tensorcom.mon, "", "monitor zsub://127.0.0.1:7880"),
    (tensorcom.mon, "-R -r 20 -c 3 zsub://h:1 zsub://h:2", "monitor zsub://h:1 zsub://h:2 -c 3"),
    (tensorcom.show, "", "show zsub://127.0.0.1:788{0..3} --rows 1 --columns 1"),
    (
        *(tensorcom.show, "zsub://h:1 -b -m img2img -B 4 -C names.json -t 2"),
        "show zsub://h:1 --rows 1 --columns 4 --classes names.json --unbatched",
    ),
    (tensorcom.stat, "", "stat zsub://127.0.0.1:7880 -c 20"),
    (tensorcom.stat, "zsub://h:1 -b -c 5", "stat zsub://h:1 -c 5"),
    (
        *(tensorcom.serve_imagenet_dir, "-d /data -b 8 -w 3 -S -r 5"),
        "serve zpub://127.0.0.1:7880 -d /data --epochs 1 --no-shuffle -b 8 --procs 3",
    ),
    (
        *(tensorcom.serve_imagenet_dir, "zpush://h:1 -P 2"),
        "serve zpush://h:1 -d ./imagenet --epochs 1 -b 32 --procs 2",
    ),
    (
        *(tensorcom.serve_imagenet_shards, "-u a-{0..3}.tar zpub://h:1 -N 2"),
        "serve zpub://h:1 --shards a-{0..3}.tar --augment none --no-shuffle -b 32 --procs 2",
    ),
    (
        *(tensorcom.serve_imagenet_shards, "-u a.tar -S -p 2"),
        "serve zpub://127.0.0.1:7880 --shards a.tar --augment none -b 32 --procs 2",
    ),
]


@pytest.mark.parametrize(("command", "typed", "newer"), NEWER)
def test_each_is_a_newer_command(
    command: Command,
    typed: str,
    newer: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words: list[str] = []
    monkeypatch.setattr(tensorcom, "main", lambda argv: words.extend(argv) or 7)
    assert command(typed.split()) == 7, "its exit status"
    parser = _parser()
    found, wanted = (vars(parser.parse_args(argv)) for argv in (words, newer.split()))
    different = {
        key for key in wanted if key not in ("run", "parser") and found[key] != wanted[key]
    }
    assert not different
    said = capsys.readouterr().err
    assert " is `dataflow " in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "typed", "said"),
    [
        (tensorcom.serve_imagenet_dir, "-n", "batch_transforms"),
        (tensorcom.serve_imagenet_dir, "-B", "bench/transport.py"),
        (tensorcom.serve_imagenet_shards, "", "-u/--url"),
        (tensorcom.show, "-m other", "imgclass"),
        (tensorcom.show, "--picture a.png", "see tensorshow --help"),
    ],
)
def test_what_is_no_more_is_said(
    command: Command, typed: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        command(typed.split())
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_they_are_installed() -> None:
    scripts = importlib.metadata.entry_points(group="console_scripts")
    names = ["serve-imagenet-dir", "serve-imagenet-shards", "tensormon", "tensorshow", "tensorstat"]
    for name in names:
        (script,) = [
            one for one in scripts if one.name == name and one.value.startswith("dataflow")
        ]
        assert callable(script.load())


def test_one_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert tensorcom.serve_imagenet_dir(["-d", str(tmp_path), "-w", "1"]) == 2
    said = capfd.readouterr().err
    assert (
        "serve-imagenet-dir is `dataflow serve" in said and "has no images in sub-folders" in said
    )
