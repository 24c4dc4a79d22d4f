"""Module paths of the packages that came before, each a list of names from elsewhere here.

Scripts that say ``from tensorpack.dataflow.common import BatchData``, or wbaek/dataflow's ``from
dataflow.dataset.base import NetworkImages``, need their import changed to ``dataflow.…`` and no
more: `reach` makes the modules of this folder importable as if they lay in `dataflow` itself.
Nothing in the package imports them. Tensorcom's and Highway's users have `dataflow.tensorcom` and
`dataflow.highway`.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["reach"]

# What wbaek/dataflow's packages have in themselves, by where it is here.
_NAMES = {
    "dataflow.ILSVRC12": "dataflow.dataset",
    "dataflow.NetworkImages": "dataflow.dataset",
    "dataflow.Viewer": "dataflow.image.view",
    "dataflow.utils.Viewer": "dataflow.image.view",
}


def reach(package: ModuleType) -> None:
    """Let the modules here be found as modules of `package`: ``dataflow.common``, and so on.

    Args:
        package: `dataflow`, or one of its packages, whose folder is then looked for here.
    """
    inner = package.__name__.split(".")[1:]
    folder = os.path.join(os.path.dirname(__file__), *inner)
    package.__path__.append(folder)
    modules = {module.name for module in pkgutil.iter_modules([folder])}
    other: Callable[[str], Any] | None = vars(package).get("__getattr__")

    def find(name: str) -> Any:
        """``dataflow.common`` after ``import dataflow`` alone, and names of old."""
        if name in modules:
            return importlib.import_module(f"{package.__name__}.{name}")
        if (module := _NAMES.get(f"{package.__name__}.{name}")) is not None:
            return getattr(importlib.import_module(module), name)
        if other is None:
            raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
        return other(name)

    package.__getattr__ = find  # type: ignore[method-assign]
