"""Files of URLs and labels."""

from __future__ import annotations

from pathlib import Path

from dataflow.errors import ConfigError

__all__ = ["read_urls"]


def read_urls(path: Path) -> list[tuple[str, int]]:
    """Read a file with a URL and an integer label a line; blank lines and # comments are ignored.

    Raises:
        ConfigError: where the file cannot be read, or a line is something else; the message names
            file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        broken = 1 + error.object.count(b"\n", 0, error.start)
        raise ConfigError(f"{path}:{broken}: not UTF-8 text") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    points = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            points.append(_parse(line, f"{path}:{number}"))
    if not points:
        raise ConfigError(f"{path}: no URLs in it")
    return points


def _parse(line: str, place: str) -> tuple[str, int]:
    words = line.split()
    if len(words) != 2:
        raise ConfigError(f"{place}: expected 'URL LABEL', got {_short(line)}")
    url, label = words
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not rest:
        raise ConfigError(f"{place}: expected an http or https URL, got {_short(url)}")
    try:
        return url, int(label)
    except ValueError:
        raise ConfigError(f"{place}: expected an integer label, got {_short(label)}") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")
