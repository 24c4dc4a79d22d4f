"""What the machine, libcurl, OpenCV and the installed extras offer, as lines for a report."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import metadata

from dataflow.cli.versions import DISTRIBUTION, version
from dataflow.utils import machine as host

__all__ = ["extras", "libcurl", "machine", "opencv"]

Lines = Iterator[tuple[str, str]]

_FEW = 4


def machine() -> Lines:
    """Cores, memory and limits."""
    quota = host.core_quota()
    yield "cpu", host.cpu_model()
    limit = "no quota" if quota is None else f"quota {quota:g}"
    yield "cores", f"{host.usable_cores()} usable ({os.cpu_count()} in the machine, {limit})"
    total, allowed = host.memory(), host.memory_limit()
    limit = "no limit" if allowed is None else f"limit {_size(allowed)}"
    yield "memory", f"{_size(total) if total else 'unknown'} ({limit})"
    yield "/dev/shm", _shared_memory_size()
    yield "open files", _open_files()


def libcurl() -> Lines:
    """What downloads can use."""
    try:
        import pycurl
    except ImportError as error:
        yield "none", f"cannot be imported: {error}"
        return
    info = pycurl.version_info()
    bits = info[4]
    yield "version", info[1]
    yield "tls", info[5] or "none"
    names = ("HTTP2", "HTTP3", "BROTLI", "ZSTD", "IPV6")
    yield "features", _yes_no({n.lower(): _bit(pycurl, n, bits) for n in names})
    if info[9]:
        resolver = f"c-ares {info[9]}"
    elif _bit(pycurl, "ASYNCHDNS", bits):
        resolver = "threaded"
    else:
        resolver = "blocking (a slow name server holds up all transfers)"
    yield "name resolver", resolver


def opencv() -> Lines:
    """What images are decoded with."""
    try:
        import cv2
    except ImportError as error:
        yield "none", f"cannot be imported: {error}"
        return
    text = cv2.getBuildInformation()
    for name, key in (("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")):
        # Where the libraries lay when it was built says nothing.
        yield name, re.sub(r"^(\S*/|build-)", "", _built_with(text, key))
    from dataflow.image import jpeg

    if jpeg.is_native():
        yield "native jpeg", f"libjpeg-turbo {jpeg.version()}: decodes parts, sees damage"
    else:
        yield "native jpeg", f"no: {jpeg.MISSING}"
    yield "simd", _built_with(text, "Dispatched code generation")
    parallel = _built_with(text, "Parallel framework")
    yield "parallel", f"{parallel} ({cv2.getNumThreads()} threads)"
    gui = _built_with(text, "GUI")
    yield "windows", "no (headless)" if gui in ("NONE", "none") else gui


def extras() -> Lines:
    """Optional packages, by the extra that installs them."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield "unknown", "the package is not installed, it runs from its source"
        return
    packages: dict[str, list[str]] = {}
    for requirement in requirements:
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        if extra and name:
            packages.setdefault(extra[1], []).append(name[0])
    for extra_name, names in sorted(packages.items()):
        yield extra_name, _installed(names)


def _installed(names: list[str]) -> str:
    """The versions of a few packages; of many, those that are missing."""
    if len(names) <= _FEW:
        return ", ".join(f"{n} {version(n) or '(not installed)'}" for n in names)
    absent = [name for name in names if version(name) is None]
    if len(absent) > _FEW:
        return f"{len(absent)} of {len(names)} packages are not installed"
    return f"{len(names)} packages" + "".join(f", {name} (not installed)" for name in absent)


def _built_with(text: str, key: str) -> str:
    found = re.search(rf"^\s*{re.escape(key)}:[ \t]*(.*)$", text, re.MULTILINE)
    if not found:
        return "unknown"
    if not found[1].strip():  # a list of libraries on the lines below
        below = re.match(r"\s*(\S+):", text[found.end() :])
        return below[1] if below else "unknown"
    return found[1].strip()


def _bit(pycurl: object, name: str, bits: int) -> bool:
    return bool(bits & getattr(pycurl, f"VERSION_{name}", 0))


def _yes_no(features: dict[str, bool]) -> str:
    return ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in features.items())


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"


def _shared_memory_size() -> str:
    try:
        disk = os.statvfs("/dev/shm")
    except (AttributeError, OSError):
        return "none"
    size, free = (blocks * disk.f_frsize for blocks in (disk.f_blocks, disk.f_bavail))
    return f"{_size(size)} ({_size(free)} free; arrays do not need it where memfd works)"


def _open_files() -> str:
    try:
        import resource
    except ImportError:
        return "no such limit"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"{soft} (at most {hard})"
