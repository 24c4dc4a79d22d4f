"""Module paths of the packages that came before, each a list of names from elsewhere here.

Scripts that say ``from tensorpack.dataflow.common import BatchData``, or wbaek/dataflow's ``from
dataflow.dataset.base import NetworkImages``, need their import changed to ``dataflow.…`` and no
more: `reach` makes the modules of this folder importable as if they lay in `dataflow` itself.
Nothing in the package imports them. Tensorcom's and Highway's users have `dataflow.tensorcom` and
`dataflow.highway`.
"""

from __future__ import annotations

import os
from types import ModuleType

__all__ = ["reach"]


def reach(package: ModuleType) -> None:
    """Let the modules here be found as modules of `package`: ``dataflow.common``, and so on.

    Args:
        package: `dataflow`, or one of its packages, whose folder is then looked for here.
    """
    inner = package.__name__.split(".")[1:]
    package.__path__.append(os.path.join(os.path.dirname(__file__), *inner))
