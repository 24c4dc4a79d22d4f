"""MATLAB's files, read with SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataflow.errors import MissingData
from dataflow.utils.extras import need

__all__ = ["check_scipy", "load_mat"]


def check_scipy() -> None:
    """Find out now that SciPy is there, not at the first datapoint.

    Raises:
        MissingExtra: it is not installed.
    """
    need("scipy.io")


def load_mat(path: Path, *names: str) -> list[Any]:
    """The variables of these names in a file of MATLAB 4 to 7.

    Raises:
        MissingExtra: SciPy is not installed.
        MissingData: the file is missing, damaged, or has no such variable.
    """
    io = need("scipy.io")
    if not path.is_file():
        raise MissingData(f"{path} is missing")
    try:
        found = io.loadmat(str(path), variable_names=names, appendmat=False)
    except Exception as error:  # of any kind: the file may be anything
        raise MissingData(f"{path} cannot be read: {error}. Delete it, and get it again") from error
    if absent := [name for name in names if name not in found]:
        raise MissingData(f"{path} has no variable {', '.join(absent)}: is it another file?")
    return [found[name] for name in names]
