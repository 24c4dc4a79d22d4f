"""The dataflow of a graph's samples: a keyed source whose key is the index."""

from __future__ import annotations

import copy
import functools
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, ParamSpec

from dataflow.engine.runners import ThreadRunner
from dataflow.epoch import Epoch
from dataflow.errors import ConfigError, UnknownLength
from dataflow.randomness import Tag
from dataflow.sources.keyed import KeyedSource
from dataflow.stream.code import Code, TooLarge
from dataflow.stream.draws import MASK
from dataflow.stream.graph import Node, constant, flat, nested, reachable
from dataflow.stream.passes import fold, steps_of
from dataflow.stream.shared import kept

__all__ = ["Sampler", "Stream", "stream"]

logger = logging.getLogger(__name__)

_ENDLESS = range(1 << 62)
_Arguments = ParamSpec("_Arguments")


class Sampler:
    """Makes samples: ``(seed, index)`` → list of outputs. Compiled anew in each process.

    Args:
        outputs: the nodes.
        name: of the compiled function.
        given: values of inputs, by name.
        optimize: merge equal nodes, fold constants, compute a branch only when it is taken. The
            samples are the same without.
    """

    def __init__(
        self, outputs: list[Node], name: str, given: Mapping[str, Any], optimize: bool
    ) -> None:
        self._made_of = (outputs, name, given, optimize)
        self._code: Code | None = None

    @property
    def code(self) -> Code:
        """The compiled function and its source."""
        if self._code is None:
            outputs, name, given, optimize = self._made_of
            steps = steps_of(outputs, given=given, merge=optimize)
            steps = fold(steps) if optimize else steps
            try:
                self._code = Code(steps, name, lazy=optimize)
            except TooLarge as error:
                logger.warning("%s: %s; all branches of all choices are computed", name, error)
                self._code = Code(steps, name, lazy=False)
        return self._code

    def __call__(self, key: tuple[int, int]) -> list[Any]:
        seed, index = key
        code = self.code  # what is wrong with the graph tells its place itself
        try:
            return code.function(seed, index)
        except Exception as error:
            told = code.located(error)
            if told is error:
                del told
                raise
        try:  # outside, or the one without a place would stand there as its context
            raise told
        finally:
            del told  # or its traceback would hold this frame, and this frame it

    def __reduce__(self) -> Any:
        outputs, *rest = self._made_of
        return _sampler, (*flat(outputs), *rest)


class Stream(KeyedSource):
    """An endless dataflow whose sample i is decided by (seed, i) and the graph alone.

    ``s[7]`` is sample 7; ``s.take(100)`` is a dataflow of the first 100. The epoch makes no
    difference. Without `seed` the seed is 0; it makes no difference either what other parts of a
    chain are seeded with, unless the whole chain is.

    Args:
        outputs: the nodes whose values are the components of a sample.
        name: what it is called: a name as Python has it.
        optimize: merge equal nodes, fold constants, compute a branch only when it is taken. The
            samples are the same without.

    Attributes:
        outputs: the nodes.
        values: what its inputs were given, by name; see `given`.

    Raises:
        ConfigError: there are no outputs, or one of them cannot be in a graph.
    """

    _consumer_only = ("outputs",)
    _usual_seed = 0  # where none was given
    _again: list[Any] | None = None  # the keys of samples that failed

    def __init__(self, outputs: Any, name: str = "sample", *, optimize: bool = True) -> None:
        self._describe(outputs, name, optimize)
        self._sampler.code  # noqa: B018 - what is wrong with the graph raises here

    @classmethod
    def uncompiled(cls, outputs: Any, name: str, optimize: bool) -> Stream:
        """The same, compiled when it is used: until then nothing is computed."""
        made = cls.__new__(cls)
        made._describe(outputs, name, optimize)
        return made

    def _describe(self, outputs: Any, name: str, optimize: bool) -> None:
        if not isinstance(outputs, (list, tuple)):
            outputs = [] if outputs is None else [outputs]
        if not outputs:
            raise ConfigError("a stream needs at least one output: return a node, or several")
        self.outputs = [constant(one) for one in outputs]
        self.name = re.sub(r"\W|^(?=\d)", "_", name, flags=re.ASCII)[:80] or "sample"
        self.optimize = bool(optimize)
        self.values: dict[str, Any] = {}
        self._sampler = Sampler(self.outputs, self.name, self.values, self.optimize)

    @property
    def source(self) -> str:
        """The text of the Python function that makes a sample."""
        return self._sampler.code.source

    def given(self, **values: Any) -> Stream:
        """The same stream with values for its inputs; draws do not depend on them.

        Raises:
            ConfigError: the graph has no such input.
        """
        other = copy.copy(self)
        other.values = {**self.values, **{name: kept(one) for name, one in values.items()}}
        names = {node.args[0].value for node in reachable(self.outputs) if node.name == "input"}
        if unknown := set(values) - names:
            known = ", ".join(sorted(names)) or "none"
            raise ConfigError(f"there is no input {min(unknown)!r}: there is {known}")
        other._sampler = Sampler(self.outputs, self.name, other.values, self.optimize)
        return other

    def seed(self, seed: int) -> Stream:
        """Decide every draw; returns self."""
        super().seed(seed)
        return self

    @property
    def given_seed(self) -> int | None:
        """The seed, where one was given."""
        return self._own_seed()

    def parallel(
        self, num_threads: int, buffer_size: int | None = None, *, ordered: bool | None = None
    ) -> ThreadRunner:
        """The samples, made by threads, which share constants and records.

        Args:
            num_threads: threads.
            buffer_size: samples that may wait to be delivered.
            ordered: deliver in the order of the index, as by default, or as they come.
        """
        return ThreadRunner(self, num_threads, ordered=ordered, buffer_size=buffer_size)

    def draw(self, path: Any) -> None:
        """Write a picture of the graph as SVG."""
        from dataflow.stream.draw import draw

        draw(self, path)

    def collage(
        self,
        path: Any = None,
        rows: int = 4,
        columns: int = 8,
        *,
        component: int = 0,
        start: int = 0,
    ) -> Any:
        """The images of the samples from `start` on, side by side.

        Args:
            path: also write the picture there, as PNG.
            rows, columns: how many.
            component: which output is the image.
            start: index of the first sample.

        Returns:
            The picture, H×W×3 uint8 BGR.
        """
        from dataflow.image.sheet import contact_sheet

        images = (self[index][component] for index in range(start, start + rows * columns))
        return contact_sheet(images, columns=columns, path=path)

    # -- as a source -------------------------------------------------------------------------

    def keys(self) -> Sequence[Any]:
        """The indices; in a pass each goes with the seed."""
        return _ENDLESS if self._again is None else self._again

    def loader(self) -> Callable[[Any], Any]:
        return self._sampler

    def _length(self) -> int:
        if self._again is not None:
            return len(self._again)
        raise UnknownLength(f"the stream {self.name} has no end: s.take(n) has")

    def _seed_now(self) -> int:
        given = self.given_seed
        return (self._usual_seed if given is None else given) & MASK

    def _columns(self, epoch: Epoch, start: int = 0) -> tuple[Iterator[Tag], Iterator[Any]]:
        tags, keys = super()._columns(epoch, start)
        return tags, keys if self._again is not None else zip(repeat(self._seed_now()), keys)

    def _key_at(self, epoch: Epoch, place: int) -> tuple[Tag, Any]:
        tag, key = super()._key_at(epoch, place)
        return tag, key if self._again is not None else (self._seed_now(), key)

    def _over(self, keys: list[Any]) -> Stream:
        other = copy.copy(self)
        other._again = keys
        return other

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_sampler"]
        return {**state, "outputs": flat(self.outputs)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.outputs = nested(*state["outputs"]) if "outputs" in state else []  # in a worker
        self._sampler = Sampler(self.outputs, self.name, self.values, self.optimize)


def _sampler(rows: list[Any], numbers: list[int], *rest: Any) -> Sampler:
    """Unpickle a sampler."""
    return Sampler(nested(rows, numbers), *rest)


def stream(function: Callable[_Arguments, Any]) -> Callable[_Arguments, Stream]:
    """Make a function that describes a sample one that makes the stream of them.

    The function gets plain values and returns a node, or several in a tuple; it runs once, when the
    stream is made::

        @st.stream
        def noise(deviation):
            return st.normal(0, deviation)

        s = noise(3.0).seed(1)
    """

    @functools.wraps(function)
    def make(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Stream:
        return Stream(function(*args, **kwargs), function.__name__)

    return make
