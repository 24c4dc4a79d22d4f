"""Numbers in sentences."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, what: str) -> str:
    """``1 process``, ``2 processes``."""
    ending = "" if count == 1 else "es" if what.endswith("s") else "s"
    return f"{count} {what}{ending}"
