"""As ``highway.modules.fs``."""

from dataflow.highway.modules.readers import ImageFileReader, ImgReader
from dataflow.highway.modules.writers import ImgSaver

__all__ = ["ClfImgReader", "ImageFileReader", "ImgReader", "ImgSaver"]

ClfImgReader = ImageFileReader
"""Its name in the code; `ImageFileReader` is that of the README."""
