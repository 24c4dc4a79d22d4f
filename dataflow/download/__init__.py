"""A list of URLs as shards of images on this disk; the command ``dataflow download``."""

from dataflow.download.job import Summary, download_images
from dataflow.download.settings import Settings

__all__ = ["Settings", "Summary", "download_images"]
