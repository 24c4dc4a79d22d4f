"""What the consumer does with tasks itself: without a runner everything, else the rest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from dataflow.engine.apply import OpExecutor, Raised
from dataflow.engine.counters import Counters
from dataflow.engine.messages import UNSENT, Failed
from dataflow.epoch import DROPPED, Epoch
from dataflow.errors import WorkerError
from dataflow.failure_log import Origin
from dataflow.failures import ErrorPolicy
from dataflow.meter import Meter
from dataflow.node import meter_of, reset, stays
from dataflow.plan.fragment import Fragment
from dataflow.plan.tasks import LOADER, Task, members_of
from dataflow.randomness import first_of
from dataflow.stages.batch import BatchData
from dataflow.utils.arguments import shortened

__all__ = ["Consumer"]

_COUNT_TOGETHER = 64


class Consumer:
    """Runs op chains here, and decides about failures.

    Args:
        fragment: whose op chains.
        seed: the pass's seed.
        alone: there are no workers.
        keeps_count: the policies hear of all that passes, and of the beginning and end of the pass;
            not of batches, whose datapoints were counted upstream.
    """

    def __init__(
        self, fragment: Fragment, epoch: Epoch, *, alone: bool = False, keeps_count: bool = True
    ) -> None:
        self._fragment = fragment
        self._epoch = epoch
        self._seed = epoch.seed
        self._rows: dict[int, Any] = {}  # the keys of each source of which something failed
        self._sent = [0] * len(fragment.chains) if alone else fragment.sent
        # What of each op chain is left to do here.
        self._rest = [
            len(chain.stages) - sent
            for chain, sent in zip(fragment.chains, self._sent, strict=True)
        ]
        self._prepared = [False] * len(fragment.chains)
        self._counters = Counters([len(chain.stages) for chain in fragment.chains])
        # What is no `Exception`, such as Ctrl-C, is not the datapoint's.
        self._ops = OpExecutor(fragment.chains, self._counters, catches=Exception)
        self._done = 0  # since the counts were last taken
        policies = {policy for chain in fragment.chains for policy in chain.policies}
        self.policies = {policy for policy in policies if policy is not None and keeps_count}
        self._watchful = [policy for policy in self.policies if policy.gives_up]

    def make_all(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Any]]:
        """Every task and its datapoint, DROPPED included.

        Raises:
            Exception: what loader or stage raised, or the policy made of it.
        """
        sources = [
            meter_of(owner)
            for (_, stage), owner in self._fragment.owners.items()
            if stage == LOADER and stays(owner)
        ]
        while True:
            begun = perf_counter()
            if sources:
                begun -= sum(meter.below for meter in sources)
            task = next(tasks, None)
            if task is None:
                return
            if self._counters.timed:
                spent = perf_counter() - begun - sum(meter.below for meter in sources)
                self._counters.counts[task.chain][0][2] += spent
            yield task, self.make(task)

    def make(self, task: Task) -> Any:
        """The datapoint of one task, as above."""
        chain = self._fragment.chains[task.chain]
        if chain.loader is None and task.key is not DROPPED:
            counts = self._counters.counts[task.chain][0]
            counts[0] += 1
            counts[1] += self._counters.timed
        if self._rest[task.chain] and not self._prepared[task.chain]:
            self._prepare(task.chain, 0)
        return self._settled(task, self._ops.make(self._seed, task))

    def apply(self, task: Task, datapoint: Any) -> Any:
        """What the stages make of a datapoint that comes from a stream."""
        if not self._prepared[task.chain]:
            self._prepare(task.chain, 0)
        return self._settled(task, self._ops.make(self._seed, task, 0, datapoint))

    @property
    def is_idle(self) -> bool:
        """Whether `settle` gives every outcome but a `Failed` back as it is."""
        return not any(self._rest) and not self._watchful

    def settle(self, task: Task, outcome: Any) -> Any:
        """The datapoint of a task that a worker has an outcome for."""
        if isinstance(outcome, Failed):
            return self._failed(task, outcome.exception(), outcome.stage, ends=outcome.ends)
        if outcome is DROPPED or not self._rest[task.chain]:
            for policy in self._watchful:
                policy.passed()
            return outcome
        return self._finish(task, self._sent[task.chain], outcome)

    def batch(self, task: Task, stage: BatchData, members: list[Any]) -> Any:
        """A batch that is built here, after the stages on it."""
        begun = perf_counter()
        try:
            batch = stage.batch_of(members)
        except Exception as error:
            return self._failed(task, error, LOADER)
        finally:
            counts = self._counters.counts[task.chain][0]
            counts[0] += 1
            counts[1] += 1
            counts[2] += perf_counter() - begun
        return self._finish(task, 0, batch, replaced=True)

    def watch(self, datapoints: Iterator[Any]) -> Iterator[Any]:
        """Tell the policies when the epoch begins and ends, and stages what was counted."""
        for policy in self.policies:
            policy.epoch_began()
        stages = [
            stage
            for chain, sent in zip(self._fragment.chains, self._sent, strict=True)
            for stage in chain.stages[sent:]
        ]
        before = [stage.gauges() for stage in stages]
        try:
            yield from datapoints
        finally:
            self._enter_counts()
            for stage, earlier in zip(stages, before, strict=True):
                for name, value in stage.gauges().items():
                    if name != "busy":  # measured from outside
                        stage._meter.add(name, value - earlier.get(name, 0))
        for policy in self.policies:
            policy.epoch_ended()

    def _prepare(self, chain: int, first: int) -> None:
        """Make ready the stages from number `first` on, which run here."""
        self._prepared[chain] = True
        for stage in self._fragment.chains[chain].stages[first:]:
            reset(stage)

    def _finish(self, task: Task, first: int, datapoint: Any, *, replaced: bool = False) -> Any:
        """Run the stages from number `first` on."""
        if first == len(self._fragment.chains[task.chain].stages):
            return datapoint if replaced else self._passed(datapoint)
        if not self._prepared[task.chain]:
            self._prepare(task.chain, first)
        outcome = self._ops.make(self._seed, task, first, datapoint)
        return self._settled(task, outcome, replaced=replaced)

    def _settled(self, task: Task, outcome: Any, *, replaced: bool = False) -> Any:
        if type(outcome) is Raised:  # to whoever decides about that stage
            return self._failed(task, *outcome)
        return outcome if replaced else self._passed(outcome)

    def _passed(self, datapoint: Any) -> Any:
        for policy in self._watchful:
            policy.passed()
        self._done += 1
        if self._done >= _COUNT_TOGETHER:
            self._enter_counts()
        return datapoint

    def _failed(self, task: Task, error: Exception, stage: int, *, ends: bool = False) -> Any:
        """What becomes of a datapoint whose loader or stage raised.

        Args:
            task: the datapoint's.
            error: what was raised.
            stage: the stage's index, LOADER or UNSENT.
            ends: there are no more after it, so it is raised whatever the policy.
        """
        chain = self._fragment.chains[task.chain]
        self._meter(task.chain, stage).errors += 1
        policies = chain.policies
        place = self._sent[task.chain] if stage == UNSENT else stage + 1
        policy = policies[place]
        keyed = self._fragment.is_keyed(task)
        members = members_of(task)
        key = task.key if members is None else [one.key for one in members]
        # Of others that are skipped nobody reads it, and keys may be large.
        if policy is None or ends or isinstance(error, WorkerError):
            words = _in_words(task, key if keyed else None)
            error = _told(error, f"{words}, in {self._name(task.chain, stage)}")
        if policy is None or ends:
            raise error
        replacement = policy.failed_with(
            error,
            None if self._fragment.sequential else key,
            None if keyed else first_of(task.tag)[1],
            self._origins(members or [task]) if keyed and policy.on_error != "raise" else (),
        )
        if replacement is None:
            session = self._epoch.session
            if not session.pools:  # of `ds[i]`; otherwise the error would keep its frames alive
                session.why_dropped = error
            return DROPPED
        # It takes the place of what the deciding flow would have delivered.
        return self._finish(task, _reach(policies, place, policy), replacement, replaced=True)

    def _origins(self, tasks: list[Task]) -> list[Origin]:
        """Which keys of which sources some tasks are of."""
        found = []
        for task in tasks:
            source = self._fragment.owners[task.chain, LOADER]
            if (number := source._stage_number()) not in self._rows:
                self._rows[number] = source.keys()
            tag = first_of(task.tag)
            place = source._index_of(self._epoch, tag)
            found.append(Origin(number, self._rows[number], place, tag))
        return found

    def _enter_counts(self) -> None:
        """Bring the meters up to date."""
        done, self._done = self._done, 0
        for chain, stage, items, busy in self._counters.take(done):
            meter = self._meter(chain, stage)
            meter.items += items
            meter.busy += busy

    def _name(self, chain: int, stage: int) -> str:
        """Who that is, with the function that it calls."""
        owner = self._fragment.runner if stage == UNSENT else self._fragment.owners[chain, stage]
        function = getattr(getattr(owner, "func", None), "__name__", None)
        return type(owner).__name__ + (f" with {function}" if function else "")

    def _meter(self, chain: int, stage: int) -> Meter:
        if stage == UNSENT:
            return meter_of(self._fragment.runner)
        return meter_of(self._fragment.owners[chain, stage])


def _told(error: Exception, where: str) -> Exception:
    """The same, which says what datapoint it was of; others than ours from Python 3.11 on."""
    if isinstance(error, WorkerError):
        error.where = where
    elif sys.version_info >= (3, 11):
        note = f"dataflow: for {where}"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    return error


def _in_words(task: Task, key: Any) -> str:
    """Which datapoint it is; `key` is None where it has none."""
    members = members_of(task) or [task]
    epoch, *positions = first_of(task.tag)[0], *(first_of(one.tag)[1] for one in members)
    which = f"position {positions[0]}" if len(positions) == 1 else f"positions {positions}"
    return f"{which} of epoch {epoch}" + ("" if key is None else f", key {shortened(key)}")


def _reach(policies: list[ErrorPolicy | None], place: int, policy: ErrorPolicy) -> int:
    """The first stage that `policy` does not decide about, counted from `place`."""
    while place < len(policies) and policies[place] is policy:
        place += 1
    return place - 1
