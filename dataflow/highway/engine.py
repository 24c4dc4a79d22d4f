"""Pipelines: nodes one after the other, on this package's dataflows."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from dataflow.engine.runners import PrefetchDataZMQ
from dataflow.errors import ConfigError, DataFlowError, DataFlowTerminated, PeerTimeout
from dataflow.flow import DataFlow
from dataflow.highway.batch import Batch
from dataflow.highway.node import Map, Node, Sink, Source
from dataflow.stages.map import MapData

__all__ = ["Batch", "Ended", "Map", "Node", "Pipeline", "Sink", "Source"]

logger = logging.getLogger(__name__)


class Ended(DataFlowError, queue.Empty):
    """The pipeline's source has no more. (A `queue.Empty`, as Highway's scripts catch it.)"""


class Pipeline:
    """Batches through nodes.

    ::

        reader = ImageFileReader("photos", 16, (240, 320))
        with Pipeline([reader, Augmentations([FlipX()])]) as p:
            images, labels = p.dequeue()

    All nodes but a sink are a dataflow, `flow`, that runs in as many processes as the nodes have
    `n_worker` together, each of which does all the steps. Each batch comes once; a process that
    dies is replaced, and its batches go to others. What `flow` offers works here, too:
    ``p.flow.seed(7)`` before the first batch, ``p.flow.state_dict()``, ``stats()``, ``explain()``.

    Processes start with the first `dequeue`. A pipeline whose last node is a sink, or keeps what it
    gets (`ImgSaver` without `enqueue`), runs by itself from the beginning: in a thread for which
    the interpreter waits, as long as the source has more.

    Args:
        nodes: a `Source`, any number of `Map`, and perhaps a `Sink`; each in this pipeline only.

    Attributes:
        nodes: these.
        flow: the dataflow of batches, as dicts.

    Raises:
        ConfigError: the nodes do not make a pipeline; or an address is taken.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = _checked(nodes)
        self._lock = threading.Lock()
        self._ending = threading.RLock()
        self._iterator: Iterator[dict[str, Any]] | None = None
        self._stopped = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        last = self.nodes[-1]
        try:
            self.flow = _chain(self.nodes)
            if isinstance(last, Sink):
                last.open()
        except BaseException:
            for node in self.nodes:
                node.stop()
            raise
        if not last.enqueue:
            self._thread = threading.Thread(target=self._run, name="dataflow-highway")
            self._thread.start()
            _at_exit(weakref.WeakMethod(self._see_off))

    def dequeue(self) -> Batch:
        """The next batch; any thread may ask.

        Raises:
            Ended: there is none, or it failed before; most sources have no end.
            PeerTimeout: none came within the `timeout` of a `ZMQSource`; ask again if you like.
            DataFlowTerminated: the pipeline was stopped, before or meanwhile.
            ConfigError: it ends in a sink.
        """
        if self._thread is not None:
            what = type(self.nodes[-1]).__name__
            raise ConfigError(f"nothing comes out of a pipeline that ends in {what}: see wait()")
        try:
            return Batch(next(self._opened()))
        except StopIteration:
            why = f"it failed before: {self._error}" if self._error else "the source has no more"
            raise Ended(why) from None
        except PeerTimeout:
            self._iterator = None  # something may come later
            raise
        except Exception as error:
            self._error = error
            raise

    def __iter__(self) -> Pipeline:
        return self

    def __next__(self) -> Batch:
        try:
            return self.dequeue()
        except Ended:
            raise StopIteration from None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the sink has had everything, for so many seconds at most.

        Returns:
            Whether it has, or was stopped.

        Raises:
            Exception: what ended it before.
        """
        if self._thread is None:
            raise ConfigError("only a pipeline that ends in a sink runs by itself")
        self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End processes, threads and sockets. Idempotent, from any thread.

        Who waits in `dequeue` gets `DataFlowTerminated`. A database that a sink was writing is
        complete as far as it came. Where a source's last batches are leaving over the network, this
        waits for them, for the `linger` of the sink at most.
        """
        with self._lock:
            self._stopped = True
        self._end()
        if self._thread not in (None, threading.current_thread()):
            assert self._thread is not None
            self._thread.join()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _opened(self) -> Iterator[dict[str, Any]]:
        with self._lock:
            if self._stopped:
                raise DataFlowTerminated("the pipeline was stopped")
            if self._iterator is None:
                self._iterator = iter(self.flow)
            return self._iterator

    def _run(self) -> None:
        last = self.nodes[-1]
        try:
            if isinstance(last, Sink):
                last.run(self._batches())
            else:
                for _ in self._batches():
                    pass
        except DataFlowTerminated:
            pass  # it was stopped
        except Exception as error:
            self._error = error
            logger.error("the pipeline to %s ended: %s", type(last).__name__, error)
        finally:
            self._end()

    def _end(self) -> None:
        """Let go whoever waits, then close; several threads may come here at once."""
        for node in self.nodes:
            node.stop()  # first of all: who waits for the network holds up the rest
        with self._ending:
            self.flow.close()

    def _see_off(self) -> None:
        """The program is over; Ctrl-C ends what it leaves running."""
        assert self._thread is not None
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self.stop()

    def _batches(self) -> Iterator[dict[str, Any]]:
        yield from self._opened()


def _at_exit(method: weakref.WeakMethod[Any]) -> None:
    """Call a method as soon as the main thread is done.

    Functions of `atexit` come too late: Python waits for other threads before, and Ctrl-C would
    break that off with a traceback. What `concurrent.futures` uses is not public, so it may be
    missing; then there is the traceback.
    """

    def call() -> None:
        if (alive := method()) is not None:
            alive()

    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with suppress(RuntimeError):  # the main thread is done already
            register(call)


def _checked(nodes: Sequence[Node]) -> list[Node]:
    """The nodes, if they make a pipeline."""
    nodes = list(nodes)
    if not nodes:
        raise ConfigError("nodes=[] must be at least a source")
    for place, node in enumerate(nodes):
        kinds = (Source,) if place == 0 else (Map, Sink) if place == len(nodes) - 1 else (Map,)
        if not isinstance(node, kinds):
            wanted = " or ".join(f"a {kind.__name__}" for kind in kinds)
            raise ConfigError(f"nodes[{place}]={node!r} must be {wanted}")
        if place < len(nodes) - 1 and not node.enqueue:
            raise ConfigError(f"nodes[{place}]={node!r} keeps what it gets: give it enqueue=True")
        if node.taken:
            raise ConfigError(f"nodes[{place}]={node!r} is in another pipeline: make another one")
    for node in nodes:
        node.taken = True
    return nodes


def _chain(nodes: list[Node]) -> DataFlow:
    """The dataflow of all nodes but a sink."""
    source, *others = nodes
    assert isinstance(source, Source)
    flow: DataFlow = source.flow()
    maps = [node for node in others if isinstance(node, Map)]
    for node in maps:
        flow = MapData(flow, node.apply)
    steps = [source, *maps]
    workers = sum(node.n_worker for node in steps)
    if not workers:
        return flow
    waiting = next(node.queue_size for node in reversed(steps) if node.n_worker)
    # Of batches that workers build, runners count the samples.
    return PrefetchDataZMQ(flow, workers, waiting * source.batch_size)
