"""One pass over a chain: what identifies it, what runs through it, and its iterator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from dataflow.errors import DataFlowTerminated
from dataflow.failures import ErrorPolicy
from dataflow.meter import Meter
from dataflow.randomness import Tag, first_of, in_datapoint
from dataflow.stopwatch import Stopwatch

__all__ = ["DROPPED", "Datapoint", "Epoch", "EpochIterator", "Pass", "Stream"]

Datapoint: TypeAlias = Any
"""A list (or dict) of components, such as ``[image, label]``."""


class _Dropped:
    """Stands in the stream for a datapoint that a stage took out: its position still counts."""

    def __repr__(self) -> str:
        return "DROPPED"

    def __reduce__(self) -> str:
        return "DROPPED"


DROPPED = _Dropped()

Stream: TypeAlias = Iterator[tuple[Tag, Datapoint]]

_GRACE = 0.05  # seconds in which a thread may come out of `next()` by itself


class Epoch(NamedTuple):
    """One pass over a chain.

    Attributes:
        seed: decides every random number of the pass.
        number: counts the passes from 0.
        seeded: the seed was asked for, so the order should be reproducible too.
        session: the engine's part in it, a `dataflow.engine.session.Session`.
        runners: those downstream of the flow that is opened, the last one first: it runs the flow.
        policy: decides about failures that no runner further down decides about: the last one's.
            `ds[i]` has it, too, which has no runners.
        in_order: a stage downstream depends on the order, so no runner may change it.
        in_step: the flow's datapoints are delivered one by one, before the next one is read.
        last: nobody will ask for another pass of the flow that is opened, so workers may go.
        at_once: datapoints that whoever reads the flow takes together, such as those of a batch.
            Who works for the flow should have twice as many under way.
        settled: where the places that went on are noted, as (progress, place), instead of being
            entered: the loop has not got them yet. None: they are entered.
        path: which input was taken at each stage with several, from the top down; part of the
            tags, so that equal inputs draw different random numbers.
        shared: by the identity of a flow, where in `path` inputs branch that have the flow in
            common, and need it in the same order.
    """

    seed: int
    number: int
    seeded: bool = False
    session: Any = None
    runners: tuple[Any, ...] = ()
    policy: ErrorPolicy | None = None
    in_order: bool = False
    in_step: bool = False
    last: bool = False
    at_once: int = 1
    settled: list[tuple[Any, int]] | None = None
    path: tuple[int, ...] = ()
    shared: Mapping[int, tuple[int, ...]] | None = None

    def order_of(self, flow: Any) -> tuple[int, ...]:
        """`path` as far as it decides about the order that `flow` draws."""
        branchings = self.shared.get(id(flow)) if self.shared else None
        if not branchings:
            return self.path
        return tuple(step for at, step in enumerate(self.path) if at not in branchings)

    def sharing(self, flows: Iterable[Any]) -> Epoch:
        """The same epoch for the inputs of a stage that has several, and `flows` in some of them.

        Args:
            flows: what the inputs have in common.
        """
        at = len(self.path)
        known = self.shared or {}
        more = {id(flow): (*known.get(id(flow), ()), at) for flow in flows}
        return self._replace(shared={**known, **more}) if more else self

    def input(self, index: int) -> Epoch:
        """The same epoch for input number `index` of a stage with several."""
        return self._replace(path=(*self.path, index))

    def batched(self, size: int) -> Epoch:
        """The same epoch for the input of a stage that makes one datapoint of `size`."""
        return self._replace(at_once=size * self.at_once)

    def failed(self, error: Exception, tag: Tag) -> Datapoint:
        """What becomes of a datapoint that failed in a stage that streams: the next runner decides.

        Raises:
            Exception: the error itself, if that is so decided, or if there is no runner.
        """
        if self.policy is None:
            raise error
        replacement = self.policy.failed_with(error, None, first_of(tag)[1])
        return DROPPED if replacement is None else replacement

    def bare(self) -> Epoch:
        """Without what only this process knows."""
        return self._replace(session=None, runners=(), policy=None, settled=None, shared=None)


class EpochIterator:
    """What `iter(ds)` returns: strips the tags, counts, and knows when it was ended.

    Args:
        stream: what it goes through.
        meter: counts the datapoints.
        its_pass: how far it is.
        interrupt: makes a thread that waits in `next()` for others than itself give up.
        empty: called where it ends without having delivered anything, or goes on and on in that
            way: whether stages drop all that there is.
    """

    def __init__(
        self,
        stream: Stream,
        meter: Meter,
        its_pass: Pass,
        interrupt: Callable[[], None],
        empty: Callable[[bool], None],
    ) -> None:
        self._stream = stream
        self._meter = meter
        self._pass = its_pass
        self._interrupt = interrupt
        self._empty = empty
        self._watch = Stopwatch(meter)
        self._ended: str | None = None
        self._first_round: int | None = None  # of an endless flow

    def __iter__(self) -> EpochIterator:
        return self

    def __next__(self) -> Datapoint:
        watch = self._watch
        if not watch.left:
            return self._timed_next()
        its_pass = self._pass
        turn = its_pass.turn
        if turn.asked:
            turn.wait()
        with turn.lock:
            try:
                for tag, datapoint in self._stream:
                    if datapoint is not DROPPED:
                        watch.left -= 1
                        its_pass.delivered += 1
                        return datapoint
                    self._dropped(tag)
                raise self._end()
            except BaseException as error:
                its_pass.broken |= not isinstance(error, StopIteration)
                watch.end()
                raise

    def _timed_next(self) -> Datapoint:
        if self._ended is not None:
            raise DataFlowTerminated(self._ended)
        self._watch.enter()
        its_pass = self._pass
        its_pass.begun = True
        turn = its_pass.turn
        if turn.asked:
            turn.wait()
        try:
            with turn.lock:
                for tag, datapoint in self._stream:
                    if datapoint is not DROPPED:
                        self._meter.delivered += 1
                        its_pass.delivered += 1
                        return datapoint
                    self._dropped(tag)
                raise self._end()
        except BaseException as error:
            its_pass.broken |= not isinstance(error, StopIteration)
            raise
        finally:
            self._watch.leave()

    def _dropped(self, tag: Tag) -> None:
        """A stage took a datapoint out. Where two rounds of an endless flow gave none, say so."""
        number = first_of(tag)[0]
        if self._pass.delivered or not isinstance(number, int):
            return
        if self._first_round is None:
            self._first_round = number
        elif number == self._first_round + 2:
            self._first_round = None  # told once a flow
            self._empty(True)

    def _end(self) -> BaseException:
        """Why there is no more."""
        if self._ended is not None:  # while this thread waited for its turn
            return DataFlowTerminated(self._ended)
        self._pass.end()
        if self._pass.finished and not self._pass.delivered:
            self._empty(False)
        return StopIteration()

    @property
    def counted(self) -> int:
        """Datapoints delivered that are not in the meter yet."""
        return self._watch.counted

    def flush(self) -> None:
        """Bring the meter's processor time up to date."""
        self._watch.flush()

    def close(self) -> None:
        """End the pass; what works for it is stopped. Idempotent."""
        self.terminate("the iterator was closed")

    def terminate(self, why: str) -> None:
        """End the pass; `next()` raises `DataFlowTerminated` from now on.

        Where another thread is in `next()`, it gets its datapoint before, unless it waits for
        other hosts, for worker processes or for a queue: these may never come.
        """
        if self._ended is None:
            self._ended = why
            with self._pass.turn.interrupting(self._interrupt):
                self._watch.end()
                if callable(close := getattr(self._stream, "close", None)):
                    close()

    def __del__(self) -> None:
        self._watch.end()  # a loop that was left counts, too


class Pass:
    """How far the outermost flow's pass is. It outlives its iterator.

    Attributes:
        epoch: which pass.
        delivered: datapoints handed to the user's loop.
        finished: there are no more.
        broken: it ended with an exception, so there may be more.
        begun: something was asked for; who only opens an iterator has not had the epoch.
        saved: the state that it goes on from, or nothing.
        skipped: datapoints that were passed over to get there.
        turn: who holds it sees the pass at rest, between two datapoints.
    """

    def __init__(self, epoch: Epoch, saved: Mapping[str, Any]) -> None:
        self.epoch = epoch
        self.saved = saved
        self.begun = False
        self.skipped = 0
        self.delivered = 0
        self.finished = False
        self.broken = False
        self.turn = Turn()
        self._held: tuple[int, dict[str, Any]] | None = None

    @property
    def unread(self) -> bool:
        """Nothing was asked for, beyond what was passed over to get to its place."""
        return not self.begun and self.delivered == self.skipped

    def hold(self, state: dict[str, Any] | None) -> None:
        """Until more is delivered, the loop has got what `state` tells: somebody runs ahead of it.

        None: it has got everything.
        """
        self._held = None if state is None else (self.delivered, state)

    @property
    def held(self) -> dict[str, Any] | None:
        """The state that was given to `hold`, while it is the loop's; or the one to begin with."""
        if self.unread and self.saved:
            return dict(self.saved)
        fits = self._held is not None and self._held[0] == self.delivered
        return self._held[1] if fits and self._held is not None else None

    def end(self) -> None:
        """The stream has no more."""
        self.finished = not self.broken


class Turn:
    """A lock between the thread that iterates and those that look.

    Who looks comes next, however fast the other one asks again. A plain lock promises nothing of
    that kind. It may be taken by the thread that has it already: a map function may look, too.

    Who looks uses this as a context manager. Who iterates uses `lock` for each datapoint, and
    before it `wait` where it is `asked` to: method calls here would be much of a cheap datapoint.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.asked = False
        self._queue = threading.Lock()

    def wait(self) -> None:
        """Let those look who asked before."""
        with self._queue:
            pass

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Like the context manager that it is; who iterates is interrupted until that works."""
        self._enter(interrupt)
        try:
            yield
        finally:
            self.__exit__()

    def __enter__(self) -> None:
        self._enter()

    def _enter(self, interrupt: Callable[[], None] | None = None) -> None:
        if in_datapoint():
            # The thread that iterates may hold the lock until this very datapoint is done.
            if not self.lock.acquire(blocking=False):
                raise RuntimeError(
                    "state_dict() or close() of a flow was called by one of its own stages, in a "
                    "runner's thread, while the flow waits for that stage: call it in the loop"
                )
            self.lock.release()
        _acquire(self._queue, interrupt)  # who has it may wait for the thread that iterates
        self.asked = True
        _acquire(self.lock, interrupt)

    def __exit__(self, *exc: object) -> None:
        self.asked = False
        self.lock.release()
        self._queue.release()


def _acquire(lock: Any, interrupt: Callable[[], None] | None) -> None:
    while not lock.acquire(timeout=-1 if interrupt is None else _GRACE):
        assert interrupt is not None, "otherwise it waits for as long as it takes"
        interrupt()
