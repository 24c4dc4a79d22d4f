"""Libraries that only some parts need, and that are extras therefore."""

from __future__ import annotations

import importlib
from typing import Any

from dataflow.errors import MissingExtra

__all__ = ["need"]


def need(module: str, extra: str) -> Any:
    """Import a library where it is used.

    Args:
        module: what to import.
        extra: the name of the extra that brings it.

    Raises:
        MissingExtra: it is not installed; says the command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        what = f"{package} cannot be imported ({error})"
        raise MissingExtra(f"{what}: pip install 'dataflow[{extra}]'") from error
