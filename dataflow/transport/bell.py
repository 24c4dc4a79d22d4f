"""Wakes a thread that waits for sockets."""

from __future__ import annotations

import os
import threading

__all__ = ["Bell"]


class Bell:
    """A pipe with at most one byte in it.

    Attributes:
        ear: the file to wait for, beside the sockets.
    """

    def __init__(self) -> None:
        self.ear, self._clapper = os.pipe()
        self._rung = False
        self._lock = threading.Lock()

    def ring(self) -> None:
        """Wake the thread. After `close` nothing happens."""
        if not self._rung:
            with self._lock:
                if not self._rung:
                    self._rung = True
                    os.write(self._clapper, b"!")

    def heard(self) -> None:
        """The thread is awake, and looks at what has changed after this."""
        os.read(self.ear, 1)
        self._rung = False

    def quiet(self) -> None:
        """The same where it may not have rung."""
        if self._rung:
            self.heard()

    def close(self) -> None:
        """Close the files. Their numbers may be other files' by the time that somebody rings."""
        with self._lock:
            self._rung = True
            os.close(self.ear)
            os.close(self._clapper)
