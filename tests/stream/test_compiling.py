"""What the compiled function does, and what it leaves out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dataflow import stream as st

IMAGE = np.zeros((4, 5, 3), np.uint8)


def test_what_is_unused_equal_or_constant_is_left_out() -> None:
    record = st.records(image=IMAGE[None], label=[4]).random()
    unused = st.noise(st.blur(record["image"], 3), 0.1)
    assert unused.name == "noise"
    sizes = [st.resize(record["image"], 2 + 2, st.constant(3) * 2) for _ in range(3)]
    source = st.Stream([sizes[0], sizes[1] + sizes[2]]).source
    assert source.count("resize(") == 1 and ", 4, 6, " in source
    assert "noise" not in source and "'label'" not in source
    plain = st.Stream([sizes[0], sizes[1] + sizes[2]], optimize=False).source
    assert plain.count("resize(") == 3 and "(2 + 2)" not in plain


def test_random_nodes_become_one_only_where_they_share_a_seed() -> None:
    seed = st.seed()
    assert st.Stream([st.uniform(), st.uniform()]).source.count("uniform(") == 2
    assert st.Stream([st.uniform(seed=seed), st.uniform(seed=seed)]).source.count("uniform(") == 1


def test_a_branch_stands_where_it_is_taken() -> None:
    image = st.noise(IMAGE, 0.1)
    s = st.Stream(st.conditional(st.boolean(), st.blur(image, 3), st.invert(image)), "one")
    assert _blocks(s.source) == {"noise": 1, "blur": 2, "invert": 2}
    s = st.Stream(st.switch([st.blur(image, 3), st.invert(image), IMAGE]), "some")
    assert _blocks(s.source) == {"noise": 2, "blur": 2, "invert": 2}
    s = st.Stream([image, st.conditional(st.boolean(), st.blur(image, 3), image)], "both")
    assert _blocks(s.source) == {"noise": 1, "blur": 2}
    choices = [st.conditional(st.boolean(), st.blur(image, 3), IMAGE) for _ in range(2)]
    s = st.Stream(choices, "twice")
    assert "is MISSING:" in s.source
    assert s.source == st.Stream(choices, "twice").source


def _blocks(source: str) -> dict[str, int]:
    """How deep each call stands."""
    found = {}
    for line in source.splitlines():
        for name in ("noise", "blur", "invert"):
            if f" {name}(" in line:
                found[name] = (len(line) - len(line.lstrip())) // 4
    return found


def test_chains_of_choices_stay_short() -> None:
    """What a choice's branches share is there once, however many choices follow."""
    image = st.constant(IMAGE)
    for number in range(60):
        image = st.switch([image + number, st.flip(image), IMAGE, st.invert(image)])
    s = st.Stream(image)
    assert len(s.source.splitlines()) < 60 * 25
    assert s[3][0].shape == IMAGE.shape


def test_graphs_of_any_size(caplog: pytest.LogCaptureFixture) -> None:
    """Long chains, and choices nested deeper than Python's blocks, also on the way to a worker."""
    number = st.constant(1.0) + st.uniform()
    for step in range(1000):
        number = number + st.index() % (step + 1)
    s = st.Stream(number)
    assert pickle.loads(pickle.dumps(s))[5] == s[5]
    assert not caplog.records
    for step in range(150):
        number = st.switch([number + step, number * 2.0, 3.0])
    s = st.Stream(number, "deep")
    assert "deep: its choices are nested too deeply" in caplog.text
    assert s[5] == st.Stream(number, optimize=False)[5]


def test_samples_are_their_owners() -> None:
    """Writing into a sample changes no other one, nor a constant."""
    given = IMAGE.copy()
    table = st.records(image=given[None])
    s = st.Stream([st.constant(given), table[0]["image"], st.flip(given, False), table[0]])
    for one in [*s[0][:3], s[0][3]["image"]]:
        one[:] = 9
    assert not given.any() and not s[0][0].any() and not s[1][1].any()


def test_a_stream_is_named_after_its_function() -> None:
    @st.stream
    def birds(count: int) -> object:
        """Some birds."""
        return st.integer(0, count)

    s = birds(count=3)
    assert birds.__doc__ == "Some birds." and s.source.startswith("def birds(seed, index):")
    assert s.name == "birds" and s[0][0] in range(3)
    for name in ("invert", "class", "mix", "two words"):
        s = st.Stream([st.invert(IMAGE + st.uniform()), st.uniform()], name)
        assert s[0][0].shape == IMAGE.shape
