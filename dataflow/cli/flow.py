"""Dataflows that are named on the command line."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dataflow.errors import ConfigError
from dataflow.node import is_flow

__all__ = ["load_flow"]


def load_flow(name: str) -> Any:
    """What ``package.module:function`` or ``path/to/file.py:function`` returns.

    Raises:
        ConfigError: there is no such function, or it returns something else.
    """
    place, colon, function = name.rpartition(":")
    if not (place and colon and function):
        raise ConfigError(f"{name!r} is neither package.module:function nor file.py:function")
    try:
        made = getattr(_from_file(place) if place.endswith(".py") else _named(place), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name}: {error}") from error
    ds = made() if callable(made) and not is_flow(made) else made
    if not is_flow(ds):
        raise ConfigError(f"{name} returns a {type(ds).__name__}, not a dataflow")
    return ds


def _named(module: str) -> ModuleType:
    if not all(module.split(".")) or os.sep in module:
        raise ConfigError(
            f"{module!r} is not the name of a module: say package.module as Python imports it from "
            "this folder, or path/to/file.py"
        )
    sys.path.insert(0, os.getcwd())
    return importlib.import_module(module)


def _from_file(place: str) -> ModuleType:
    """A module that is found by its name from now on, as worker processes have to find it."""
    path = Path(place).resolve()
    if not path.is_file():
        raise ConfigError(f"{place}: there is no such file in {os.getcwd()}")
    sys.path.insert(0, str(path.parent))
    module = importlib.import_module(path.stem)
    if Path(getattr(module, "__file__", None) or "").resolve() != path:
        where = getattr(module, "__file__", None) or "Python itself"
        raise ConfigError(f"{place}: {path.stem!r} is also in {where}; give the file another name")
    return module
