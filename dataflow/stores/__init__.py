"""Object stores and other places that a library knows: ``s3://``, ``gs://``, ``hf://`` and more."""

from dataflow.stores.files import local_files
from dataflow.stores.objects import SCHEMES, is_object, matching, read_object, save_object

__all__ = ["SCHEMES", "is_object", "local_files", "matching", "read_object", "save_object"]
