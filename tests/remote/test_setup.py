"""What both ends of a connection have in common."""

from __future__ import annotations

import pytest

from dataflow.remote import setup
from dataflow.remote.setup import Notice


def test_what_nobody_was_there_for_is_told_once_and_not_after_a_stop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Notice, "_patience", 5.0)
    now = 1000.0
    monkeypatch.setattr(setup, "monotonic", lambda: now)
    notice = Notice("sender", ["tcp://127.0.0.1:1"])

    def waits(since: float, seconds: int) -> int:
        nonlocal now
        for _ in range(seconds):
            now += 1.0
            notice(now - since)
        return len(caplog.records)

    assert waits(now, 4) == 0
    now += 20  # Ctrl-Z, and some time later `fg`
    assert waits(now - 24, 4) == 0, "nobody could have been heard"
    assert waits(now - 28, 3) == 1
    assert "waiting for a sender at tcp://127.0.0.1:1" in caplog.text
    assert waits(now - 31, 30) == 1
