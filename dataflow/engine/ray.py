"""The runner on the actors of a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataflow.engine.options import RunnerOptions
from dataflow.engine.runner import Runner
from dataflow.errors import ConfigError
from dataflow.executor.events import Executor
from dataflow.failures import OnError
from dataflow.plan.fragment import Fragment
from dataflow.utils.arguments import whole_number

__all__ = ["PrefetchDataRay"]


class PrefetchDataRay(Runner):
    """Runs the chain upstream in Ray actors; each datapoint comes exactly once an epoch.

    All is as with `PrefetchDataZMQ`, on any number of machines: the source's keys stay here,
    loading and the per-item stages go to the actors, and threads or transfers of a runner further
    down count for each. Results come through Ray's object store; arrays are copied out of it once,
    so they can be written into and kept.

    Stages are sent as pickles with code in them, within the cluster, whose members trust each
    other. What they import, this package too, must be there on the nodes; `actor_options` may say
    ``{"runtime_env": …}`` for that.

    Where this process is connected to a cluster already, that one is used. Otherwise it connects to
    `address`, or else to ``RAY_ADDRESS``, or else starts a Ray of its own on this machine. What was
    connected or started here ends with the last workers of such runners: by `close`, or when they
    are forgotten. ``ray.init()`` beforehand keeps it.

    Args:
        ds: the chain.
        num_actors: actors.
        actor_options: what Ray's ``Actor.options(…)`` takes about resources and placement. Unless
            it says otherwise, actors are spread over the nodes and reserve no CPUs;
            ``{"num_cpus": 1}`` reserves one each, for which a cluster grows, if it can.
        address: the cluster, where this process is not connected to one; not one of Ray Client's
            (``ray://``).
        ordered: deliver in the source's order; None means: if a seed was set.
        hwm: datapoints that may wait to be delivered, as in `PrefetchDataZMQ`.
        buffer_size: the same as `hwm`, which it overrides.
        on_error: what becomes of a datapoint whose stage raised: ``"raise"``, ``"skip"``, or a
            function of error and datapoint that returns a replacement or None.
        replicate: run the whole flow independently in each actor, so that each delivers all of it:
            for endless random generators.
        task_timeout: seconds that a datapoint may keep an actor; then that is killed and the
            datapoint tried once more, alone. None: as long as it likes.
        max_restarts: actors that may die without anything getting done in between.

    Nobody can tell what an actor that died was working on. So all that it had and had not reported
    runs again, one by one, with nothing else beside it; a datapoint over which two actors more die
    is a `PoisonedDatapoint` for `on_error`.

    Raises:
        MissingExtra: Ray is not installed.
        WorkerDied: (from the iterator) beyond `max_restarts`.
    """

    _elsewhere = True
    _sends_ops = True
    _stays = True  # another runner downstream would do the work here, and the cluster none
    _whole = True
    _unit = "actor"

    def __init__(
        self,
        ds: Any,
        num_actors: int = 2,
        *,
        actor_options: Mapping[str, Any] | None = None,
        address: str | None = None,
        ordered: bool | None = None,
        hwm: int | None = None,
        buffer_size: int | None = None,
        on_error: OnError = "raise",
        replicate: bool = False,
        task_timeout: float | None = None,
        max_restarts: int = 3,
    ) -> None:
        buffer_size = hwm if buffer_size is None else buffer_size
        super().__init__(
            ds, RunnerOptions(ordered, buffer_size, on_error, max_restarts, task_timeout)
        )
        self.num_actors = whole_number("num_actors", num_actors, 1)
        self.actor_options = dict(actor_options or {})
        if address is not None and address.startswith("ray://"):
            raise ConfigError(
                f"address={address!r} is one of Ray Client's, which cannot pass on what actors "
                "yield: run the chain on a node of the cluster"
            )
        self.address = address
        self.replicate = replicate
        self._replicas = self.num_actors if replicate else 0
        self._actors()

    def _length(self) -> int:
        return len(self.ds) * (self.num_actors if self.replicate else 1)

    def _worker_count(self, fragment: Fragment) -> int:
        return 1 if fragment.sequential and not self.replicate else self.num_actors

    def _actors(self) -> Any:
        from dataflow.engine.actor import RayWorker
        from dataflow.executor.ray import actor_class

        return actor_class(RayWorker, self.actor_options)

    def _wants(self) -> dict[str, Any]:
        """The resources of an actor, for a person."""
        plain = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
        told = {plain[name]: n for name, n in self.actor_options.items() if name in plain and n}
        return told | dict(self.actor_options.get("resources") or {})

    def _start_executor(self, fragment: Fragment, buffer: int) -> Executor:
        from dataflow.executor.ray import RayExecutor

        fragment.leave_to_workers()
        return RayExecutor(
            self._actors(),
            wants=self._wants(),
            address=self.address,
            chains=fragment.packed(),
            threads=self._threads(fragment),
            timeout=self._options.task_timeout,
        )
