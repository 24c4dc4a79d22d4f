"""Operations: a function, the types that it takes, and the type that it gives.

::

    @st.op(image=st.Image(), amount=st.FLOAT, gives=st.Image())
    def sharpen(image, amount=1.0):
        return cv2.addWeighted(image, 1 + amount, cv2.blur(image, (5, 5)), -amount, 0)

In a graph ``sharpen(image, 0.5)`` is a node; where it runs, the function gets the values.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import keyword
import re
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any, TypeVar, cast

from dataflow.errors import ConfigError
from dataflow.stream.graph import Node, constant, macros, operations, place, user_line
from dataflow.stream.types import FLOAT, INT, SEED, TOO_WIDE, Array, Image, List, Type

__all__ = ["Op", "macro", "op"]

Gives = Type | Callable[..., Type]
# Names within a compiled stream: its values are called after the operations, with numbers.
_NAME = re.compile(r"(?!.*_\d+$)[A-Za-z_]\w*", re.ASCII)
_RESERVED = ("MISSING", "base", "index", "mix", "own", "root", "seed")

_Builder = TypeVar("_Builder", bound=Callable[..., Any])


class Op:
    """An operation; calling it makes a node.

    Attributes:
        name: no other operation has it.
        function: what computes the value.
        inputs: the type of each argument, by name.
        rest: the last argument's name where it takes all the rest; or None.
        gives: the value's type, or a function that infers it from the arguments' nodes.
        draws: the function's first argument is 64 random bits.
        foldable: with constant arguments the value is the same at any time.
        code: an expression instead of a call, with ``{0}``, ``{1}`` … for the arguments.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        inputs: dict[str, Type],
        gives: Gives,
        *,
        draws: bool = False,
        foldable: bool = True,
        code: str | None = None,
        signature: inspect.Signature | None = None,
        module: str | None = None,
    ) -> None:
        if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name in _RESERVED:
            raise ConfigError(
                f"name={name!r} cannot be an operation's: it must be a name as Python has it, not "
                f"end with _ and a number, and be none of {', '.join(_RESERVED)}"
            )
        self.name = name
        self.function = function
        self.inputs = inputs
        self.gives = gives
        self.draws = draws
        self.foldable = foldable and not draws
        self.code = code
        # What is written in C has no signature that could be asked for, and another module.
        self._signature = signature or _signature(function, inputs, draws)
        kinds = {one.name: one.kind for one in self._signature.parameters.values()}
        # What calls in a graph take, for `help`, `inspect.signature` and completion.
        self.__signature__ = _plain(self._signature, draws=draws)
        self.rest = next(
            (one for one in kinds if kinds[one] is inspect.Parameter.VAR_POSITIONAL), None
        )
        self.__doc__ = function.__doc__
        self.__module__ = module or function.__module__
        self.__name__ = self.__qualname__ = name
        self._enter()

    def _enter(self) -> None:
        other = operations.get(self.name)
        if other is not None and other.__module__ != self.__module__:
            raise ConfigError(f"there is an operation {self.name!r} already, of {other.__module__}")
        operations[self.name] = self

    @property
    def own(self) -> bool:
        """Whether it is not one of this package."""
        return not self.__module__.startswith("dataflow.stream.")

    def __call__(self, *args: Any, **kwargs: Any) -> Node:
        where = user_line()
        try:
            seed = kwargs.pop("seed", None) if self.draws else None
            nodes = self._checked(self._bound(args, kwargs))
            kind = self.gives if isinstance(self.gives, Type) else self.gives(*nodes)
            return Node(self, nodes, kind, seed=_seed(seed), where=where)
        except ConfigError as error:
            raise _located(error, self.name, where) from None

    def _bound(self, args: Any, kwargs: Any) -> tuple[Node, ...]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ConfigError(f"{error}; it takes {_plain(self._signature)}") from None
        bound.apply_defaults()
        values: list[Any] = []
        for name, value in bound.arguments.items():
            values.extend(value if name == self.rest else [value])
        return tuple(map(constant, values))

    def _checked(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        """The nodes, lists as arrays where arrays are wanted."""
        kinds = [(name, kind) for name, kind in self.inputs.items() if name != self.rest]
        if self.rest is not None:
            kind = self.inputs[self.rest]
            kinds += [(f"{self.rest}[{i}]", kind) for i in range(len(nodes) - len(kinds))]
        checked = []
        for (name, kind), node in zip(kinds, nodes, strict=True):
            if isinstance(kind, (Array, Image)) and isinstance(node.type, List):
                array = operations["array"]
                made = array(node)  # which says what is wrong with a list
                node = made if node.op is not None else constant(array.function(node.value))
            checked.append(node)
            if not kind.accepts(node.type):
                value = [] if node.op is not None else f"{node.value!r:.60}".split()  # one line
                what = f"{' '.join([str(node.type), *value])} ({place(node.where)})"
                what += "; st.astype makes other numbers of it" * _too_wide(kind, node.type)
                raise ConfigError(f"{name} must be {kind}, and is {what}")
            if kind == FLOAT and node.op is None and node.value != node.value:
                raise ConfigError(f"{name} is no number: {node.value!r} ({place(node.where)})")
        return tuple(checked)

    def __repr__(self) -> str:
        return f"<op {self.name}{_plain(self._signature)}>"

    def __reduce__(self) -> Any:
        if self.own and not _importable(self):
            parts = self.name, self.function, self.inputs, self.gives
            return _again, (*parts, self.draws, self.foldable, self.__module__)
        return _named, (self.name, self.__module__)


def op(
    name: str | None = None,
    /,
    *,
    gives: Gives,
    draws: bool = False,
    foldable: bool = True,
    code: str | None = None,
    **inputs: Type,
) -> Callable[[Callable[..., Any]], Op]:
    """Make an operation of a function on values.

    Its node's value is what the function returns; it must not write into its arguments, which other
    nodes, samples and threads share. A saved stream needs it to be there, under the same name, to
    be loaded.

    Args:
        name: the operation's; the function's by default.
        gives: the type of what it returns, or a function that infers it from the arguments' nodes.
        draws: the function's first argument, before the others, is an int of 64 random bits: the
            same whenever the sample is made. `st.generator(bits)` makes a NumPy generator of it.
        foldable: with constant arguments it may be called once, while the graph is compiled. False
            for what reads files.
        code: an expression to use instead of a call; of this package's own operations.
        **inputs: the type of each of the function's arguments.

    Raises:
        ConfigError: another module has an operation of this name; or the types are not those of the
            function's arguments.
    """

    def decorate(function: Callable[..., Any]) -> Op:
        return Op(
            name or function.__name__,
            function,
            inputs,
            gives,
            draws=draws,
            foldable=foldable,
            code=code,
        )

    return decorate


def macro(function: _Builder) -> _Builder:
    """A function that builds nodes of others: its errors tell its name and the user's line.

    It is known by its name like an operation, so that operators find it.
    """

    signature = inspect.signature(function)

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            told = ConfigError(f"{error}; it takes {_plain(signature)}")
            raise _located(told, function.__name__, user_line()) from None
        try:
            return function(*bound.args, **bound.kwargs)
        except ConfigError as error:
            raise _located(error, function.__name__, user_line()) from None

    build.__signature__ = _plain(signature)  # type: ignore[attr-defined]
    macros[function.__name__] = build
    return cast(_Builder, build)


def _signature(
    function: Callable[..., Any], inputs: dict[str, Type], draws: bool
) -> inspect.Signature:
    """What a call in a graph takes."""
    parameters = list(inspect.signature(function).parameters.values())[1 if draws else 0 :]
    names = [one.name for one in parameters]
    if names != list(inputs):
        raise ConfigError(
            f"{function.__name__}() takes {', '.join(names) or 'nothing'}, and there are types of "
            f"{', '.join(inputs) or 'nothing'}: each argument needs one, in the same order"
        )
    return inspect.Signature(parameters)


def _plain(signature: inspect.Signature, *, draws: bool = False) -> inspect.Signature:
    """The same without types, which are those of values; with the seed that a node may share."""
    empty = inspect.Parameter.empty
    parameters = [one.replace(annotation=empty) for one in signature.parameters.values()]
    if draws:
        parameters.append(inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY, default=None))
    return inspect.Signature(parameters)


def _too_wide(kind: Type, found: Type) -> bool:
    return isinstance(kind, Image) and getattr(found, "dtype", None) in TOO_WIDE


def _seed(seed: Any) -> Node | None:
    """The node of a seed that was given: an int stands for a seed of its own."""
    if seed is None:
        return None
    node = constant(seed)
    if INT.accepts(node.type) and node.op is None:
        node = macros["seed"](node)
    if not SEED.accepts(node.type):
        raise ConfigError(f"seed must be st.seed() or an int, and is {node.type}")
    return node


def _located(error: ConfigError, name: str, where: tuple[str, int]) -> ConfigError:
    """The same error with the user's line and the name of what was called there."""
    message = getattr(error, "message", str(error))
    located = ConfigError(f"{place(where)}: {name}(): {message}")
    located.message = message  # type: ignore[attr-defined]
    return located


def _importable(operation: Op) -> bool:
    """Whether a new process gets it by importing its module, which a loaded one need not be."""
    module = sys.modules.get(operation.__module__)
    top = operation.__module__.partition(".")[0]
    if module is None or top == "__main__" or PathFinder.find_spec(top) is None:
        return False
    return getattr(module, operation.function.__name__, None) is operation


def _named(name: str, module: str) -> Op:
    """Unpickle an operation that its module makes."""
    importlib.import_module(module)
    return operations[name]


def _again(
    name: str, function: Any, inputs: Any, gives: Any, draws: bool, foldable: bool, module: str
) -> Op:
    """Unpickle an operation that is in no module."""
    known = operations.get(name)
    if known is not None and known.__module__ == module:
        return known
    made = Op(name, function, inputs, gives, draws=draws, foldable=foldable)
    made.__module__ = module
    return made
