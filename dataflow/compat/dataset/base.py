"""As ``dataflow.dataset.base`` of wbaek/dataflow."""

from dataflow.dataset.network import (
    NetworkImages,
)

__all__ = [
    "NetworkImages",
]
