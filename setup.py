"""The native decoder of JPEGs, which is optional; everything else is in pyproject.toml.

It is a plain shared library, called by ctypes: one file for all versions of Python. Where there is
no C compiler, or libjpeg-turbo's headers are not there, the package is built without it, and works.
``DATAFLOW_NATIVE=0`` leaves it out, for a wheel that fits any machine.
"""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70.1
    from wheel.bdist_wheel import bdist_wheel


class BuildLibrary(build_ext):
    """Without Python's version in the name of the file."""

    def get_ext_filename(self, fullname):
        """Where it goes."""
        return os.path.join(*fullname.split(".")) + ".so.1"  # .so would be a module of Python's

    def get_export_symbols(self, ext):
        """Not what a module of Python's exports."""
        return ext.export_symbols


class AnyPython(bdist_wheel):
    """A wheel for any version of Python, on this kind of machine."""

    def get_tag(self):
        """Its tag."""
        *_, platform = super().get_tag()
        return "py3", "none", platform


native = os.environ.get("DATAFLOW_NATIVE", "1") != "0"
library = Extension(
    "dataflow.image._jpeg",
    ["dataflow/image/_jpeg.c"],
    libraries=["jpeg"],
    extra_compile_args=["-O2", "-std=c11"],
    optional=True,
)
setup(
    ext_modules=[library] if native else [],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPython},
)
