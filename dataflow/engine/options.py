"""What every runner can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

from dataflow.errors import ConfigError
from dataflow.failures import OnError
from dataflow.utils.arguments import whole_number

__all__ = ["RunnerOptions"]


@dataclass(frozen=True)
class RunnerOptions:
    """The options that all runners have.

    Attributes:
        ordered: deliver in the source's order; None means: if a seed was set.
        buffer_size: datapoints that may wait to be delivered; None: as many as two of what the loop
            takes at a time, such as two batches, at least `Runner._usual_buffer`, and at most an
            eighth of the memory. Of datapoints that are so cheap and small that messages would cost
            more than they do, some hundred more may be under way: about 2 ms of work and 64 kB a
            lease.
        on_error: what becomes of a datapoint whose stage raised; None leaves that to the source.
        max_restarts: workers that may die without progress in between.
        task_timeout: seconds that a datapoint may keep a worker; None: as long as it likes.
        init: is called in each worker process as it starts.

    Raises:
        ConfigError: one of them makes no sense.
    """

    ordered: bool | None = None
    buffer_size: int | None = None
    on_error: OnError | None = "raise"
    max_restarts: int = 3
    task_timeout: float | None = None
    init: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        if self.buffer_size is not None:
            whole_number("buffer_size", self.buffer_size, 1)
        whole_number("max_restarts", self.max_restarts, 0)
        if self.init is not None and not callable(self.init):
            raise ConfigError(f"init={self.init!r} must be a function without arguments")
        timeout = self.task_timeout
        if timeout is not None and not (isinstance(timeout, Real) and timeout > 0):
            raise ConfigError(
                f"task_timeout={self.task_timeout!r} must be a positive number or None"
            )
