"""An epoch that is read once and kept."""

from __future__ import annotations

import threading
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import NotResumable
from dataflow.kinds import ProxyDataFlow
from dataflow.meter import Meter
from dataflow.node import mark_ready
from dataflow.opening import stream
from dataflow.ownership import copied
from dataflow.randomness import Tag, generator

__all__ = ["CacheData"]


class CacheData(ProxyDataFlow):
    """Keep the input's first epoch in memory, and deliver that one in every epoch.

    What the input draws at random is drawn once; put random augmentors downstream. Runners upstream
    work in the first epoch only, and one downstream helps to read that epoch; later on it gets the
    datapoints from here, in the process that iterates.

    A first epoch that is left early is gone on with in the next one, and nothing is read twice. A
    chain that is resumed in another process reads the whole epoch again. `ds[i]` reads it, too, as
    far as it must, and waits for no machines of a pool. Each datapoint is delivered as a copy, so
    nobody writes into the cache.

    Args:
        ds: the input.
        shuffle: a new random order in each epoch but the first.
    """

    # The datapoints are here, so workers get them from here.
    _stays = True
    _held: _Held | None = None

    def __init__(self, ds: Any, shuffle: bool = False) -> None:
        super().__init__(ds)
        self.shuffle = shuffle

    def reset_state(self) -> None:
        """Nothing upstream is touched: it gets ready where it runs, which may be in workers."""
        mark_ready(self)

    def _stream(self, epoch: Epoch) -> Stream:
        held = self._of(epoch)
        epoch.session.need(held.check)
        try:
            order = self._order(held, epoch)
            for place in count():
                index = place if order is None else int(order[place])
                yield (epoch.number, place, *epoch.path), held.get(index, epoch)
        except IndexError:
            if not held.complete:
                raise  # somebody else's
        finally:
            held.pause()

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        held = self._of(epoch)
        order = self._order(held, epoch)
        datapoint = held.get(index if order is None else int(order[index]), epoch)
        return (epoch.number, index, *epoch.path), datapoint

    def _order(self, held: _Held, epoch: Epoch) -> npt.NDArray[np.int64] | None:
        """Where to find each place; None where the order is the input's."""
        if not self.shuffle or epoch.number == 0:
            return None
        path = (epoch.number, self._stage_number(), *epoch.order_of(self))
        return generator(epoch.seed, "cache", *path).permutation(held.fill(epoch))

    def _of(self, epoch: Epoch) -> _Held:
        """What is kept, if it is of this pass's seed, or if the seed is not one to be kept to."""
        held = self._held
        if held is not None and held.path == epoch.order_of(self):
            asked = held.seeded or epoch.seeded or epoch.session.resumed
            if held.seed == epoch.seed or not asked:
                return held
        if held is not None:
            held.pause()
        self._held = _Held(self.ds, epoch, epoch.order_of(self), self._meter)
        return self._held

    def close(self) -> None:
        """End the current pass. What is kept stays as long as this flow."""
        if self._held is not None:
            self._held.pause()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_held": None}  # copies read for themselves


class _Held:
    """The input's epoch 0 as far as it was read, which goes on wherever somebody asks for more.

    Args:
        ds: the input.
        epoch: the pass that asks first.
        path: the branch that it is for.
        meter: the cache's.

    Attributes:
        complete: there is no more to read.
    """

    def __init__(self, ds: Any, epoch: Epoch, path: tuple[int, ...], meter: Meter) -> None:
        self.seed, self.seeded, self.path = epoch.seed, epoch.seeded, path
        self.complete = False
        self._ds = ds
        self._meter = meter
        self._datapoints: list[Datapoint] = []
        self._pairs: Any = None
        self._session: Any = None
        self._lacks_pools = False  # `ds[i]` opened it
        self._again = 0  # how many datapoints come again that are here already
        self._lock = threading.RLock()  # `ds[i]` may be asked for from any thread

    def get(self, index: int, epoch: Epoch) -> Datapoint:
        """One of the datapoints.

        Raises:
            IndexError: there are not so many.
        """
        while index >= len(self._datapoints):
            with self._lock:
                if index >= len(self._datapoints) and not self._read(epoch):
                    raise IndexError(f"index {index} of {len(self._datapoints)} datapoints")
        return copied(self._datapoints[index])

    def fill(self, epoch: Epoch) -> int:
        """Read the rest; returns how many datapoints there are."""
        with self._lock:
            while self._read(epoch):
                pass
        return len(self._datapoints)

    def check(self) -> None:
        """Raise `NotResumable` where reading again would not give the same."""
        if self._session is not None:
            self._session.replays(finished=False)

    def pause(self) -> None:
        """End what works for reading, in a way that it can go on from here."""
        with self._lock:
            pairs, self._pairs = self._pairs, None
            if pairs is not None:
                pairs.close()

    def _read(self, epoch: Epoch) -> bool:
        """Read one more; False where there is none."""
        if self.complete:
            return False
        begun = perf_counter()
        try:
            if self._lacks_pools and epoch.session.pools:
                self.pause()
            if self._pairs is None:
                self._pairs = self._open(epoch)
            for _, datapoint in self._pairs:
                if datapoint is DROPPED:
                    continue
                if self._again:
                    self._again -= 1
                    continue
                self._datapoints.append(copied(datapoint))  # which keeps no larger image alive
                return True
        except BaseException:
            self.pause()
            raise
        finally:
            self._meter.below += perf_counter() - begun
        self._pairs = None
        self.complete = True
        return False

    def _open(self, epoch: Epoch) -> Any:
        """The input's stream from where it was left."""
        saved: dict[str, Any] = {}
        self._again = 0
        if self._session is not None:
            try:
                if self._session.replays(finished=False) is None:
                    saved = self._session.state()
                else:
                    self._again = len(self._datapoints)
            except NotResumable:
                if not self._session.lost:  # what was taken from a queue does not come again
                    self._datapoints.clear()
        self._session = epoch.session.apart(saved)
        self._lacks_pools = not epoch.session.pools
        if epoch.runners:
            epoch.runners[0]._claim(self._ds)
        # In order: the place of a datapoint here decides its random numbers downstream.
        inner = epoch._replace(number=0, session=self._session, in_order=True, last=True)
        return stream(self._ds, inner)
