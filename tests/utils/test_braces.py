"""Braces stand for what they stand for in bash."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import library

import dataflow as df
from dataflow.utils.braces import expand_braces

CASES = {
    "plain": ["plain"],
    "zsub://127.0.0.1:788{0..3}": [f"zsub://127.0.0.1:788{i}" for i in range(4)],
    "a{b,c}d{e,f}": ["abde", "abdf", "acde", "acdf"],
    "x{,.bak}": ["x", "x.bak"],
    "{08..11}": ["08", "09", "10", "11"],
    "{3..1}": ["3", "2", "1"],
    "{-01..1}": ["-01", "000", "001"],
    "{1..10..4}": ["1", "5", "9"],
    "{a..e..2}": ["a", "c", "e"],
    "{p{1..2},q}": ["p1", "p2", "q"],
    "{one}": ["{one}"],
    "{a{1..2}}": ["{a1}", "{a2}"],
    "{}": ["{}"],
    r"\{a,b\}": ["{a,b}"],
    r"{a\,b,c}": ["a,b", "c"],
    "{1..3..0}": ["1", "2", "3"],
}


@pytest.mark.parametrize("text", CASES)
def test_what_they_stand_for(text: str) -> None:
    assert expand_braces(text) == CASES[text]


def test_bash_says_the_same() -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    script = "\n".join(f"printf '%s\\t' {text}; echo" for text in CASES)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert [line.split("\t")[:-1] for line in done.stdout.splitlines()] == [*CASES.values()]


@pytest.mark.parametrize("text", ["{", "a}", "{a,{b}", "}{", "{1..1000000}", "{0..999}{0..999}"])
def test_what_makes_no_sense(text: str) -> None:
    with pytest.raises(df.ConfigError, match=r"partner|more than"):
        expand_braces(text)


@given(st.lists(st.sampled_from(["{", "}", ",", "a", "{1..3}", "{a,b}", "{02..4}", "\\", ".."])))
def test_braceexpand_says_the_same(parts: list[str]) -> None:
    braceexpand = library("braceexpand")
    text = "".join(parts)
    if "\\\\" in text:
        return  # of {\\} it makes {}, where bash makes {\}
    try:
        found = expand_braces(text)
    except df.ConfigError:
        return  # it lets "}{" through
    assert found == list(braceexpand.braceexpand(text))
