"""Imports point one way; taken from the code itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import dataflow

ROOT = Path(dataflow.__file__).parent

# From the bottom up. What stands in one line does not import each other, except where ALLOWED.
LAYERS = [
    {"version", "chance", "errors", "meter", "randomness", "records", "runtime"},
    {"failure_log", "prometheus"},
    {"node", "stopwatch", "failures", "overrides", "ownership"},
    {"epoch", "utils"},
    {"flow"},
    {"opening"},
    {"kinds"},
    {"codec", "http", "stages", "imgaug"},
    {"transport", "sources", "stores"},
    {"image"},
    {"executor", "foreign"},
    {"plan"},
    {"engine"},
    {"formats", "methods", "emptiness", "explain", "resume", "summary"},
    {"dataset"},
    {"standard", "names"},
    {"demo", "adapters", "remote", "stream"},
    {"highway", "tensorcom", "download"},
    {"cli"},
    {"compat"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Rooms that know nothing of these, wherever they stand.
FORBIDDEN = {
    "stages": {"executor", "transport", "codec", "engine", "http", "dataset", "sources"},
    "sources": {"executor", "transport", "codec", "engine", "http", "dataset"},
    "http": {"engine", "executor", "transport", "stages", "sources", "dataset", "image"},
    "image": {"engine", "executor", "transport", "http", "dataset"},
    "imgaug": {"engine", "executor", "transport", "http", "dataset", "sources"},
    "transport": {"engine", "executor", "stages", "sources"},
    "codec": {"transport", "engine", "executor", "stages", "sources"},
    "executor": {"engine", "stages", "sources", "dataset"},
    "formats": {"engine", "executor", "transport", "http", "dataset"},
    "engine": {"http", "dataset", "formats", "image", "imgaug", "cli", "demo", "stream"},
    "stream": {"http", "executor", "transport", "remote", "formats"},
}

# Modules that only hold names where scripts look for them, and so stand above what they name.
NAMES = {"dataflow.utils.image"}


def room_of(module: str) -> str | None:
    """``dataflow.engine.run`` → ``engine``."""
    if module in NAMES:
        return "names"
    parts = module.split(".")
    return parts[1] if parts[0] == "dataflow" and len(parts) > 1 else None


def name_of(path: Path) -> str:
    parts = ("dataflow", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> dict[str, set[str]]:
    """The modules that a file imports: ``top`` when it is imported, ``inner`` in functions."""
    found: dict[str, set[str]] = {"top": set(), "inner": set()}

    def visit(node: ast.AST, where: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found[where].update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    found[where].add(full if is_module(full) else str(child.module))
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            visit(child, "inner" if function else where)

    visit(ast.parse(path.read_text("utf-8")), "top")
    return found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split(".")[1:])
    return name.startswith("dataflow.") and (path.is_dir() or path.with_suffix(".py").is_file())


FILES = sorted(ROOT.rglob("*.py"))
IMPORTS = {name_of(path): imported(path) for path in FILES}


def edges(kind: str) -> dict[str, dict[str, set[str]]]:
    """room → imported room → the modules that do it."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, kinds in IMPORTS.items():
        room = room_of(module)
        if room in (None, "__main__"):
            continue
        assert room is not None
        for target in kinds[kind]:
            other = room_of(target)
            if other not in (None, room):
                assert other is not None
                found[room][other].add(f"{module} → {target}")
    return found


def test_every_room_has_its_place() -> None:
    rooms = {room_of(module) for module in IMPORTS} - {None, "__main__"}
    assert rooms <= set(LEVEL), f"no place for {rooms - set(LEVEL)}"


def test_imports_point_one_way() -> None:
    wrong = {
        who
        for kind in ("top", "inner")
        for room, others in edges(kind).items()
        for other, modules in others.items()
        for who in modules
        if LEVEL[other] >= LEVEL[room]
    }
    assert not wrong


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_know_nothing_of_what_is_not_theirs(room: str) -> None:
    for kind in ("top", "inner"):
        found = edges(kind)[room]
        wrong = {who for other in FORBIDDEN[room] for who in found.get(other, ())}
        assert not wrong


def test_rooms_import_each_other_in_no_circle() -> None:
    found = edges("top")
    done: set[str] = set()

    def visit(room: str, way: tuple[str, ...]) -> None:
        assert room not in way, f"a circle: {' → '.join((*way, room))}"
        if room not in done:
            for other in found[room]:
                visit(other, (*way, room))
            done.add(room)

    for room in list(found):
        visit(room, ())


def test_modules_import_each_other_in_no_circle() -> None:
    """Nor by imports within functions, which would only hide it."""
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' → '.join((*way, module))}"
        if module not in done and module in IMPORTS:
            for other in IMPORTS[module]["top"] | IMPORTS[module]["inner"]:
                if other not in ("dataflow", module):
                    visit(other, (*way, module))
            done.add(module)

    for module in IMPORTS:
        if module != "dataflow":
            visit(module, ())


FORMATS = ("crc32c", "h5py", "lmdb", "msgpack", "plyvel", "scipy", "sklearn")
FRAMEWORKS = ("torch", "tensorflow", "jax", "keras", "lightning", "pytorch_lightning")
OPTIONAL = {"tensorpack", "matplotlib", "skimage", "ray", "rich", *FORMATS, *FRAMEWORKS}


@pytest.mark.parametrize("module", sorted(IMPORTS))
def test_optional_packages_are_imported_where_they_are_used(module: str) -> None:
    # Who imports an adapter has its framework.
    own = {module.split(".")[2]} if module.startswith("dataflow.adapters.") else set()
    if "lightning" in own:
        own |= {"pytorch_lightning", "torch"}
    for target in IMPORTS[module]["top"]:
        assert target.split(".")[0] not in OPTIONAL - own


# Each takes milliseconds, and most programs never need it, or only later.
DEAR = (
    *("tensorpack", "requests", "matplotlib", "tqdm", "tabulate", "cloudpickle", "pyarrow"),
    *("dataflow.formats", "dataflow.stream", *FORMATS),
    *("zmq", "pycurl", "ssl", "http.client", "urllib.request", "email.utils", "json"),
    *("subprocess", "tempfile", "multiprocessing", "concurrent.futures", "csv", "xml.etree"),
)


def test_importing_the_package_imports_nothing_dear() -> None:
    """Beyond what NumPy and OpenCV import, some versions of which need more than others."""
    script = (
        "import sys, numpy, cv2; before = set(sys.modules); import dataflow; "
        f"print([name for name in {DEAR!r} if name in set(sys.modules) - before])"
    )
    path = [str(ROOT.parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(filter(None, path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_files_are_of_a_size_to_be_read() -> None:
    """One concept a file, up to about 400 lines; the protocol itself may have a few more."""
    sizes = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert not {name: size for name, size in sizes.items() if size > 500}
