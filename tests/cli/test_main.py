"""The command line itself: help, version, and what a mistake looks like."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.cli.main import COMMANDS, main
from dataflow.version import __version__


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dataflow {__version__}\n"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command.split()[0] in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: dataflow {command}")
    module = importlib.import_module(f"dataflow.cli.{command.split()[-1]}")
    assert (module.__doc__ or "").partition("\n")[0] in out


@pytest.mark.parametrize("words", [[], ["bench"]])
def test_without_a_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("frob", "dataflow: argument COMMAND: invalid choice: 'frob'"),
        ("demo --frob", "dataflow demo: unknown: --frob"),
        ("demo --im 3", "dataflow demo: unknown: --im 3"),
        ("demo --images 0", "dataflow demo: argument --images: '0' is not a whole number"),
        ("demo --threads x", "dataflow demo: argument --threads: 'x' is not a whole number"),
        ("demo --urls a --dir b", "dataflow demo: argument --dir: not allowed with"),
        ("demo --urls nothing.txt", "dataflow demo: cannot read nothing.txt: No such file"),
        ("demo --dir nothing", "dataflow demo: nothing is not a folder"),
        ("demo --out file/x", "dataflow demo: cannot write to --out file"),
        ("bench grid --threads 1,,2", "dataflow bench grid: argument --threads: '' is not"),
        ("bench grid --latency-ms -1", "dataflow bench grid: argument --latency-ms: "),
        ("doctor more", "dataflow doctor: unknown: more"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: str,
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://a/1.jpg 1\n\n# remark\nhttp://x\n", "4: expected 'URL LABEL', got 'http://x'"),
        ("http://a/1.jpg 1 2", "1: expected 'URL LABEL', got 'http://a/1.jpg 1 2'"),
        ("http://a/1.jpg one", "1: expected an integer label, got 'one'"),
        ("a/1.jpg 1", "1: expected an http or https URL, got 'a/1.jpg'"),
        ("ftp://a/1.jpg 1", "1: expected an http or https URL, got 'ftp://a/1.jpg'"),
        ("\ufeffhttp://a 1\nhttp:// 1", "2: expected an http or https URL, got 'http://'"),
        ("# nothing\n\n", " no URLs in it"),
        (b"http://a 1\nhttp://\xff 1", "2: not UTF-8 text"),
    ],
)
def test_malformed_lines_are_named(
    text: str | bytes, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "urls.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["demo", "--urls", str(path)]) == 2
    assert capsys.readouterr().err == f"dataflow demo: {path}:{message}\n"


def test_light_at_the_start() -> None:
    """What `--help` needs does not import what only the work needs."""
    code = "import sys, dataflow.cli.main as m; m.main(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"matplotlib", "tabulate", "tqdm", "dataflow.demo.photos"} & set(done.stdout.split())
