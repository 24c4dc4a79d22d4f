"""What becomes of failed datapoints, decided by one policy."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df
from dataflow.failure_log import FailedDatapoint, reason_of
from dataflow.failures import ErrorPolicy


def fetch_error(reason: str = "dns") -> df.FetchError:
    return df.FetchError("broken", reason=reason)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (df.FetchError("x", reason="http_404", status=404), "http_404"),
        (df.DecodeError("x", reason="truncated"), "truncated"),
        (df.WorkerError("builtins.KeyError", "x", ""), "KeyError"),
        (df.WorkerError("KeyError", "x", ""), "KeyError"),
        (ValueError("x"), "ValueError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_reasons(error: BaseException, reason: str) -> None:
    assert reason_of(error) == reason


def test_raise() -> None:
    policy = ErrorPolicy()
    error = fetch_error()
    with pytest.raises(df.FetchError) as caught:
        policy.failed_with(error, ["http://a/b.jpg", 1])
    assert caught.value is error and error.url == "http://a/b.jpg"
    assert policy.counts == {"dns": 1}
    assert not policy.log


def test_skip_counts_and_lists() -> None:
    policy = ErrorPolicy("skip")
    point = ["http://a/b.jpg", 1]
    assert policy.failed_with(fetch_error(), point) is None
    assert policy.failed_with(ValueError("what"), [2]) is None
    assert policy.counts == {"dns": 1, "ValueError": 1}
    assert list(policy.log.list()) == [
        FailedDatapoint(point, "dns", "broken"),
        FailedDatapoint([2], "ValueError", "what"),
    ]
    assert next(iter(policy.log.list())).datapoint is point


def test_a_function_replaces_or_skips() -> None:
    seen = []

    def decide(error, datapoint):
        seen.append((error, datapoint))
        return datapoint * 2 if datapoint else None

    policy = ErrorPolicy(decide)
    error = ValueError("x")
    assert policy.failed_with(error, [1]) == [1, 1]
    assert policy.failed_with(error, []) is None
    assert seen == [(error, [1]), (error, [])]
    assert policy.counts == {"ValueError": 2}


@pytest.mark.parametrize("datapoint", [["text.jpg", 1], ("text.jpg",)])
def test_the_address_is_told_where_the_error_knows_none(datapoint) -> None:
    error = fetch_error()
    ErrorPolicy("skip").failed_with(error, datapoint)
    assert error.url == "text.jpg"
    known = df.FetchError("x", reason="dns", url="other")
    ErrorPolicy("skip").failed_with(known, datapoint)
    assert known.url == "other"


@pytest.mark.parametrize("datapoint", [None, 3, [], [5, "text"], {"url": "x"}, "text"])
def test_datapoints_without_an_address(datapoint) -> None:
    error = fetch_error()
    ErrorPolicy("skip").failed_with(error, datapoint)
    assert error.url is None


@pytest.mark.parametrize("value", ["ignore", "", None, 1, True])
def test_other_choices_are_refused(value) -> None:
    with pytest.raises(ValueError, match=f"on_error={value!r}"):
        ErrorPolicy(value)


# -- giving up --------------------------------------------------------------------------------


def feed(policy: ErrorPolicy, outcomes) -> int:
    """How many outcomes (True: passed) it takes until the policy gives up; -1 for never."""
    policy.epoch_began()
    number = -1
    try:
        for number, good in enumerate(outcomes):
            if good:
                policy.passed()
            else:
                policy.failed_with(ValueError("x"), [number])
        number += 1
        policy.epoch_ended()
    except df.TooManyErrors:
        return number
    return -1


def oracle(outcomes: list[bool], first: int = 50) -> int:
    if len(outcomes) >= first and not any(outcomes[:first]):
        return first - 1
    return len(outcomes) if outcomes and not any(outcomes) else -1


RUNS = st.lists(st.tuples(st.booleans(), st.integers(1, 700)), max_size=6)


@given(RUNS, st.sampled_from([1, 25, 26, 64, 300]))
def test_giving_up_where_nothing_works(runs, at_once: int) -> None:
    outcomes = [good for good, length in runs for _ in range(length)]
    policy = ErrorPolicy("skip", give_up=True, at_once=at_once)
    assert feed(policy, outcomes) == oracle(outcomes, max(50, 2 * at_once))
    assert feed(policy.afresh(), outcomes) == oracle(outcomes, max(50, 2 * at_once))
    assert feed(policy.afresh(give_up=False), outcomes) == -1
    assert feed(ErrorPolicy("skip"), outcomes) == -1


@given(RUNS, st.one_of(st.integers(0, 900), st.floats(0, 1)))
def test_a_bound_of_ones_own(runs, bound: float) -> None:
    outcomes = [good for good, length in runs for _ in range(length)]
    expected = [oracle(outcomes)] if oracle(outcomes) >= 0 else []
    bad = [number for number, good in enumerate(outcomes) if not good]
    if isinstance(bound, int):
        expected += bad[bound : bound + 1]
    elif len(bad) > bound * len(outcomes):
        expected += [len(outcomes)]
    found = feed(ErrorPolicy("skip", give_up=True, max_failed=bound), outcomes)
    assert found == min(expected, default=-1)


def test_what_has_replacements_goes_on() -> None:
    policy = ErrorPolicy(lambda error, dp: [0], give_up=True, max_failed=3)
    assert feed(policy, [False] * 500) == -1
    assert policy.counts == {"ValueError": 500} and len(policy.log) == 500
    asked = []
    policy = ErrorPolicy(lambda error, dp: asked.append(dp), give_up=True)
    assert feed(policy, [False] * 500) == 49
    assert len(asked) == 50, "the function is asked about each"


def test_one_warning_at_half(caplog: pytest.LogCaptureFixture) -> None:
    policy = ErrorPolicy("skip", give_up=True)
    assert feed(policy, [True, False] * 500) == -1 and not caplog.messages
    for _ in range(3):
        assert feed(policy, [True] * 40 + [False] * 100) == -1
    (said,) = caplog.messages
    assert said.startswith("more than half of the datapoints failed, 41 of 81 so far (ValueError")


@pytest.mark.parametrize("bound", [-1, 1.5, True, "half", float("nan"), -0.1])
def test_bounds_that_are_none(bound) -> None:
    with pytest.raises(df.ConfigError, match=r"max_failed=.*share"):
        ErrorPolicy("skip", max_failed=bound)


def test_messages_tell_how_much_and_why() -> None:
    policy = ErrorPolicy("skip", give_up=True)
    with pytest.raises(df.TooManyErrors) as caught:
        for number in range(100):
            policy.failed_with(fetch_error("dns" if number % 5 else "http_404"), [number])
    assert str(caught.value) == (
        "all of the first 50 datapoints failed (dns 40, http_404 10); the last: broken"
    )
    assert isinstance(caught.value.__cause__, df.FetchError)


def test_each_epoch_counts_afresh() -> None:
    """Six dead links of ten are borne in the hundredth epoch as in the first."""
    policy = ErrorPolicy("skip", give_up=True)
    for _ in range(300):
        assert feed(policy, [False] * 6 + [True] * 4) == -1
    assert feed(policy, [False] * 6) == 6
    assert feed(policy, [True]) == -1


def test_an_epoch_without_any_datapoint_is_none_that_failed() -> None:
    assert feed(ErrorPolicy("skip", give_up=True), []) == -1


def test_what_travels_to_workers_is_small_and_picklable() -> None:
    policy = ErrorPolicy(lambda error, dp: None, give_up=True)
    policy.failed_with(ValueError("x"), [1])
    copy = pickle.loads(pickle.dumps(policy))
    assert copy.on_error == "raise" and not copy.log and not copy.counts


@pytest.mark.parametrize("error", [fetch_error(), df.DecodeError("y", reason="empty", url="u")])
def test_datapoint_errors_travel_with_all_they_have(error) -> None:
    error.status = 200
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert (again.reason, again.url, again.status) == (error.reason, error.url, 200)
