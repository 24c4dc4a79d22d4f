"""A forked child that never goes on with the suite, whatever happens in it."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable

__all__ = ["exit_status_of"]


def exit_status_of(child: Callable[[], int]) -> int:
    """Fork, run a function in the child, and wait for it.

    Returns:
        What the function returned, as exit status; 99 where it raised.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = child()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
