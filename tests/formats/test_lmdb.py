"""LMDB: keys in all their forms, growth, and databases of others."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import pytest

import dataflow as df
from dataflow.sources.text import Text

from .conftest import check, flow, open_files, points


def write(path: Path, records: dict[bytes, bytes]) -> str:
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        for key, value in records.items():
            txn.put(key, value)
    return str(path)


NAMED = {f"img/{i}\xff".encode("latin-1"): b"value %d" % i for i in range(30)}


@pytest.fixture
def named(tmp_path: Path) -> str:
    """A database whose keys are neither numbers nor UTF-8."""
    return write(tmp_path / "named", NAMED)


def test_raw_records_in_the_order_of_their_keys(named: str) -> None:
    with df.LMDBData(named, shuffle=False) as ds:
        assert len(ds) == 30
        assert list(ds) == [[key, NAMED[key]] for key in sorted(NAMED)]
        assert isinstance(ds.keys(), Text), "one block of bytes, no objects"
    with df.LMDBData(named).seed(0) as ds:
        shuffled = list(ds)
        assert shuffled != sorted(shuffled) == sorted(map(list, NAMED.items()))


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array])
@pytest.mark.parametrize("shuffle", [False, True])
def test_some_keys(kind: Any, shuffle: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "a", {b"a": b"1", b"b": b"2", b"c": b"3"})
    ds = df.LMDBData(path, shuffle, kind(["c", "a"]))
    assert len(ds) == 2
    found = list(ds)
    assert (sorted(found) if shuffle else found[::-1]) == [[b"a", b"1"], [b"c", b"3"]]


def test_keys_by_a_format(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {b"x%03d" % i: b"%d" % i for i in range(12)})
    ds = df.LMDBData(path, False, "x{:0>3d}")
    assert ds.keys() == range(12)
    assert list(ds) == [[b"x%03d" % i, b"%d" % i] for i in range(12)]
    assert len(list(df.LMDBData(path, keys="x{:0>3d}"))) == 12


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ("{:08}", "has not both b'00000000' and b'00000029', of 30 records"),
        ("key", "no place for the number"),
        ("{:0>8d} {}", "no format of a number"),
        ("{name}", "no format of a number"),
        ([1, 2], "1 is neither bytes nor text"),
        (b"bytes", "neither bytes nor text"),
    ],
)
def test_keys_that_cannot_be(keys: Any, match: str, named: str) -> None:
    with pytest.raises(df.ConfigError, match=match):
        df.LMDBData(named, keys=keys)
    assert not open_files(named)


def test_a_key_that_is_not_there(named: str) -> None:
    with df.LMDBData(named, False, [*NAMED, "none"]) as ds:
        with pytest.raises(df.DatapointError, match=r"no record under the key b'none'") as caught:
            list(ds)
        assert caught.value.reason == "not_found"


def test_a_list_of_keys_that_is_pickled_is_not_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "exploded"),)

    records = {b"b": b"1", b"a": b"2", b"__keys__": pickle.dumps(Bomb())}
    ds = df.LMDBData(write(tmp_path / "a", records), shuffle=False)
    assert list(ds) == [[b"a", b"2"], [b"b", b"1"]]
    assert not (tmp_path / "exploded").exists()


def test_numbers_as_keys_are_a_range(tmp_path: Path) -> None:
    path = write(tmp_path / "a", {b"%08d" % i: b"" for i in range(1000)})
    ds = df.LMDBData(path)
    assert ds.keys() == range(1000)
    assert next(iter(ds))[1] == b""
    gaps = write(tmp_path / "b", {b"%08d" % i: b"" for i in range(0, 2000, 2)})
    assert isinstance(df.LMDBData(gaps).keys(), Text)


def test_a_decoder(named: str) -> None:
    def decode(key: bytes, value: bytes) -> Any:
        number = int(value.split()[1])
        return [key, number] if number % 2 else None

    ds = df.LMDBDataDecoder(df.LMDBData(named, shuffle=False), decode)
    expected = [[key, int(NAMED[key].split()[1])] for key in sorted(NAMED)]
    expected = [pair for pair in expected if pair[1] % 2]
    assert list(ds) == expected
    with df.PrefetchDataZMQ(ds, 1, ordered=True) as many:
        assert list(many) == expected
    with pytest.raises(df.ConfigError, match="decoder=3"):
        df.LMDBDataDecoder(df.LMDBData(named), 3)  # type: ignore[arg-type]


def test_subclasses_that_iterate_by_themselves(named: str) -> None:
    class Values(df.LMDBData):
        def __iter__(self) -> Any:
            for _, value in super().__iter__():
                yield [value]

    assert [value for (value,) in Values(named, False)] == [NAMED[key] for key in sorted(NAMED)]


@pytest.mark.parametrize("where", ["file", "folder"])
def test_the_map_grows_and_no_record_is_lost(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 64 kB, in transactions of which some fail for want of room."""
    monkeypatch.setattr("dataflow.formats.lmdb._FIRST_SIZE", 1 << 16)
    monkeypatch.setattr("dataflow.formats.lmdb._PENDING", 1 << 17)
    path = tmp_path / where
    if where == "folder":
        path.mkdir()
    many = [[i, np.full(5000, i % 256, np.uint8)] for i in range(200)]
    df.LMDBSerializer.save(df.DataFromList(many, shuffle=False), path, 30)
    check(df.LMDBSerializer.load(path, shuffle=False), many)
    assert os.path.getsize(path / "data.mdb" if where == "folder" else path) < 2_500_000
    if where == "folder":
        assert os.listdir(path) == ["data.mdb"]
        with pytest.raises(df.ConfigError, match=r"already.*data\.mdb"):
            df.LMDBSerializer.save(flow(), path)


def test_the_list_of_keys_is_what_tensorpack_looks_for(tmp_path: Path) -> None:
    keys = [b"%08d" % i for i in range(40)]
    for format, loads in (("msgpack", msgpack.unpackb), ("pickle", pickle.loads)):
        path = str(tmp_path / format)
        df.LMDBSerializer.save(flow(), path, format=format)
        with lmdb.open(path, subdir=False, readonly=True, lock=False) as env, env.begin() as txn:
            assert loads(txn.get(b"__keys__")) == keys
            assert [key for key, _ in txn.cursor()] == [*keys, b"__keys__"]


def test_arguments_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(df.ConfigError, match="write_frequency=0"):
        df.LMDBSerializer.save(flow(), tmp_path / "a", 0)
    with pytest.raises(df.MissingData, match=r"data\.mdb"):
        df.LMDBData(str(tmp_path))


def test_damaged_pages_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    df.LMDBSerializer.save(flow(), path)
    data = bytearray(path.read_bytes())
    for page in range(2 * 4096, len(data), 4096):
        data[page + 10 : page + 12] = b"\0\0"  # its type
    path.write_bytes(data)
    with pytest.raises(df.CodecError, match=f"{path} cannot be read.*MDB_") as caught:
        df.LMDBData(path)
    assert caught.value.reason == "corrupt"
    assert not open_files(path)


def test_two_sources_of_one_database(tmp_path: Path) -> None:
    """LMDB itself refuses to open one twice in a process."""
    path = tmp_path / "a"
    df.LMDBSerializer.save(flow(), path)
    link = tmp_path / "b"
    os.link(path, link)
    one = df.LMDBSerializer.load(path, shuffle=False)
    other = df.LMDBSerializer.load(link, shuffle=False)
    pairs = df.JoinData([one, other])
    assert [dp[0] == dp[3] for dp in pairs] == [True] * 40
    one.close()
    assert open_files(tmp_path) == 1
    check(other, points())
    pairs.close()
    assert not open_files(tmp_path)


def test_a_new_file_of_the_same_name_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a"
    df.LMDBSerializer.save(flow(3), path)
    old = df.LMDBSerializer.load(path, shuffle=False)
    assert len(list(old)) == 3  # it stays open
    path.unlink()
    df.LMDBSerializer.save(flow(5), path)
    with df.LMDBSerializer.load(path, shuffle=False) as new:
        check(new, points(5))
    check(old, points(3))
    old.close()


def test_loading_is_from_many_threads_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    df.LMDBSerializer.save(flow(), path)
    threads = set()

    def note(dp: Any) -> Any:
        threads.add(threading.get_ident())
        return dp

    with df.MultiThreadMapData(df.LMDBSerializer.load(path, False), 4, note, ordered=True) as ds:
        for _ in range(3):
            check(ds, points())
    assert len(threads) > 1


@pytest.mark.parametrize("missing", [1, 1000, 1998])
@pytest.mark.parametrize("odd", [b"0000100a", b"00009999", b"x"])
def test_a_gap_anywhere_is_no_gap_in_what_comes(tmp_path: Path, missing: int, odd: bytes) -> None:
    """As many records as numbers, of which one is another key."""
    records = {b"%08d" % i: b"%d" % i for i in range(2000) if i != missing} | {odd: b"odd"}
    with df.LMDBData(write(tmp_path / "a", records), shuffle=False) as ds:
        assert list(ds) == [[key, records[key]] for key in sorted(records)]


def test_what_was_deleted_from_a_serializers_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    df.LMDBSerializer.save(flow(), path)
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        assert txn.delete(b"00000003")
    check(df.LMDBSerializer.load(path, shuffle=False), points()[:3] + points()[4:])


def test_databases_with_names(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    with lmdb.open(path, subdir=False, lock=False, max_dbs=2) as env:
        for name in (b"train", b"test"):
            records = env.open_db(name)
            with env.begin(write=True, db=records) as txn:
                for number in range(5):
                    txn.put(b"%s-%d" % (name, number), b"%d" % number)
    for name in ("train", b"test"):
        text = name if isinstance(name, str) else name.decode()
        source = df.LMDBData(path, shuffle=False, database=name)
        with df.PrefetchDataZMQ(source, 1) as ds:
            assert list(ds) == [[f"{text}-{n}".encode(), b"%d" % n] for n in range(5)]
    with pytest.raises(df.ConfigError, match="databases with names, test, train: give one"):
        df.LMDBData(path)
    with pytest.raises(df.ConfigError, match=r"b'none': .* has b'test', b'train'"):
        df.LMDBData(path, database="none")
    assert not open_files(Path(path))


def test_several_databases_of_a_file_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    with lmdb.open(path, subdir=False, lock=False, max_dbs=3) as env:
        for name in (None, b"one", b"two"):
            with env.begin(write=True, db=env.open_db(name)) as txn:
                txn.put(b"key", name or b"none")
        with env.begin(write=True, db=env.open_db(b"many", dupsort=True)) as txn:
            txn.put(b"key", b"1")
            txn.put(b"key", b"2")
    flows = [df.LMDBData(path, False, ["key"], database=name) for name in (None, "one", "two")]
    iterators = [iter(flow) for flow in flows]
    assert [next(one)[1] for one in iterators] == [b"none", b"one", b"two"]
    for one in flows:
        one.close()
    with pytest.raises(df.ConfigError, match="several values for a key"):
        df.LMDBData(path, database="many")
    with pytest.raises(df.ConfigError, match="database=5 is neither"):
        df.LMDBData(path, database=5)  # type: ignore[arg-type]
    assert not open_files(Path(path))
