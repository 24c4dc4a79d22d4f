"""Keys in files, and addresses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import zmq.auth

from dataflow.errors import ConfigError
from dataflow.transport.addresses import check_addresses, is_local
from dataflow.transport.keys import load_keys, make_keys, read_public


def test_a_pair(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        public = make_keys(tmp_path / "a")
    finally:
        os.umask(mask)
    secret = tmp_path / "a/secret.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    keys = load_keys(str(tmp_path / "a"))
    assert keys.public == public == read_public(tmp_path / "a/public.key")
    assert keys.allowed == {public}
    assert keys.secret.decode() not in (tmp_path / "a/public.key").read_text()
    # pyzmq reads the same files.
    assert zmq.auth.load_certificate(secret) == (keys.public, keys.secret)
    assert zmq.auth.load_certificate(tmp_path / "a/public.key") == (public, None)


def test_others_are_allowed_by_their_public_keys(tmp_path: Path) -> None:
    ours, theirs = make_keys(tmp_path / "a"), make_keys(tmp_path / "b")
    (tmp_path / "a/allowed/b.key").write_bytes((tmp_path / "b/public.key").read_bytes())
    assert load_keys(tmp_path / "a").allowed == {ours, theirs}
    # Those that pyzmq makes are read, too.
    zmq.auth.create_certificates(tmp_path / "a/allowed", "c")
    assert len(load_keys(tmp_path / "a").allowed) == 3


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_secret_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    make_keys(tmp_path)
    (tmp_path / "secret.key").chmod(mode)
    with pytest.raises(ConfigError, match=f"others can read .*mode {mode:04o}.*chmod 600"):
        load_keys(tmp_path)


def test_a_pair_is_never_overwritten(tmp_path: Path) -> None:
    public = make_keys(tmp_path)
    with pytest.raises(ConfigError, match=r"secret\.key exists already"):
        make_keys(tmp_path)
    assert load_keys(tmp_path).public == public


def test_what_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no secret\.key there .*`dataflow keys"):
        load_keys(tmp_path)
    make_keys(tmp_path / "a")
    (tmp_path / "a/allowed/bad.key").write_text('public-key = "short"')
    with pytest.raises(ConfigError, match=r"bad\.key has no public-key"):
        load_keys(tmp_path / "a")
    path = tmp_path / "secret.key"
    path.write_text((tmp_path / "a/public.key").read_text())
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="has no secret-key"):
        load_keys(tmp_path)
    with pytest.raises(ConfigError, match="cannot read the key"):
        read_public("~" * 40)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write keys to"):
        make_keys(tmp_path / "file")


def test_a_public_key_as_text(tmp_path: Path) -> None:
    public = make_keys(tmp_path)
    assert read_public(public.decode()) == public


def test_addresses() -> None:
    assert check_addresses("tcp://host:1", bind=False) == ("tcp://host:1",)
    several = ["tcp://[::1]:5555", "ipc:///tmp/x", "tcp://*:*", "tcp://eth0:0"]
    assert check_addresses(several, bind=True) == tuple(several)


@pytest.mark.parametrize(
    ("address", "bind"),
    [
        ("", True),
        ((), True),
        (None, True),
        ([b"tcp://a:1"], True),
        ("host:5555", True),
        ("tcp://host", True),
        ("tcp://host:x", True),
        ("tcp://host:65536", True),
        ("tcp://host:1/x", True),
        ("tcp://a b:1", True),
        ("udp://host:1", True),
        ("inproc://x", True),
        ("ipc://", True),
        ("tcp://*:5555", False),
        ("tcp://0.0.0.0:5555", False),
        ("tcp://host:*", False),
        ("tcp://host:0", False),
    ],
)
def test_what_is_no_address(address: object, bind: bool) -> None:
    with pytest.raises((ConfigError, TypeError)):
        check_addresses(address, bind=bind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.9.9.9:*", True),
        ("tcp://[::1]:1", True),
        ("tcp://localhost:1", True),
        ("ipc:///tmp/x", True),
        ("tcp://0.0.0.0:1", False),
        ("tcp://*:1", False),
        ("tcp://[::]:1", False),
        ("tcp://192.168.0.1:1", False),
        ("tcp://localhost.example.org:1", False),
        ("tcp://eth0:1", False),
    ],
)
def test_who_can_reach_it(address: str, local: bool) -> None:
    assert is_local(address) is local
