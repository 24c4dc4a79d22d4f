"""Fixtures of the tests here; what else they share is in `network`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from network import start  # noqa: F401 - a fixture
