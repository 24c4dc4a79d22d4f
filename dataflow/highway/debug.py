"""As ``highway.debug``."""

from dataflow.highway.modules.processing import Benchmark
from dataflow.highway.modules.writers import ImgDumper

__all__ = ["Benchmark", "ImgDumper"]
