"""Packages that some tests need. Without them those are skipped, with the command that helps."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["how_to_get", "library"]

# Extras of this project that bring them.
_EXTRAS = dict.fromkeys(
    ("accelerate", "datasets", "lightning", "torch", "torchdata"), "test-frameworks"
)
# What brings a module, where the package has another name.
_PACKAGES = {"PIL": "pillow", "google": "protobuf", "skimage": "scikit-image"}


def how_to_get(module: str) -> str:
    """What is missing, and the command that installs it."""
    name = module.partition(".")[0]
    what = _PACKAGES.get(name, name).replace("_", "-")
    if name in _EXTRAS:
        what = f"-e '.[{_EXTRAS[name]}]'"
    return f"{name} is not installed: pip install {what}"


def library(module: str) -> Any:
    """A module; where it cannot be imported, the test is skipped."""
    return pytest.importorskip(module, reason=how_to_get(module))
