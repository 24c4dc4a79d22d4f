"""The place where scripts look for `Viewer`."""

from dataflow.image.view import Viewer

__all__ = ["Viewer"]
