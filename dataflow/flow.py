"""The protocol: what a dataflow is, and how one pass over it (an epoch) begins and ends.

Users see iterables of datapoints. Among themselves, the stages of this package pass pairs
``(tag, datapoint)``: the tag says where in the epoch the datapoint comes from, which decides its
random numbers, its order and what a resumed run still has to deliver. A stage implements one
hook, `DataFlow._stream`; the public `__iter__` opens an epoch and strips the tags.

A user's class that defines `__iter__` or `get_data` itself is *opaque*: it is iterated as it is,
and its outputs are numbered.
"""

from __future__ import annotations

import copy
import logging
import operator
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dataflow.epoch import DROPPED, Datapoint, Epoch, EpochIterator, Pass, Stream
from dataflow.errors import DataFlowTerminated, Dropped, UnknownLength
from dataflow.failure_log import FailureList
from dataflow.failures import error_policies
from dataflow.meter import Meter
from dataflow.node import Node, is_native, reset, walk
from dataflow.overrides import begins_epoch, runs_once
from dataflow.randomness import Tag, fresh_seed
from dataflow.records import Opaque, Record, Streamed
from dataflow.runtime import runtime
from dataflow.utils.arguments import places_of, whole_number
from dataflow.utils.spelling import tell

if TYPE_CHECKING:
    from dataflow.plan.show import Plan

__all__ = ["DataFlow", "DataFlowTerminated"]

logger = logging.getLogger(__name__)


class DataFlow(Node):
    """An iterable of datapoints; each `iter()` is the next epoch.

    Subclasses define `__iter__` and `__len__`, or in tensorpack's older spelling `get_data` and
    `size`. Neither `__init__` nor `reset_state` of this class needs to be called.
    """

    # Of its row in `stats()`; None: an iterator, or a stage where there is something upstream.
    _kind: str | None = None

    # Class-level defaults, because users' classes need not call `super().__init__()`.
    __ready = False
    # What `reset_state` made: by name, what was there before, if there was something.
    __made: Mapping[str, list[Any]] = MappingProxyType({})
    __epoch = 0
    __path: tuple[int, ...] = ()
    __next_path: tuple[int, ...] = ()
    __looked_at = 0
    __seed: int | None = None
    __drawn: int | None = None
    __iterator: Callable[[], EpochIterator | None] | None = None
    __pass: Pass | None = None
    __pending: dict[str, Any] | None = None
    __access: tuple[Any, Epoch] | None = None
    __meter: Meter | None = None
    __told_of_nothing = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("__iter__", "get_data"):
            if name in cls.__dict__:
                setattr(cls, name, begins_epoch(cls.__dict__[name]))
        if "reset_state" in cls.__dict__:
            setattr(cls, "reset_state", runs_once(cls.__dict__["reset_state"]))  # noqa: B010

    # -- what users call ---------------------------------------------------------------------

    def __iter__(self) -> Iterator[Datapoint]:
        if type(self).get_data is not DataFlow.get_data:
            return iter(self.get_data())
        return self._open()

    def get_data(self) -> Iterator[Datapoint]:
        """The older spelling of `iter(ds)`."""
        tell("ds.get_data()", "iter(ds)")
        if type(self).__iter__ is not DataFlow.__iter__:
            return iter(self)
        return self._open()

    def __len__(self) -> int:
        """Datapoints in one epoch; an upper bound where a stage drops some.

        Raises:
            NotImplementedError: where it cannot be known.
        """
        if type(self).size is not DataFlow.size:
            return self.size()
        return self._length()

    def size(self) -> int:
        """The older spelling of `len(ds)`."""
        tell("ds.size()", "len(ds)")
        if type(self).__len__ is not DataFlow.__len__:
            return len(self)
        return self._length()

    def __getitem__(self, index: int | slice) -> Datapoint:
        """The datapoint that iteration delivers at a position, without what comes before it.

        Positions below 0 count from the end. A slice gives a list of datapoints, without those that
        stages drop.
        The epoch is the one set by `set_epoch`, or 0; iterating does not move it. Positions count
        what stages drop, too. Flows without end have every position.

        Raises:
            IndexError: for positions beyond either end.
            Dropped: where a stage drops the datapoint.
            TypeError: where a part of the chain can only be iterated.
        """
        try:
            size = len(self)
        except UnknownLength:
            size = None
        if isinstance(index, slice):
            return list(self._slice(index, size))
        index = operator.index(index)
        if index < 0 and size is not None and index >= -size:
            index += size
        if index < 0 or (size is not None and index >= size):
            of = "without an end" if size is None else f"with {size} datapoints"
            raise IndexError(f"index {index} of a dataflow {of}")
        epoch = self._access()
        epoch.session.why_dropped = None
        _, datapoint = runtime().at(self, epoch, index)
        if datapoint is DROPPED:
            what = f"the datapoint at position {index}"
            if (why := epoch.session.why_dropped) is None:
                raise Dropped(f"a stage drops {what}")
            raise Dropped(f"{what} failed, and is left out: {why}") from why
        return datapoint

    def _access(self) -> Epoch:
        """The epoch that `ds[i]` is of, with its session."""
        epoch = self._epoch_number(self.__looked_at)
        if self.__access is None or self.__access[0] != epoch:
            session = runtime().session({}, pools=False)
            self.__access = (epoch, epoch._replace(session=session))
        return self.__access[1]

    def _slice(self, places: slice, size: int | None) -> Iterator[Datapoint]:
        for place in places_of(places, size):
            with suppress(Dropped):
                yield self[place]

    def reset_state(self) -> None:
        """Make ready for iteration. Idempotent, and called by itself at the first iteration."""
        self.__ready = True
        for flow in self._inputs():
            reset(flow)

    def seed(self, seed: int) -> DataFlow:
        """Fix every random number of this chain; returns self.

        What a function of yours draws from `random` or `numpy.random` is not the chain's.

        Args:
            seed: any integer. Where none is set a fresh one is drawn, see ``stats()["seed"]``.
        """
        whole = whole_number("seed", seed)
        for flow in walk(self):
            if isinstance(flow, DataFlow):
                flow.__seed = whole
        return self

    def set_epoch(self, epoch: int) -> None:
        """Make the next `iter()` epoch number `epoch` (from 0)."""
        number = whole_number("epoch", epoch, 0)
        for flow in walk(self):
            if isinstance(flow, DataFlow):
                flow.__epoch = flow.__looked_at = number
                flow.__pending = None
                if flow.__pass is not None:
                    flow.__pass.begun = True

    def state_dict(self) -> dict[str, Any]:
        """Where the pass is: all that `load_state_dict` needs to deliver exactly the rest.

        To be called on the flow that is iterated, between two datapoints, from any thread; in the
        loop's body the current datapoint counts as delivered, prefetched ones do not. The dict
        holds numbers and text only, so that it fits into JSON, mostly a few hundred bytes.

        Raises:
            NotResumable: where a part of the chain cannot be taken to the same place again.
        """
        if self.__pending is not None:
            return copy.deepcopy(self.__pending)
        held = None if self.__pass is None else self.__pass.held
        return copy.deepcopy(held) if held else runtime().state_of(self, self.__pass, self.__epoch)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a chain was when it told `state`, on any number of workers.

        The next `iter()` delivers what was not yet delivered of that epoch; the one after that is
        the next epoch. The seed becomes that of the state.

        Raises:
            StateError: where the state is of another chain: other stages, another length or seed.
        """
        state = runtime().checked(self, state)
        self.close()
        # A chain with a seed has the state's; those of its parts may be others.
        if state["seeded"] and self._given_seed() is None:
            DataFlow.seed(self, state["seed"])
        self.__drawn = state["seed"]
        self.__pending = state
        runtime().restore_failures(self, state)

    def close(self) -> None:
        """End the current pass and everything that works for it. Idempotent."""
        if (iterator := self._iterator()) is not None:
            iterator.terminate("the dataflow was closed")
        for flow in self._inputs():
            if callable(close := getattr(flow, "close", None)):
                close()

    def __enter__(self) -> DataFlow:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def stats(self) -> dict[str, Any]:
        """What happened so far, as a plain dict.

        ``items``: datapoints delivered to the loop. ``errors``: a count by reason.
        ``worker_restarts``. ``seed``: replays the run. ``cores``: that this process may use.

        ``seconds``: ``waiting``, that the loop waited for datapoints; ``starting``, of those until
        new workers had their first result; ``idle``, of those in which this thread had nothing to
        do itself but waited for workers; ``away``, that the loop's body took; ``cpu``, processor
        time of this process during the loop and of the worker processes. What happened within
        ``starting`` counts nowhere else, neither here nor as ``busy`` below.

        ``stages``: a row for each source, stage and runner, from the source upward:

        - ``name``; ``kind``: ``"iterator"`` (a source that only one thread can read),
          ``"source"`` (one with keys), ``"stage"``, ``"transfers"`` (many in flight without a
          thread each) or ``"runner"``.
        - ``runner``: whose workers run it; None for the consumer's own thread.
        - ``items``: datapoints handled; of a runner, those that came back from its workers.
        - ``units``: datapoints that can be worked on at once: threads, or transfers.
        - ``busy``: seconds of work, summed over the units. Of a runner: of encoding and copying in
          the workers and of decoding here. Those of datapoints cheaper than 25 µs are estimated
          from some of them.
        - ``here``: those of ``busy`` that the consumer's own thread spent.
        - ``share``: 0 to 1, of the time that all units were busy.
        - ``waiting``: seconds, summed over the units, in which they had nothing to do, because
          none had come, or because there was no room for more results. The stages of a runner
          share its units, and so these.
        - ``errors``: datapoints that failed there.
        - ``bytes``, where they are known: downloaded, read, or passed between processes.
        - of a runner: ``workers``; ``threads``, in each; ``unit``, what one more of would be
          (``"thread"`` or ``"process"``); ``restarts``; ``shared``, the most bytes of shared memory
          that results took; ``fill``, 0 to 1, how full the queue of finished results was on
          average; ``room``, how many of them may wait; ``at_once``, how many the loop takes at a
          time, such as those of a batch.
        """
        return runtime().summarise(self)

    def errors(self) -> FailureList:
        """All datapoints that were skipped or replaced, with reason and message.

        A list of `FailedDatapoint`, whose `to_csv` writes it. After a resume it has those of the
        runs before, too.
        """
        policies = error_policies(walk(self))
        return FailureList(failed for policy in policies for failed in policy.log.list())

    def retry_failed(self) -> DataFlow:
        """The same chain, built anew, over just the datapoints that failed so far.

        Raises:
            TypeError: where the source has no keys to go back to.
        """
        failed: dict[tuple[int, int], Any] = {}
        for policy in error_policies(walk(self)):
            failed |= policy.log.keys()
        return self._over(list(failed.values()))

    def plan(self) -> Plan:
        """How the chain is run: printed, a line for each flow, and where that works.

        Nothing is loaded for it. `dataflow.plan.planner` describes the rewrites that it names.
        """
        found: Plan = runtime().plan(self)
        return found

    def explain(self) -> str:
        """One paragraph: which stage holds the run back, with the figures behind it."""
        return runtime().explain(self.stats())

    # -- what stages implement ---------------------------------------------------------------

    def _stream(self, epoch: Epoch) -> Stream:
        """The pass `epoch` as pairs of tag and datapoint, DROPPED ones included."""
        raise NotImplementedError(f"{type(self).__name__} defines neither __iter__ nor get_data")

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        """The pair at one place of the pass; DROPPED where a stage drops it."""
        raise TypeError(
            f"{type(self).__name__} can only be iterated, so this dataflow has no random access"
        )

    def _length(self) -> int:
        raise UnknownLength(f"the length of {type(self).__name__} is not known")

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        if self._stays or not inputs:
            return Opaque(self, inputs, self._stays)
        return Streamed(self, inputs)

    def _stage_rows(self) -> list[dict[str, Any]]:
        """This flow's part of ``stats()["stages"]``."""
        return [self._row()]

    def _row(self) -> dict[str, Any]:
        kind = self._kind if is_native(self) or self._inputs() else None
        kind = kind or ("stage" if self._inputs() else "iterator")
        return self._meter.row(type(self).__name__, kind)

    def _over(self, keys: list[Any]) -> DataFlow:
        """The same flow with other keys in its source."""
        upstream = self._inputs()
        if len(upstream) != 1 or not isinstance(upstream[0], DataFlow):
            raise TypeError(f"{type(self).__name__} has no keys to retry")
        other = copy.copy(self)
        other.ds = upstream[0]._over(keys)  # type: ignore[attr-defined]
        return other

    def _interrupt(self) -> None:
        """Make the thread that waits in this flow for others raise `DataFlowTerminated`."""

    def _own_seed(self) -> int | None:
        return self.__seed

    def _set_own_seed(self, seed: int | None) -> None:
        self.__seed = seed

    def _is_native(self) -> bool:
        cls = type(self)
        return cls.__iter__ is DataFlow.__iter__ and cls.get_data is DataFlow.get_data

    def _count_as_ready(self) -> None:
        self.__ready = True

    def _state_for_worker(self, *, ready: bool) -> dict[str, Any]:
        state = self.__getstate__()
        for name in ("epoch", "looked_at"):
            state.pop(f"_DataFlow__{name}", None)
        for name, before in () if ready else self.__made.items():
            if name in state:
                del state[name]
                for one in before:
                    state[name] = one
        return state

    def _current_pass(self) -> Pass | None:
        return self.__pass

    def _current_epoch(self) -> int:
        """The number of the pass that was opened last."""
        return max(self.__epoch - 1, 0)

    def _current_path(self) -> tuple[int, ...]:
        """The branch of the graph that the flow was in then."""
        return self.__path

    def _join_pass(self, epoch: int, seed: int, path: tuple[int, ...]) -> None:
        self.__epoch = epoch
        self.__path = self.__next_path = path
        if self.__seed is None:
            self.__drawn = seed

    # -- how an epoch begins -----------------------------------------------------------------

    @property
    def _meter(self) -> Meter:
        if self.__meter is None:
            self.__meter = Meter()
        return self.__meter

    def _iterator(self) -> EpochIterator | None:
        return self.__iterator() if self.__iterator is not None else None

    def _interrupt_all(self) -> None:
        for flow in walk(self):
            if isinstance(flow, DataFlow):
                flow._interrupt()

    def _given_seed(self) -> int | None:
        """The first seed that somebody set, from here downward."""
        own = (flow._own_seed() for flow in walk(self) if isinstance(flow, DataFlow))
        return next((seed for seed in own if seed is not None), None)

    def _seed_of_chain(self) -> tuple[int, bool]:
        """The seed, and whether it is not just any."""
        if (given := self._given_seed()) is not None:
            return given, True
        for flow in walk(self):
            if (usual := getattr(flow, "_usual_seed", None)) is not None:
                return int(usual), True
        if self.__drawn is None:
            self.__drawn = fresh_seed()
        return self.__drawn, False

    def _prepare(self) -> None:
        """Call `reset_state` if nobody did."""
        if not self.__ready:
            self.reset_state()
            self.__ready = True

    def _make_ready(self, reset_state: Callable[[Any], None]) -> None:
        """Call this class's own `reset_state`, if nobody did, and note what it made."""
        if self.__ready:
            return
        self.__ready = True
        before = self.__dict__.copy()
        try:
            reset_state(self)
        except BaseException:
            self.__ready = False
            raise
        self.__made = {
            name: [before[name]] if name in before else []
            for name, value in self.__dict__.items()
            if name not in before or value is not before[name]
        }

    def _begin(self, epoch: Epoch | None = None) -> Epoch:
        """Start the next pass, or the given one."""
        self._prepare()
        self.__path, self.__next_path = self.__next_path, ()
        if epoch is None:
            if (last := self.__pass) and last.unread and self.__pending is None:
                # Some open an iterator to look, and drop it; that is no epoch.
                self.__epoch, self.__pending = last.epoch.number, dict(last.saved) or None
            number = self.__epoch if self.__pending is None else self.__pending["epoch"]
            epoch = self._epoch_number(number)
        self.__epoch = epoch.number + 1
        return epoch

    def _epoch_number(self, number: int) -> Epoch:
        seed, seeded = self._seed_of_chain()
        return Epoch(seed, number, seeded)

    def _tell_of_nothing(self, dropped: bool) -> None:
        """An epoch delivered nothing, as stages drop everything or not; this is said once."""
        if not self.__told_of_nothing:
            self.__told_of_nothing = True
            logger.warning("%s", runtime().why_nothing(self, dropped))

    def _open(self) -> EpochIterator:
        """The public iterator of the next pass; ends the one before, or that of another thread."""
        with self.__dict__.setdefault("_DataFlow__opening", threading.RLock()):
            return self.__open_pass()

    def __open_pass(self) -> EpochIterator:
        if (old := self._iterator()) is not None:
            old.terminate(
                f"a newer iterator was opened on the same dataflow, {type(self).__name__}: for two "
                "loops at once, build the chain twice"
            )
        # A subclass's own method that called this through super() has begun the pass already.
        epoch = self._begin() if is_native(self) else self._epoch_number(self.__epoch - 1)
        saved, self.__pending = self.__pending or {}, None
        before = None if saved or self.__pass is None else self.__pass.epoch.session
        epoch = epoch._replace(
            session=runtime().session(saved.get("cursors", {}), before, resumed=bool(saved))
        )
        self.__pass = Pass(epoch, saved)
        native = is_native(self)
        pairs = runtime().stream(self, epoch) if native else self._stream(epoch)
        empty = (lambda _: None) if saved else self._tell_of_nothing
        iterator = EpochIterator(pairs, self._meter, self.__pass, self._interrupt_all, empty)
        for _, _ in zip(range(saved.get("replay", 0)), iterator, strict=False):
            self.__pass.skipped, self.__pass.begun = self.__pass.delivered, False
        # Weakly, so that leaving a loop early ends the pass at once.
        self.__iterator = weakref.ref(iterator)
        return iterator

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry no running iterator."""
        state = self.__dict__.copy()
        for name in ("iterator", "opening", "meter", "ready", "made", "pass", "pending", "access"):
            state.pop(f"_DataFlow__{name}", None)
        return state
