"""Keys for encrypted connections (CURVE, http://curvezmq.org), one folder a machine or group.

======================= ====================================================================
``secret.key``          both keys of the pair; mode 0600
``public.key``          the public one, to be given to others
``allowed/*.key``       public keys of others that may connect here
======================= ====================================================================

The files have the form that CZMQ's zcert and pyzmq's `zmq.auth` read and write. Who has the same
folder has the same key, and that one is allowed: so the least that works is one folder, copied to
all machines over a safe way.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dataflow.errors import ConfigError

__all__ = ["Keys", "judged", "load_keys", "make_keys", "read_public"]


class Keys(NamedTuple):
    """What an end needs; keys are text of 40 characters (Z85).

    Attributes:
        public: our own.
        secret: its other half.
        allowed: public keys of those that may connect.
    """

    public: bytes
    secret: bytes
    allowed: frozenset[bytes]


def make_keys(folder: Path) -> bytes:
    """Make a new pair in a folder; returns the public key.

    Raises:
        ConfigError: there is one already, or the folder cannot be written.
    """
    import zmq

    public, secret = zmq.curve_keypair()
    try:
        (folder / "allowed").mkdir(parents=True, exist_ok=True)
        # Never readable by others, not even for a moment; and an older key is never lost.
        _write(folder / "secret.key", 0o600, public, secret)
        _write(folder / "public.key", 0o644, public)
    except FileExistsError as error:
        raise ConfigError(
            f"{error.filename} exists already; a new pair needs another folder"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot write keys to {folder}: {error.strerror}") from error
    return public


def load_keys(folder: str | Path) -> Keys:
    """Read the keys of a folder.

    Raises:
        ConfigError: there are none, they are malformed, or others can read the secret one.
    """
    folder = Path(folder)
    path = folder / "secret.key"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(
            f"keys={str(folder)!r}: no secret.key there ({error.strerror}). "
            f"`dataflow keys {folder}` makes one"
        ) from error
    if mode & 0o077:
        raise ConfigError(f"others can read {path} (mode {mode:04o}): chmod 600 {path}")
    public, secret = _read(path)
    if secret is None:
        raise ConfigError(f"{path} has no secret-key")
    allowed = (read_public(other) for other in sorted((folder / "allowed").glob("*.key")))
    return Keys(public, secret, frozenset([public, *allowed]))


def read_public(source: str | Path) -> bytes:
    """A public key: of a file, or its 40 characters themselves.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(source, str) and _is_key(source):
        return source.encode()
    return _read(Path(source))[0]


def judged(request: Sequence[bytes], keys: Keys) -> tuple[bool, list[bytes]]:
    """Whether a connection's key is allowed, and the answer to libzmq (ZAP, ZeroMQ RFC 27)."""
    from zmq.utils import z85

    right = len(request) == 7 and request[5] == b"CURVE" and z85.encode(request[6]) in keys.allowed
    status = [b"200", b"OK"] if right else [b"400", b"key not allowed"]
    return right, [b"1.0", request[1], *status, b"", b""]


def _write(path: Path, mode: int, public: bytes, secret: bytes | None = None) -> None:
    lines = ["#   Made by `dataflow keys`.", "metadata", "curve"]
    lines.append(f'    public-key = "{public.decode()}"')
    if secret is not None:
        lines.insert(1, "#   SECRET: whoever has this file can connect and read all that is sent.")
        lines.append(f'    secret-key = "{secret.decode()}"')
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write("\n".join([*lines, ""]))


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the key {str(path)!r}: {error}") from error
    public = _entry(lines, "public-key")
    if public is None:
        raise ConfigError(f"{path} has no public-key of 40 characters")
    return public, _entry(lines, "secret-key")


def _entry(lines: Iterable[str], name: str) -> bytes | None:
    for line in lines:
        word, _, value = line.partition("=")
        if word.strip() == name and _is_key(key := value.strip().strip("\"'")):
            return key.encode()
    return None


def _is_key(text: str) -> bool:
    """Whether it is 32 bytes in Z85 (ZeroMQ RFC 32)."""
    from zmq.utils import z85

    try:
        return len(text) == 40 and len(z85.decode(text.encode("ascii"))) == 32
    except (ValueError, KeyError, struct.error):
        return False
