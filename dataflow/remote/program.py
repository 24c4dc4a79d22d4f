"""What trainer and worker have to agree on: the chain, the code that it runs, and versions."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import unified_diff
from typing import Any

from dataflow.codec.tensor import bad
from dataflow.plan.code import code_of, different_code, different_versions, versions_of
from dataflow.plan.fingerprint import fingerprint

__all__ = ["Program"]

logger = logging.getLogger(__name__)

_LENGTH = re.compile(r"^( *\w[\w.]*\()\d+( datapoints\b)")
_NAMED = 8  # functions that a message names
_LONGEST = 300  # characters of a name or digest


@dataclass
class Program:
    """One side's.

    Attributes:
        chain: a line for each flow, see `dataflow.plan.fingerprint`.
        code: of its functions, see `dataflow.plan.code`.
        versions: of what they use.
        lenient: other code is taken, too.
    """

    chain: list[str]
    code: list[list[str]]
    versions: dict[str, str]
    lenient: bool = False
    _told: set[str] = field(default_factory=set, repr=False)

    @classmethod
    def of(cls, flow: Any, *, lenient: bool) -> Program:
        """A flow's."""
        return cls(fingerprint(flow), code_of(flow), versions_of(flow), lenient)

    def said(self) -> dict[str, Any]:
        """The fields of JOIN."""
        return {
            "chain": self.chain,
            "code": self.code,
            "versions": self.versions,
            "lenient": self.lenient,
        }

    def check(self, who: str, fields: dict[str, Any]) -> None:
        """Compare with what a worker says; what may be is told once.

        Raises:
            CodecError: they do not mean the same.
        """
        self._check_chain(fields["chain"])
        code, versions = fields.get("code"), fields.get("versions")
        if code is not None:
            self._check_code(who, _checked_code(code), fields.get("lenient") is True)
        if versions is not None:
            for text in different_versions(self.versions, _checked_versions(versions)):
                self._warn(f"{who} has other versions, which may make other bytes: {text}")

    def _check_chain(self, chain: list[str]) -> None:
        theirs = [_without_length(line, mine) for line, mine in _pairs(chain, self.chain)]
        if theirs != self.chain:
            lines = unified_diff(self.chain, theirs, n=0, lineterm="")
            differences = [line for line in lines if not line.startswith(("@@", "---", "+++"))]
            text = "its chain is another one (-: the trainer's, +: its own): "
            bad("chain", text + "; ".join(differences))

    def _check_code(self, who: str, code: list[list[str]], lenient: bool) -> None:
        if not (names := different_code(self.code, code)):
            return
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        text = f"not the same here and there: {', '.join(names[:_NAMED])}{more}"
        if not (lenient or self.lenient):
            bad(
                "code",
                f"its code is another one; {text}. Start it from the same files, or with "
                "--allow-different-code",
            )
        self._warn(f"{who} runs other code; {text}")

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.warning("%s", text)


def _checked_code(value: Any) -> list[list[str]]:
    right = isinstance(value, list) and len(value) <= 1000
    for row in value if right else ():
        right = right and isinstance(row, list) and len(row) == 4 and all(map(_is_word, row))
    if not right:
        bad("header", "JOIN: code is no list of names with digests")
    found: list[list[str]] = value
    return found


def _checked_versions(value: Any) -> dict[str, str]:
    if not (
        isinstance(value, dict)
        and len(value) <= 1000
        and all(_is_word(word) for pair in value.items() for word in pair)
    ):
        bad("header", "JOIN: versions are no map of text")
    found: dict[str, str] = value
    return found


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()


def _pairs(theirs: list[str], ours: list[str]) -> Iterator[tuple[str, str]]:
    for place, line in enumerate(theirs):
        yield line, ours[place] if place < len(ours) else ""


def _without_length(line: str, ours: str) -> str:
    """A worker may build the chain on an empty source: the keys come from the trainer."""
    return ours if line == _LENGTH.sub(r"\g<1>0\g<2>", ours) else line
