"""What code a chain runs: so that two programs can tell whether they mean the same by it.

That is what the chain's functions, and those of its classes, say, and what of their own modules
they use: other functions and classes, and constants. Modules of Python itself and installed
packages are not looked into; of the latter the versions count.

Three digests tell a function: of the bytecode, which differs between versions of Python and not
with spaces and comments; of the source, which does not always exist; of the values that it brings
along. Two are the same where the values are, and one of the others.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dataflow.node import walk
from dataflow.version import __version__

__all__ = ["code_of", "different_code", "different_versions", "versions_of"]

_MOST = 500  # functions and classes that are told
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_PATHS = ("/", "~", "./", "../")
_ELEMENTS = 100  # of a list of augmentors, or of a constant
_DEPTH = 4  # of objects in objects
_OWN = Path(__file__).resolve().parents[1]
_INSTALLED = ("site-packages", "dist-packages")


def code_of(flow: Any) -> list[list[str]]:
    """Name, and digests of bytecode, source and values, of each function that a chain names."""
    reader = _Reader()
    for one in walk(flow):
        reader.instance(one, _DEPTH)
    return [[name[:200], *digests] for name, digests in list(reader.found.items())[:_MOST]]


def versions_of(flow: Any) -> dict[str, str]:
    """Those of Python, of this package, and of others that the chain's functions are of."""
    from importlib import metadata  # which is dear

    reader = _Reader()
    for one in walk(flow):
        reader.instance(one, _DEPTH)
    found = {"Python": ".".join(map(str, sys.version_info[:3])), "dataflow": __version__}
    for module, package in (("numpy", "NumPy"), ("cv2", "OpenCV")):
        if (version := getattr(sys.modules.get(module), "__version__", None)) is not None:
            found[package] = version
    distributions = metadata.packages_distributions() if reader.packages else {}
    for package in sorted(reader.packages - {"numpy", "cv2"}):
        for name in distributions.get(package, [])[:1]:
            found[name] = metadata.version(name)
    return found


def different_code(ours: Iterable[list[str]], theirs: Iterable[list[str]]) -> list[str]:
    """The names of functions that are not the same on both sides, or are on one alone."""
    here = {name: digests for name, *digests in ours}
    there = {name: digests for name, *digests in theirs}
    return [name for name in {**here, **there} if not _same(here.get(name), there.get(name))]


def _same(here: list[str] | None, there: list[str] | None) -> bool:
    if here is None or there is None:
        return False
    (compiled, source, values), (compiled_there, source_there, values_there) = here, there
    if values != values_there:
        return False
    if compiled == compiled_there or (source and source == source_there):
        return True
    # Of another Python, and nothing to read: nobody can tell.
    python, python_there = (one.partition(" ")[0] for one in (compiled, compiled_there))
    return python != python_there and not (source and source_there)


def different_versions(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """What differs, for a person: ``NumPy 2.1 there, 2.4 here``."""
    return [
        f"{name} {theirs[name]} there, {ours[name]} here"
        for name in ours
        if name in theirs and ours[name] != theirs[name]
    ]


class _Reader:
    """Follows functions into what they use."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, str, str]] = {}
        self.packages: set[str] = set()
        self._seen: set[int] = set()

    def instance(self, value: Any, depth: int) -> None:
        """A flow, or an object in one: its class where that is the user's, and what is in it."""
        self.value(type(value), depth)
        if depth and hasattr(value, "__dict__"):
            for one in list(vars(value).values()):
                self.value(one, depth - 1)

    def value(self, value: Any, depth: int = _DEPTH) -> None:
        """Anything; what has no code is passed over."""
        if isinstance(value, functools.partial):
            for one in (value.func, *value.args, *value.keywords.values()):
                self.value(one, depth)
        elif isinstance(value, types.MethodType):
            self.value(value.__func__, depth)
            self.value(type(value.__self__), depth)
        elif isinstance(value, (list, tuple)):
            for one in value[:_ELEMENTS] if depth else ():
                if callable(one) or _is_ours(type(one)):
                    self.value(one, depth - 1)
        elif isinstance(value, (types.FunctionType, type)):
            if id(value) not in self._seen:
                self._seen.add(id(value))
                self._function_or_class(value, depth)
        elif isinstance(inner := _wrapped(value), types.FunctionType):
            self.value(inner, depth)  # of lru_cache and the like
        elif _is_ours(type(value)) or (callable(value) and _of_user(type(value).__module__)):
            self.instance(value, depth)

    def _function_or_class(self, value: Any, depth: int) -> None:
        if isinstance(value, types.FunctionType):
            if isinstance(inner := _wrapped(value), types.FunctionType):
                self.value(inner, depth)
            # Not what it says of itself: what is wrapped around a function takes over its names.
            module = value.__globals__.get("__name__") or ""
        else:
            module = value.__module__
        if (package := _package(module)) is not None:
            self.packages.add(package)
        if not _of_user(module):
            return
        if isinstance(value, type):
            self._class(value)
        else:
            self._function(value)

    def _class(self, cls: type) -> None:
        for base in cls.__bases__:
            self.value(base)
        for name, member in vars(cls).items():
            if isinstance(member, (staticmethod, classmethod)):
                self.value(member.__func__)
            elif isinstance(member, property):
                for one in filter(None, (member.fget, member.fset)):
                    self.value(one)
            elif isinstance(member, (types.FunctionType, type)):
                self.value(member)
            elif not name.startswith("__") and (words := _constant(member)):
                self._enter(f"{cls.__qualname__}.{name}", "", "", words)

    def _function(self, function: types.FunctionType) -> None:
        name = function.__qualname__
        values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        for cell in function.__closure__ or ():
            try:
                values.append(cell.cell_contents)
            except ValueError:  # not yet filled
                continue
        compiled = "\n".join(_words(function.__code__, function.__doc__))
        self._enter(name, compiled, _source(function), "\n".join(map(_constant, values)))
        for value in values:
            self.value(value)
        names = list(_names(function.__code__))
        for one in names:
            if one in function.__globals__ and not one.startswith("__"):
                self._used(one, function.__globals__[one], names)

    def _used(self, name: str, value: Any, names: list[str]) -> None:
        """A global variable of a function."""
        if isinstance(value, types.ModuleType):
            if (package := _package(value.__name__)) is not None:
                self.packages.add(package)
            if _of_user(value.__name__):
                for one in names:
                    if one in vars(value):
                        self._used(f"{value.__name__}.{one}", vars(value)[one], [])
        elif words := _constant(value, mutable=name.rpartition(".")[2].isupper()):
            self._enter(name, "", "", words)
        else:
            self.value(value)

    def _enter(self, name: str, compiled: str, source: str, values: str) -> None:
        python = ".".join(map(str, sys.version_info[:2]))
        digests = (f"{python} {_digest(compiled)}", source and _digest(source), _digest(values))
        known, number = name, 2
        while self.found.get(known, digests) != digests:
            known, number = f"{name} #{number}", number + 1
        self.found[known] = digests


def _words(code: types.CodeType, doc: str | None) -> Iterator[str]:
    """What says what a function does, and not where it is written."""
    yield code.co_code.hex()
    yield f"{code.co_argcount} {code.co_kwonlyargcount} {code.co_posonlyargcount} {code.co_flags}"
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _words(const, None)
        elif isinstance(const, frozenset):
            yield repr(sorted(map(repr, const)))
        elif const != doc or doc is None:
            yield repr(const)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names(const)


def _wrapped(value: Any) -> Any:
    return inspect.getattr_static(value, "__wrapped__", None)


def _source(function: types.FunctionType) -> str:
    try:
        lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    except (OSError, TypeError, IndentationError):
        return ""
    return "\n".join(line.rstrip() for line in lines)


def _constant(value: Any, *, mutable: bool = False) -> str:
    """A value in words, where it is plain; paths are a machine's own."""
    if isinstance(value, str):
        return "" if value.startswith(_PATHS) else repr(value)
    if type(value) is float and math.isnan(value):
        return "nan"
    if isinstance(value, _PLAIN):
        return repr(value)
    kinds = (tuple, list, dict) if mutable else (tuple,)
    if isinstance(value, kinds) and len(value) <= _ELEMENTS:
        parts = value.items() if isinstance(value, dict) else value
        words = [_constant(one, mutable=mutable) for one in parts]
        return f"({', '.join(words)})" if all(words) else ""
    return ""


@functools.lru_cache(maxsize=1000)
def _place(module: str) -> str | None:
    """``"user"``, the name of an installed package, or None: of Python, or of this package."""
    if module == "__main__":
        return "user"
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return None
    path = Path(file).resolve()
    if any(part in _INSTALLED for part in path.parts):
        return module.partition(".")[0]
    standard = Path(sysconfig.get_paths()["stdlib"]).resolve()
    return None if _OWN in path.parents or standard in path.parents else "user"


def _of_user(module: str) -> bool:
    return _place(module) == "user"


def _package(module: str) -> str | None:
    place = _place(module)
    return None if place == "user" else place


def _is_ours(cls: type) -> bool:
    """An object of this package's, such as an augmentor, may hold functions of the user's."""
    return cls.__module__.partition(".")[0] == "dataflow" and _place(cls.__module__) is None


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
