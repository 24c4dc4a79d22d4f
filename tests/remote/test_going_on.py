"""Receivers and senders that are killed and started again go on where they were."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any

import pytest
from network import Sending, Start, line, numbers, until
from patience import patient

import dataflow as df
from dataflow.remote import Sender

LOOPBACK = "tcp://127.0.0.1:*"
COUNT = 1200


def shuffled(number: int = 0) -> df.DataFlow:
    """[number, …, bytes], of which a window holds only some."""
    points = [[number, i, b"x" * 500] for i in range(COUNT)]
    return df.DataFromList(points, shuffle=True).seed(3)


def plain(datapoints: Any) -> list[tuple[int, int]]:
    return [(number, i) for number, i, _ in datapoints]


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(state))
    return found


@pytest.mark.parametrize("sender_binds", [False, True])
@pytest.mark.parametrize("further", [0, 900])
@pytest.mark.parametrize("after", [1, 700, COUNT, COUNT + 1])
def test_a_receiver_goes_back_to_its_state(after: int, further: int, sender_binds: bool) -> None:
    """In the first epoch, at its end, or in the second; what came since then comes again."""
    flow = shuffled()
    expected = plain(flow) + plain(flow)
    with ExitStack() as stack:

        def receiver(address: str) -> df.DataFlow:
            ds = df.receive(address, bind=not sender_binds, window=1 << 16)
            return stack.enter_context(df.BatchData(ds, 1, use_list=True))

        def numbers_of(batches: Any) -> list[tuple[int, int]]:
            return [(number[0], i[0]) for number, i, _ in batches]

        if sender_binds:
            sender = stack.enter_context(Sender(LOOPBACK, bind=True))
            address = sender.addresses[0]
            ds = receiver(address)
        else:
            ds = receiver(LOOPBACK)
            address = ds.ds.addresses[0]  # type: ignore[attr-defined]
            sender = stack.enter_context(Sender(address))
        thread = threading.Thread(target=sender.send, args=(shuffled(), 2), daemon=True)
        thread.start()
        found, state = 0, {}
        while found < after + further:
            for _ in ds:
                found += 1
                if found == after:
                    state = through_json(ds.state_dict())
                if found == after + further:
                    break
        ds.close()
        again = receiver(address)
        again.load_state_dict(state)
        rest = numbers_of(again)
        if after <= COUNT:
            rest += numbers_of(again)
        thread.join(patient(20))
        assert not thread.is_alive()
    assert rest == expected[after:]


def test_a_state_between_two_epochs() -> None:
    flow = shuffled()
    expected = [plain(flow) for _ in range(3)]
    with df.receive(LOOPBACK) as ds:
        sender = Sending(shuffled(), ds.addresses[0], epochs=3)
        assert plain(ds) == expected[0]
        state = through_json(ds.state_dict())
        assert plain(ds) == expected[1]
        ds.load_state_dict(state)
        assert [plain(ds), plain(ds)] == expected[1:], "the second one again"
        sender.join()


def test_a_sender_that_was_not_known_to_the_state_begins_again() -> None:
    with df.receive(LOOPBACK, window=1 << 16) as ds, ExitStack() as stack:
        address = ds.addresses[0]
        one, other = (stack.enter_context(Sender(address)) for _ in "12")
        threads = [
            threading.Thread(target=sender.send, args=(shuffled(number), 2), daemon=True)
            for number, sender in enumerate((one, other))
        ]
        threads[0].start()
        iterator = iter(ds)
        next(iterator)
        state = through_json(ds.state_dict())
        threads[1].start()
        while next(iterator)[0] != 1:
            pass
        ds.load_state_dict(state)
        rest = [Counter(plain(ds)) for _ in range(2)]
        for thread in threads:
            thread.join(patient(20))
            assert not thread.is_alive()
    assert [len(counts) for counts in rest] == [2 * COUNT - 1, 2 * COUNT]
    assert all(set(counts.values()) == {1} for counts in rest)


SENDER = """
    number, name = int(sys.argv[1]), sys.argv[2] or None
    points = [[number, i, b"x" * 500] for i in range(COUNT)]
    flow = df.DataFromList(points, shuffle=True)
    df.send(flow.seed(number), address, epochs=2, name=name)
    print("end", flush=True)
""".replace("COUNT", str(COUNT))

# It prints what it gets, and its state now and then, as a training loop would write checkpoints.
RECEIVER = """
    import json
    ds = df.receive(address, senders=4, window=1 << 16)
    if sys.argv[1]:
        ds.load_state_dict(json.loads(sys.argv[1]))
    else:
        print(ds.addresses[0], flush=True)
    print("ready", flush=True)
    for epoch in range(int(sys.argv[2]), 2):
        for step, (number, i, _) in enumerate(ds):
            print(epoch, number, i, flush=True)
            if step % 50 == 0:
                print("state", json.dumps(ds.state_dict()), flush=True)
    print("end", flush=True)
"""


def read(process: Any, enough: int) -> list[str]:
    """At least so many of the lines that a process prints."""
    return [line(process) for _ in range(enough)]


def rest_of(process: Any, *, kill: bool = True) -> list[str]:
    """What else it prints to its end; where it is killed, the last line may be torn."""
    if kill:
        process.kill()
    text: str = process.stdout.read()
    assert process.wait() == (-signal.SIGKILL if kill else 0), process.stderr.read()
    return text.split("\n")[:-1]


def epochs_of(lines: list[str]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(text.split()) for text in lines if text[0].isdigit())


WHOLE = {(str(e), str(n), str(i)) for e in range(2) for n in range(4) for i in range(COUNT)}


@pytest.mark.parametrize("enough", [1500, pytest.param(6000, marks=pytest.mark.soak)])
def test_a_killed_receiver_with_a_state(start: Start, enough: int) -> None:
    """With four senders: nothing is lost, nothing comes twice. (Row 14.)"""
    receiver = start(RECEIVER, LOOPBACK, "", "0")
    address = line(receiver)
    senders = [start(SENDER, address, str(number), "") for number in range(4)]
    lines = read(receiver, enough) + rest_of(receiver)
    last = max(place for place, text in enumerate(lines) if text.startswith("state "))
    epoch = lines[last - 1].split()[0]
    again = start(RECEIVER, address, lines[last].removeprefix("state "), epoch)
    assert line(again) == "ready"
    begun = monotonic()
    first = line(again)
    assert monotonic() - begun < patient(5), "they are back"
    rest = rest_of(again, kill=False)
    found = epochs_of([*lines[:last], first, *rest])
    assert found == Counter(WHOLE)
    for sender in senders:
        assert sender.communicate(timeout=patient(20))[0] == "end\n"


def test_a_killed_receiver_without_a_state(start: Start) -> None:
    """At most what was not acknowledged comes twice."""
    receiver = start(RECEIVER, LOOPBACK, "", "0")
    address = line(receiver)
    senders = [start(SENDER, address, str(number), "") for number in range(4)]
    lines = read(receiver, 1500) + rest_of(receiver)
    # Its first pass is not theirs: some may have come to the end of an epoch already.
    again = start(RECEIVER, address, "", "0")
    lines += rest_of(again, kill=False)
    found = Counter((n, i) for (_, n, i), count in epochs_of(lines).items() for _ in range(count))
    assert set(found) == {(n, i) for _, n, i in WHOLE} and min(found.values()) == 2
    # The window, and the message that begins in it.
    most = ((1 << 16) + (256 << 10)) / 500
    for number in range(4):
        twice = [count - 2 for (n, _), count in found.items() if n == str(number)]
        assert sum(twice) <= most
    for sender in senders:
        assert sender.communicate(timeout=patient(20))[0] == "end\n"


def test_a_killed_sender_with_a_name(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Started again, it goes on where the receiver is, and nobody waits for the first one."""
    expected = shuffled(7)
    with df.receive(LOOPBACK, window=1 << 16) as ds:
        program = SENDER.replace("seed(number)", "seed(3)")
        process = start(program, ds.addresses[0], "7", "one")
        found: list[tuple[int, int]] = []
        for kills in (1, 2, 0):
            for number, i, _ in ds:
                found.append((number, i))
                if kills and len(found) in (500, COUNT + 300):
                    process.kill()
                    process.wait()
                    process = start(program, ds.addresses[0], "7", "one")
            if len(found) == 2 * COUNT:
                break
        assert process.communicate(timeout=patient(20))[0] == "end\n"
    assert found == plain(expected) + plain(expected)
    assert caplog.text.count("sender one was started again, and goes on") == 2


def test_a_sender_with_another_flow_cannot_go_on(start: Start) -> None:
    taken = Counter[str]()

    def take(iterator: Any) -> None:
        with suppress(df.DataFlowTerminated):
            for _ in iterator:
                taken["datapoints"] += 1

    with df.receive(LOOPBACK, window=1 << 16) as ds:
        process = start(SENDER, ds.addresses[0], "1", "one")
        thread = threading.Thread(target=take, args=(iter(ds),), daemon=True)
        thread.start()
        until(lambda: taken["datapoints"])
        process.kill()
        process.wait()
        with pytest.raises(df.StateError, match="another chain"):
            Sending(numbers(5), ds.addresses[0], name="one").join()
        ds._shut(ds._end)
        thread.join(patient(20))


def test_a_sender_that_was_complete_may_come_again_with_its_name() -> None:
    with df.receive(LOOPBACK) as ds:
        for _ in range(2):
            sender = Sending(numbers(5), ds.addresses[0], name="one")
            assert [n for (n,) in ds] == list(range(5))
            sender.join()
