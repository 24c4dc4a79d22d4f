"""Drives a run: waits for its workers, and gives what comes to whoever iterates."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from dataflow.engine.deliveries import Deliveries
from dataflow.engine.run import LOOK_SECONDS, Run
from dataflow.executor.events import Executor
from dataflow.plan.tasks import Task

__all__ = ["drive"]


def drive(run: Run, executor: Executor, redo: list[tuple[int, Task]]) -> Iterator[Deliveries]:
    """Every task with its outcome, as it may be delivered; some at a time.

    Args:
        run: the pass.
        executor: its workers.
        redo: whoever takes the results puts in here what was delivered last, to have it done
            again in another way; in a fixed order only.
    """
    next_look, most = 0.0, 1
    while not run.finished:
        more = run.hand_out()
        idle = True
        while (done := run.take(most)) is not None:
            idle = False
            begun, count = perf_counter(), len(done)
            yield done
            if redo:
                run.redo(*redo.pop())
            run.was_away()
            now = perf_counter()
            most = run.worth_taking(count, now - begun)
            # Workers may have run dry while the loop was away; but a look at the sockets for each
            # of many cheap datapoints would cost more than they do.
            if now > next_look:
                run.receive(executor.poll(0))
                run.patience()
                run.hand_out()
                next_look = now + LOOK_SECONDS
        if idle and not run.finished:
            patience = run.patience()
            run.receive(run.metrics.wait(0 if more else patience))
