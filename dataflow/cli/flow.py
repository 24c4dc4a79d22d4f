"""Dataflows that are named on the command line."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from dataflow.errors import ConfigError
from dataflow.node import is_flow

__all__ = ["load_flow"]


def load_flow(name: str) -> Any:
    """What ``package.module:function`` returns.

    Raises:
        ConfigError: there is no such function, or it returns something else.
    """
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise ConfigError(f"{name!r} is not package.module:function")
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name}: {error}") from error
    ds = made() if callable(made) and not is_flow(made) else made
    if not is_flow(ds):
        raise ConfigError(f"{name} returns a {type(ds).__name__}, not a dataflow")
    return ds
