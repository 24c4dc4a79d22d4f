"""What the package exports is explicit, sorted and complete."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from typing import get_origin

import pytest
from patience import patient

import dataflow as df

ROOMS = ("sources", "stages", "formats", "dataset", "imgaug", "http", "image", "highway", "stream")


def test_the_list_is_sorted_and_true() -> None:
    assert df.__all__ == sorted(df.__all__)
    assert len(set(df.__all__)) == len(df.__all__)
    for name in df.__all__:
        assert hasattr(df, name)
    namespace: dict[str, object] = {}
    exec("from dataflow import *", namespace)
    assert set(df.__all__) <= set(namespace)


def test_nothing_else_is_public() -> None:
    modules = {name for name in vars(df) if inspect.ismodule(getattr(df, name))}
    others = {name for name in vars(df) if not name.startswith("_")} - modules - set(df.__all__)
    assert others <= {"annotations", "assemble"}


def flows_of_rooms() -> dict[str, type]:
    """Every dataflow class that a room exports."""
    found = {}
    rooms = ("sources", "stages", "formats", "engine.runners", "engine.map_runners", "image")
    for room in rooms:
        module = importlib.import_module(f"dataflow.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, df.DataFlow):
                found[name] = value
    return found


# What stages are made of, and what `parallel` builds: not for users to name.
INNER = {"AsyncStage", "ItemStage", "KeyedSource", "OrderStage", "ThreadRunner", "Viewer"}


def test_every_flow_can_be_reached_from_the_top() -> None:
    flows = flows_of_rooms()
    assert len(flows) > 12
    for name, value in flows.items():
        if name not in INNER:
            assert getattr(df, name) is value and name in df.__all__


def test_every_error_can_be_reached_from_the_top() -> None:
    from dataflow import errors

    for name in errors.__all__:
        assert getattr(df, name) is getattr(errors, name) and name in df.__all__
        assert name in (errors.__doc__ or ""), "drawn in the tree"
    public = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert public - {"Any"} == set(errors.__all__)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_list_what_they_export(room: str) -> None:
    module = importlib.import_module(f"dataflow.{room}")
    # Constants first, then classes, then functions: as isort's and ruff's order has it.
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert hasattr(module, name)
    assert module.__doc__


def test_every_module_says_what_it_is_and_what_it_exports() -> None:
    for info in pkgutil.walk_packages(df.__path__, "dataflow."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except df.MissingExtra as error:  # the framework of an adapter
            framework = info.name.removeprefix("dataflow.adapters.").partition(".")[0]
            assert str(error).endswith(f": pip install {framework}")
            continue
        assert module.__doc__, f"{info.name} has no docstring"
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            # In Python 3.10 the alias list[int] passes for a class.
            own = inspect.isclass(value) and get_origin(value) is None
            assert not (own or inspect.isfunction(value)) or value.__doc__, (
                f"{info.name}.{name} has no docstring"
            )


def test_names_that_scripts_use() -> None:
    from dataflow.dataset import ILSVRC12, ILSVRC12Local, NetworkImages
    from dataflow.utils.image import Viewer

    assert {ILSVRC12, ILSVRC12Local, NetworkImages} <= {
        getattr(df.dataset, name) for name in df.dataset.__all__
    }
    assert df.utils.image.Viewer is Viewer
    assert issubclass(df.DataFlowTerminated, df.DataFlowError)


def test_the_version() -> None:
    from importlib.metadata import PackageNotFoundError, version

    assert df.__version__.count(".") == 2
    try:
        installed = version("dataflow-feeder")
    except PackageNotFoundError:
        return
    assert installed == df.__version__


def test_the_viewer_is_where_scripts_look_for_it() -> None:
    """In a fresh interpreter, where no other test has imported it."""
    code = "import dataflow; print(dataflow.utils.image.Viewer.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=patient(60)
    )
    assert done.stdout == "Viewer\n", done.stderr
