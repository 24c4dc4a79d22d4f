"""Look for bytes that break a decoder, or what is above it, for as long as you like.

    pip install atheris
    python -m tests.fuzz tensor --seconds 300

What is found is kept below ``out/fuzz``; bytes that broke something are named at the end, and
``python -m tests.fuzz tensor out/fuzz/tensor-crash-…`` shows how. ``--keep`` adds what reached
something new to ``tests/fuzz/corpus``, which the tests go through.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("out/fuzz")
NAMES = (
    *("wire", "tensor", "msgpack_numpy", "protobuf", "tenbin", "tar"),
    *("inbox", "outbox", "pool", "lease"),
)
_LARGEST = 200  # bytes of an input that is kept


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("files", nargs="*", help="only these inputs")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", action="store_true", help="add to the corpus, do not search")
    arguments = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("this needs atheris: pip install atheris")
    logging.disable()
    found = FOUND / arguments.target
    found.mkdir(parents=True, exist_ok=True)
    if arguments.keep:
        return keep(arguments.target, found)
    unpack(arguments.target, found)
    with atheris.instrument_imports(include=["dataflow", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-artifact_prefix={FOUND}/{arguments.target}-",
        "-max_len=4096",
        "-timeout=2",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    atheris.Setup(
        [sys.argv[0], *options, *(arguments.files or [str(found)])], TARGETS[arguments.target]
    )
    atheris.Fuzz()
    return None


def unpack(target: str, into: Path) -> None:
    """The corpus as files."""
    for line in lines(target):
        data = bytes.fromhex(line)
        (into / hashlib.sha1(data).hexdigest()).write_bytes(data)


def lines(target: str) -> list[str]:
    """The corpus of a target: bytes in hex, one input a line."""
    path = CORPUS / f"{target}.txt"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def keep(target: str, found: Path) -> None:
    """Add to the corpus what goes new ways through the code; short ones first."""
    from tests.fuzz.targets import TARGETS

    known = lines(target)
    seen = set().union(*(ways(TARGETS[target], bytes.fromhex(line)) for line in known))
    candidates = [path.read_bytes() for path in found.iterdir()]
    added = []
    for data in sorted((data for data in candidates if len(data) <= _LARGEST), key=len):
        new = ways(TARGETS[target], data) - seen
        if new:
            seen |= new
            added.append(data.hex())
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text("".join(f"{line}\n" for line in known + added))
    print(f"{len(added)} more for {target}")


def ways(call: Callable[[bytes], None], data: bytes) -> set[tuple[str, int, int]]:
    """The steps from line to line that a call takes within the package."""
    steps: set[tuple[str, int, int]] = set()

    def begin(frame: FrameType, event: str, value: Any) -> Any:
        name, last = frame.f_code.co_filename, 0
        if f"{os.sep}dataflow{os.sep}" not in name:
            return None

        def step(frame: FrameType, event: str, value: Any) -> Any:
            nonlocal last
            steps.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(begin)
    try:
        call(data)
    finally:
        sys.settrace(None)
    return steps


if __name__ == "__main__":
    main()
