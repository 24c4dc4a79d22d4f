"""LMDB databases: a source of raw records, and one record a datapoint as a file."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

from dataflow.epoch import Datapoint
from dataflow.errors import CodecError, ConfigError, DataFlowError, DatapointError
from dataflow.formats.handle import Handle
from dataflow.formats.records import Decoder, check_record, decode_record, encoder
from dataflow.formats.saving import datapoints
from dataflow.sources.keyed import KeyedSource
from dataflow.sources.text import Text
from dataflow.stages.map import MapData
from dataflow.utils.draft import draft
from dataflow.utils.extras import need

__all__ = ["LMDBData", "LMDBDataDecoder", "LMDBSerializer"]

logger = logging.getLogger(__name__)

_KEYS = b"__keys__"  # the list of all keys, which the serializer writes last
_INDEX = "{:08}"  # its keys: the datapoints' numbers
_SORTED = 10**8  # from here on the numbers are wider, and no longer in the order of bytes
_DATABASES = 128  # with names, in one file, at most

_FIRST_SIZE = 1 << 26  # of the map, bytes; it grows as needed
_PENDING = 1 << 26  # bytes of records that wait for a transaction at most


class LMDBData(KeyedSource):
    """The records of an LMDB database as datapoints ``[key, value]``, both bytes.

    Only keys are read here; values are read where the loading runs. Databases whose keys are just
    the numbers from ``00000000`` on, as `LMDBSerializer` writes them, need no list of keys; of
    others all keys are read once, and kept as one block of bytes.

    Args:
        lmdb_path: the database: a file, or a folder with a ``data.mdb``.
        shuffle: a new random order each epoch.
        keys: the keys to read, bytes or text, in their order; or a format of their numbers, such
            as ``"{:0>8d}"``. By default all keys that there are, in the order of their bytes.
        database: the name of one of several databases in the file; None: the one without a name.

    Raises:
        MissingData: there is no such database.
        CodecError: the file is no LMDB database, or its end is missing.
        ConfigError: `keys` makes no keys that the database has.
    """

    _consumer_only = ("_list",)

    def __init__(
        self,
        lmdb_path: str | os.PathLike[str],
        shuffle: bool = True,
        keys: str | Iterable[str | bytes] | None = None,
        *,
        database: str | bytes | None = None,
    ) -> None:
        self.path = os.fspath(lmdb_path)
        self.database = database
        self.shuffle = bool(shuffle)
        if not isinstance(database, (str, bytes, type(None))):
            raise ConfigError(f"database={database!r} is neither text nor bytes")
        name = database.encode() if isinstance(database, str) else database
        handle = Handle(_Database, _data_file(self.path), name, readahead=not shuffle)
        with handle.once() as records, _about(self.path):
            if database is None:
                _check_names(records, self.path)
            if records.several():
                raise ConfigError(f"{self.path} has several values for a key (dupsort)")
            with records.begin() as txn:
                self._list, spelled = _keys(txn, keys, self.path)
        self._reader = _Reader(handle, self.path, spelled)

    def keys(self) -> Sequence[Any]:
        return self._list

    def loader(self) -> Callable[[Any], list[bytes]]:
        return self._reader

    def close(self) -> None:
        super().close()
        self._reader.handle.close()


class LMDBDataDecoder(MapData):
    """The records of an LMDB database, decoded.

    Args:
        lmdb_data: an `LMDBData`.
        decoder: key, value → datapoint, or None to drop it. Both are bytes.
    """

    def __init__(self, lmdb_data: Any, decoder: Callable[[bytes, bytes], Datapoint | None]) -> None:
        if not callable(decoder):
            raise ConfigError(f"decoder={decoder!r} must be callable")
        super().__init__(lmdb_data, _Unpacked(decoder))


class LMDBSerializer:
    """Dataflows as LMDB databases: records under the keys ``00000000``, ``00000001`` and so on.

    ::

        df.LMDBSerializer.save(ds, "train.lmdb")
        ds = df.LMDBSerializer.load("train.lmdb", shuffle=True)
    """

    @staticmethod
    def save(
        df: Any,
        path: str | os.PathLike[str],
        write_frequency: int = 5000,
        *,
        format: str = "msgpack",
    ) -> None:
        """Write one epoch. The database is there when it is finished, and not before.

        Args:
            df: the dataflow.
            path: a file that is not there yet, or a folder, which gets a ``data.mdb``.
            write_frequency: datapoints in one transaction; they are kept in memory until then, up
                to 64 MB.
            format: of the records: ``"msgpack"`` or ``"pickle"``. tensorpack reads the first where
                the environment variable TENSORPACK_SERIALIZE is ``msgpack``, else the second.

        Raises:
            ConfigError: there is a database already; or an argument makes no sense.
            CodecError: a datapoint cannot be encoded.
        """
        encode = encoder(format)
        if write_frequency < 1:
            raise ConfigError(f"write_frequency={write_frequency!r} must be at least 1")
        target = os.path.join(path, "data.mdb") if os.path.isdir(path) else os.fspath(path)
        if os.path.exists(target):
            raise ConfigError(f"path={os.fspath(path)!r}: there is a database already: {target}")
        lmdb = need("lmdb")
        with draft(target) as place, datapoints(df) as points:
            # It is synchronised once, at the end: until then nobody can see it.
            options = {"subdir": False, "lock": False, "sync": False, "map_size": _FIRST_SIZE}
            env = lmdb.open(place, **options)
            try:
                size = _write(env, map(encode, points), write_frequency)
                _put(env, [(_KEYS, _key_list(size, format))], append=size <= _SORTED)
                env.sync(True)
            finally:
                env.close()

    @staticmethod
    def load(
        path: str | os.PathLike[str], shuffle: bool = True, *, allow_pickle: bool = False
    ) -> MapData:
        """The datapoints of a database that `save`, or tensorpack's, has written.

        Args:
            path: the database.
            shuffle: a new random order each epoch.
            allow_pickle: unpickle the records where they are pickled.

        Raises:
            MissingData: there is no such database.
            CodecError: it is none, or not a whole one, or pickled without `allow_pickle`.
        """
        source = LMDBData(path, shuffle)
        with source._reader.handle.once() as records, records.begin(buffers=True) as txn:
            found = txn.get(_KEYS)
            listed = None if found is None else bytes(found[:2])  # it may be long
        if listed is None:
            raise CodecError(
                f"{source.path} has no list of keys: its writer was ended before it was finished, "
                "or was no LMDBSerializer. LMDBData gives the records that are there",
                reason="truncated",
                url=source.path,
            )
        check_record(listed, source.path, allow_pickle=allow_pickle)
        return MapData(source, Decoder(source.path, allow_pickle))

    @staticmethod
    def _deserialize_lmdb(datapoint: list[bytes]) -> Datapoint:
        """Key and record, as `LMDBData` gives them, to the datapoint; tensorpack's name for it."""
        return decode_record(datapoint[1])


# -- reading -----------------------------------------------------------------------------------


class _Unpacked:
    """Calls a function of key and value with a datapoint of both."""

    def __init__(self, decoder: Callable[[bytes, bytes], Any]) -> None:
        self.decoder = decoder

    def __call__(self, datapoint: list[bytes]) -> Any:
        return self.decoder(*datapoint)


class _Reader:
    """Gets records by what stands for their keys."""

    def __init__(self, handle: Handle, path: str, spelled: Callable[[Any], bytes]) -> None:
        self.handle = handle
        self._path = path
        self._spelled = spelled

    def __call__(self, key: Any) -> list[bytes]:
        spelled = self._spelled(key)
        with self.handle.use() as records, _about(self._path), records.begin() as txn:
            value = txn.get(spelled)
        if value is None:
            what = f"{self._path} has no record under the key {spelled!r}"
            raise DatapointError(what, reason="not_found", url=self._path)
        return [spelled, value]


def _data_file(path: str) -> str:
    return os.path.join(path, "data.mdb") if os.path.isdir(path) else path


class _Database:
    """A database of an open file.

    Args:
        path: the file.
        name: of the database; None: the one that has none.
    """

    def __init__(self, path: str, name: bytes | None, *, readahead: bool = True) -> None:
        lmdb = need("lmdb")
        # LMDB opens a file once in a process, whichever of its databases are read.
        self._handle = Handle(_opened, path, readahead=readahead)
        self._using = self._handle.use()
        self._env = self._using.__enter__()
        try:
            self._chosen = None if name is None else self._env.open_db(name, create=False)
        except lmdb.Error:
            known = ", ".join(map(repr, filter(self.has, self.names()))) or "none with a name"
            self.close()
            raise ConfigError(f"database={name!r}: {path} has {known}") from None

    def begin(self, **options: Any) -> Any:
        """A transaction to read in."""
        return self._env.begin(db=self._chosen, **options)

    def names(self) -> list[bytes]:
        """The keys of the database without a name, where there are not too many for databases."""
        with self._env.begin() as txn:
            if txn.stat()["entries"] > _DATABASES:
                return []
            return list(txn.cursor().iternext(keys=True, values=False))

    def has(self, name: bytes) -> bool:
        """Whether there is a database of this name."""
        try:
            self._env.open_db(name, create=False)
        except need("lmdb").Error:
            return False
        return True

    def several(self) -> bool:
        """Whether a key may have several values."""
        database = self._env.open_db() if self._chosen is None else self._chosen
        with self._env.begin() as txn:
            return bool(database.flags(txn).get("dupsort"))

    def close(self) -> None:
        self._using.__exit__(None, None, None)
        self._handle.close()


def _check_names(records: _Database, path: str) -> None:
    """Look whether what seems to be records are databases.

    Raises:
        ConfigError: they are.
    """
    names = records.names()
    if names and all(map(records.has, names)):
        known = ", ".join(name.decode("utf-8", "backslashreplace") for name in names)
        raise ConfigError(f"{path} has databases with names, {known}: give one, database=…")


def _opened(path: str, *, readahead: bool = True) -> Any:
    lmdb = need("lmdb")
    size = os.path.getsize(path)
    try:
        # No lock: the folder may be read-only. The map is as large as the file needs it.
        options = {"subdir": False, "readonly": True, "lock": False, "max_dbs": _DATABASES}
        env = lmdb.open(path, readahead=readahead, **options)
    except lmdb.Error as error:
        if size and not isinstance(error, (lmdb.InvalidError, lmdb.VersionMismatchError)):
            raise DataFlowError(f"{path} cannot be opened: {error}") from error
        what = str(error) if size else "it is empty"
        raise CodecError(f"{path} is no LMDB database: {what}", reason="foreign") from error
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if size < needed:  # reading beyond the end would kill the process
        env.close()
        what = f"{path} has {size} bytes of the {needed} that it should have"
        raise CodecError(what, reason="truncated", url=path)
    return env


@contextmanager
def _about(path: str) -> Iterator[None]:
    """Say of what LMDB raises which file it is about."""
    lmdb = need("lmdb")
    try:
        yield
    except lmdb.Error as error:
        what = f"{path} cannot be read: {error}"
        raise CodecError(what, reason="corrupt", url=path) from error


def _keys(txn: Any, keys: Any, path: str) -> tuple[Sequence[Any], Callable[[Any], bytes]]:
    """What stands for the keys, and how they are spelled."""
    size = txn.stat()["entries"] - _has(txn, _KEYS)
    if isinstance(keys, str):
        spelled = _format(keys)
        if size and not all(_has(txn, spelled(i)) for i in (0, size - 1)):
            what = f"keys={keys!r}: {path} has not both {spelled(0)!r} and {spelled(size - 1)!r}"
            raise ConfigError(f"{what}, of {size} records")
        return range(size), spelled
    if keys is not None:
        given = keys if isinstance(keys, Sequence) and not isinstance(keys, bytes) else [*keys]
        wrong = next((key for key in given if not isinstance(key, (str, bytes))), None)
        if wrong is not None:
            raise ConfigError(f"keys: {wrong!r} is neither bytes nor text")
        return given, _utf8
    spelled = _format(_INDEX)
    if _are_numbers(txn, size, spelled):
        return range(size), spelled
    logger.info("reading the %d keys of %s", size, path)
    found = txn.cursor().iternext(keys=True, values=False)
    return Text(key.decode("latin-1") for key in found if key != _KEYS), _latin


def _are_numbers(txn: Any, size: int, spelled: Callable[[Any], bytes]) -> bool:
    """Whether the keys are just the numbers from 0 on."""
    if not size or size > _SORTED:
        return not size or (_has(txn, _KEYS) and _has(txn, spelled(size - 1)))
    with txn.cursor() as cursor:
        listed = _has(txn, _KEYS)
        # The list is behind all numbers, in the order of bytes.
        last = cursor.last() and (not listed or (cursor.key() == _KEYS and cursor.prev()))
        if not last or cursor.key() != spelled(size - 1):
            return False
        # Who writes the list has written all others.
        wanted = map(spelled, (0,) if listed else range(size))
        return cursor.first() and all(
            map(operator.eq, wanted, cursor.iternext(keys=True, values=False))
        )


def _has(txn: Any, key: bytes) -> bool:
    with txn.cursor() as cursor:
        return bool(cursor.set_key(key))  # unlike `get`, it copies no value


def _format(keys: str) -> Callable[[Any], bytes]:
    try:
        alike = keys.format(0) == keys.format(1)
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigError(f"keys={keys!r} is no format of a number: {error}") from error
    if alike:
        raise ConfigError(f"keys={keys!r} has no place for the number, such as {{:08}}")
    return partial(_numbered, keys)


def _numbered(format: str, number: int) -> bytes:
    return format.format(number).encode()


def _utf8(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else bytes(key)


def _latin(key: str) -> bytes:
    return key.encode("latin-1")


# -- writing -----------------------------------------------------------------------------------


def _write(env: Any, records: Iterator[bytes], frequency: int) -> int:
    """Put the records, and return how many they are."""
    size = 0
    while batch := _batch(records, frequency):
        pairs = [(_numbered(_INDEX, number), record) for number, record in enumerate(batch, size)]
        size += len(batch)
        _put(env, pairs, append=size <= _SORTED)
    return size


def _batch(records: Iterator[bytes], most: int) -> list[bytes]:
    batch, pending = [], 0
    for record in islice(records, most):
        batch.append(record)
        pending += len(record)
        if pending >= _PENDING:
            break
    return batch


def _put(env: Any, pairs: list[tuple[bytes, bytes]], *, append: bool) -> None:
    """Put records in one transaction; where there is no room for it, there is after."""
    lmdb = need("lmdb")
    while True:
        try:
            with env.begin(write=True) as txn, txn.cursor() as cursor:
                cursor.putmulti(pairs, append=append)
            return
        except lmdb.MapFullError:  # the transaction is undone as a whole
            env.set_mapsize(2 * env.info()["map_size"])


def _key_list(size: int, format: str) -> bytes:
    """The list of all keys as a record, which tensorpack looks for."""
    keys = (_numbered(_INDEX, number) for number in range(size))
    if format == "pickle":
        return encoder(format)(list(keys))
    # The same as of a list, without ten million objects: array 32, then each key as bin 8.
    packed = bytearray(b"\xdd" + size.to_bytes(4, "big"))
    for key in keys:
        packed += bytes((0xC4, len(key))) + key
    return bytes(packed)
