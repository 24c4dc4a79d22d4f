"""Buckets of S3 by obstore, where it is installed: ten times as fast for small objects as s3fs.

What obstore does not know, such as profiles in ``~/.aws`` without boto3, or options of s3fs beyond
the common ones, is left to s3fs.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from dataflow.utils.extras import need

__all__ = ["Bucket", "bucket_of"]

_SCHEMES = ("s3", "s3a")
# Options of s3fs that are known here, and what they are called there.
_OPTIONS = {"key": "access_key_id", "secret": "secret_access_key", "token": "session_token"}
_OTHERS = ("anon", "endpoint_url")
_PIECE = 1 << 20


class Bucket:
    """A bucket, for objects by their URLs.

    Args:
        store: of obstore.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """An object; None where it is larger, which its answer's head says."""
        answer = need("obstore").get(self._store, path)
        return None if answer.meta["size"] > max_bytes else bytes(answer.bytes())

    def open(self, path: str) -> tuple[int, Iterator[Any]]:
        """The size of an object, and its pieces."""
        answer = need("obstore").get(self._store, path)
        return int(answer.meta["size"]), iter(answer.stream(min_chunk_size=_PIECE))


_opened: dict[Any, Bucket] = {}
_opening = threading.Lock()


def bucket_of(url: str, options: Mapping[str, Any]) -> tuple[Bucket, str] | None:
    """The bucket that a URL is of, and the object's path in it; None: s3fs has to read it."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _SCHEMES or importlib.util.find_spec("obstore") is None:
        return None
    if set(options) - {*_OPTIONS, *_OTHERS}:
        return None
    name, _, path = rest.partition("/")
    key = (name, tuple(sorted(options.items())), os.environ.get("AWS_ENDPOINT_URL"), os.getpid())
    with _opening:
        if key not in _opened:
            config = _config(options)
            if config is None:
                return None
            _opened[key] = Bucket(need("obstore.store").S3Store(name, **config))
        return _opened[key], path


def _config(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """What obstore is to be told; None where it would not find the credentials."""
    config: dict[str, Any] = {_OPTIONS[name]: options[name] for name in _OPTIONS if name in options}
    endpoint = options.get("endpoint_url") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        config["endpoint"] = endpoint
        config["client_options"] = {"allow_http": endpoint.startswith("http://")}
    if options.get("anon"):
        config["skip_signature"] = True
    elif "key" not in options and "AWS_ACCESS_KEY_ID" not in os.environ:
        if importlib.util.find_spec("boto3") is None:
            return None
        config["credential_provider"] = need("obstore.auth.boto3").Boto3CredentialProvider()
    return config
