"""Libraries that only some parts need, and that are extras therefore."""

from __future__ import annotations

import importlib
from typing import Any

from dataflow.errors import MissingExtra

__all__ = ["missing", "need"]

# What brings a module, where the package has another name.
_PACKAGES = {
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "backports": "backports.zstd",
}


def need(module: str) -> Any:
    """Import a library where it is used.

    Args:
        module: what to import.

    Raises:
        MissingExtra: it is not installed; says the command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(module, error) from error


def missing(module: str, error: ImportError) -> MissingExtra:
    """What to raise where a library that is needed could not be imported."""
    name = module.partition(".")[0]
    package = _PACKAGES.get(name, name)
    return MissingExtra(f"{name} cannot be imported ({error}): pip install {package}")
