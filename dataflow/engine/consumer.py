"""What the consumer does with tasks by itself: without a runner all, else the rest."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

from dataflow.base import meter_of, reset
from dataflow.engine.messages import LOADER, UNSENT, Failed, Task
from dataflow.engine.part import Part
from dataflow.epoch import DROPPED
from dataflow.failures import ErrorPolicy
from dataflow.meter import Meter
from dataflow.randomness import enter, leave
from dataflow.sources.keyed import KeyedSource

__all__ = ["Consumer"]


class Consumer:
    """Runs programs here, and decides about failures.

    Args:
        part: whose programs.
        seed: the pass's seed.
        alone: there are no workers.
    """

    def __init__(self, part: Part, seed: int, *, alone: bool = False) -> None:
        self._part = part
        self._seed = seed
        self._runner = meter_of(part.runner) if part.runner is not None else Meter()
        self._sent = [0] * len(part.programs) if alone else part.sent
        self._meters = {key: meter_of(owner) for key, owner in part.owners.items()}
        self._prepared = [False] * len(part.programs)
        self.policies = {
            policy for program in part.programs for policy in program.policies if policy is not None
        }

    def make(self, task: Task) -> Any:
        """The datapoint of a task, DROPPED included.

        Raises:
            Exception: what loader or stage raised, or the policy made of it.
        """
        program = self._part.programs[task.program]
        value = task.key
        if program.loader is not None:
            begun = perf_counter()
            enter(self._seed, task.tag, 0)
            try:
                value = program.loader(value)
            except Exception as error:
                return self._failed(task, error, LOADER)
            finally:
                leave()
                self._count(task.program, LOADER, perf_counter() - begun)
            if value is None:
                return self._passed(DROPPED)
        else:
            self._count(task.program, LOADER, 0.0)
        return self._finish(task, 0, value)

    def settle(self, task: Task, outcome: Any) -> Any:
        """The datapoint of a task that a worker has an outcome for."""
        if isinstance(outcome, Failed):
            return self._failed(task, outcome.exception(), outcome.stage)
        if outcome is DROPPED:
            return self._passed(outcome)
        return self._finish(task, self._sent[task.program], outcome)

    def watch(self, datapoints: Iterator[Any]) -> Iterator[Any]:
        """Tell the policies when the epoch begins and ends, and stages what was counted."""
        for policy in self.policies:
            policy.epoch_began()
        stages = [
            stage
            for program, sent in zip(self._part.programs, self._sent, strict=True)
            for stage in program.stages[sent:]
        ]
        before = [stage.gauges() for stage in stages]
        try:
            yield from datapoints
        finally:
            for stage, earlier in zip(stages, before, strict=True):
                for name, value in stage.gauges().items():
                    if name != "busy":  # measured from outside
                        stage._meter.add(name, value - earlier.get(name, 0))
        for policy in self.policies:
            policy.epoch_ended()

    def _finish(self, task: Task, at: int, datapoint: Any, *, replaced: bool = False) -> Any:
        """Run the stages from number `at` on."""
        program = self._part.programs[task.program]
        stages = program.stages
        if not self._prepared[task.program]:
            self._prepared[task.program] = True
            for stage in stages[at:]:
                reset(stage)
        while at < len(stages):
            begun = perf_counter()
            enter(self._seed, task.tag, program.numbers[at])
            try:
                datapoint = stages[at].apply(datapoint)
            except Exception as error:  # to whoever decides about that stage
                return self._failed(task, error, at)
            finally:
                leave()
                self._count(task.program, at, perf_counter() - begun)
            if datapoint is None:
                datapoint = DROPPED
                break
            at += 1
        return datapoint if replaced else self._passed(datapoint)

    def _passed(self, datapoint: Any) -> Any:
        for policy in self.policies:
            policy.passed()
        return datapoint

    def _failed(self, task: Task, error: Exception, stage: int) -> Any:
        """What becomes of a datapoint whose loader or stage raised."""
        (self._runner if stage == UNSENT else self._meters[task.program, stage]).errors += 1
        program = self._part.programs[task.program]
        policies = program.policies
        place = self._sent[task.program] if stage == UNSENT else stage + 1
        policy = policies[place]
        if policy is None:
            raise error
        keyed = isinstance(self._part.owners[task.program, LOADER], KeyedSource)
        replacement = policy.failed_with(
            error,
            None if self._part.sequential else task.key,
            None if keyed else task.tag[1],
        )
        if replacement is None:
            return DROPPED
        # It takes the place of what the deciding flow would have delivered.
        return self._finish(task, _reach(policies, place, policy), replacement, replaced=True)

    def _count(self, program: int, stage: int, seconds: float) -> None:
        meter = self._meters[program, stage]
        meter.items += 1
        meter.busy += seconds


def _reach(policies: list[ErrorPolicy | None], place: int, policy: ErrorPolicy) -> int:
    """The first stage that `policy` does not decide about, counted from `place`."""
    while place < len(policies) and policies[place] is policy:
        place += 1
    return place - 1
