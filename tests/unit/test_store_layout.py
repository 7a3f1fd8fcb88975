"""How a cache lies on disk (``docs/on-disk-format.md``), read by an independent decoder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.content import Content
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheStore
from netcache.errors import CacheError
from tests.support.bytemodel import ByteModel
from tests.support.counting import CountingFileOps
from tests.support.damage import stray_tables
from tests.support.labels import decoded_name, expected_name, fan_out, read_label
from tests.support.stores import (
    CHECKED_S,
    KEY,
    VOLUME,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_file,
    object_files,
    put,
    text,
    version,
)

SAMPLE_KEYS = [
    b"plain-name.txt",
    b"a",
    b"with space",
    b"folder/file",
    b"\x00\x00\x00\x01\x00\x00\x00\x02",
    b"\x01\x00\x00\x00\x02\x00\x00\x00\x03",
    "bücher/größe".encode(),
    b"?query=1&b=2",
    b"/",
    bytes(range(1, 60)),
]


def test_the_tree_is_that_of_cachefiles(store: CacheStore, tmp_path: Path) -> None:
    """``cache/I<volume>/@xx/<object>`` and ``graveyard``."""
    put(store, b"x").close()
    assert (tmp_path / "graveyard").is_dir()
    path = object_file(tmp_path)
    assert path.parent.parent == tmp_path / "cache" / f"I{VOLUME}"


@pytest.mark.parametrize("key", SAMPLE_KEYS)
def test_an_object_has_the_name_that_cachefiles_gives(
    store: CacheStore, tmp_path: Path, key: bytes
) -> None:
    """Encodings D, S, T and E, and the fan-out by hash."""
    put(store, b"x", key=ObjectKey(VOLUME, key)).close()
    path = object_file(tmp_path)
    assert path.name == expected_name(key)
    assert decoded_name(path.name).rstrip(b"\0") == key.rstrip(b"\0")
    assert path.parent.name == fan_out(VOLUME, key)


def test_the_samples_use_every_encoding() -> None:
    """The keys above cover all four kinds of names."""
    assert {expected_name(key)[0] for key in SAMPLE_KEYS} == set("DSTE")


@given(keys=st.lists(st.binary(min_size=1, max_size=300), min_size=2, max_size=4, unique=True))
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_keys_are_never_confused(tmp_path: Path, keys: list[bytes]) -> None:
    """Whatever the bytes of the keys, each finds its own object."""
    store = bind(tmp_path)
    store.clear()
    for key in keys:
        put(store, key, key=ObjectKey(VOLUME, key)).close()
    for key in keys:
        again = store.lookup(ObjectKey(VOLUME, key))
        assert again is not None
        check(again, ByteModel(key))
        again.close()
    assert {record.key.name for record in store.objects()} == set(keys)
    store.close()


@pytest.mark.parametrize("one", [b"\x01\x02", b"\xff" * 189, b"k" * 252])
def test_keys_that_differ_in_padding_are_never_confused(store: CacheStore, one: bytes) -> None:
    """Hex names pad with zeros, so a key with a zero at its end looks the same."""
    two = ObjectKey(VOLUME, one + b"\0")
    put(store, b"one", key=ObjectKey(VOLUME, one)).close()
    again = store.lookup(two)
    assert again is None
    put(store, b"two", key=two).close()
    check(found(store, two), ByteModel(b"two"))
    kept = store.lookup(ObjectKey(VOLUME, one))
    assert kept is None or bytes_of(kept.fileno(), 3) == b"one"


def bytes_of(descriptor: int, count: int) -> bytes:
    """The first bytes of a file."""
    return os.pread(descriptor, count, 0)


@pytest.mark.parametrize("length", [1, 200, 254, 300])
def test_volumes_are_never_confused(store: CacheStore, length: int) -> None:
    """The same key in two volumes is two objects, also when their names are long."""
    one = ObjectKey("netcache,http," + "a" * length, b"key")
    two = ObjectKey("netcache,http," + "a" * (length - 1) + "b", b"key")
    put(store, b"one", key=one).close()
    assert store.lookup(two) is None
    put(store, b"two", key=two).close()
    check(found(store, one), ByteModel(b"one"))
    check(found(store, two), ByteModel(b"two"))


def test_records_name_the_whole_key(tmp_path: Path, store: CacheStore) -> None:
    """Volumes and keys that are too long for a file name come back in full."""
    keys = {
        ObjectKey("netcache,http," + "v" * length, b"\xfc/" * length)
        for length in (1, 80, 230, 250, 300)
    }
    for key in keys:
        put(store, b"x", key=key).close()
    assert {record.key for record in store.objects()} == keys
    assert list(store.verify()) == []
    assert stray_tables(tmp_path) == []


@pytest.mark.parametrize(
    ("key", "etag", "size", "mtime_s"),
    [
        (b"k" * 70_000, '"a"', 5, None),
        (b"k", '"' + "a" * 70_000 + '"', 5, None),
        (b"k", '"\u20ac\udcff"', 5, None),
        (b"k", '"a"', 1 << 64, None),
        (b"k", '"a"', 1 << 200, None),
        (b"k", '"a"', 5, 1 << 70),
    ],
)
def test_what_does_not_fit_into_a_label_is_a_cache_error(
    store: CacheStore, key: bytes, etag: str, size: int, mtime_s: int | None
) -> None:
    """Absurd keys, validators, sizes and times from a server cost the caching, nothing else."""
    wanted = Version(Validator(ValidatorKind.STRONG_ETAG, etag), size, mtime_s)
    try:
        made = store.create(ObjectKey(VOLUME, key), wanted, checked_s=1.0)
    except CacheError:
        pass
    else:
        assert made.version == wanted
        made.close()
    check(put(store, b"works"), ByteModel(b"works"))


def test_the_label_is_laid_out_as_promised(store: CacheStore, tmp_path: Path) -> None:
    """Big-endian size, 8 reserved zero bytes, type 1, content, then our data with its format."""
    block = store.block_size
    model = text(5 * block + 1)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    cache_object.close()
    label = read_label(object_file(tmp_path))
    assert label.object_size == model.size
    assert label.reserved == bytes(8)
    assert label.type == 1
    assert label.content == Content.ALL
    assert 1 <= label.format < 255
    assert store.status().format >= 1


def test_content_on_disk_is_that_of_the_object(store: CacheStore, tmp_path: Path) -> None:
    """ALL, then a map once there is a hole."""
    model = text(9 * store.block_size)
    cache_object = create(store, model.size)
    for first, content in ((0, Content.ALL), (1, Content.ALL), (5, Content.BACKFS_MAP)):
        fill_blocks(cache_object, model, first, first + 1)
        assert read_label(object_file(tmp_path)).content == content


@pytest.mark.parametrize("kind", list(ValidatorKind))
@pytest.mark.parametrize("mtime_s", [None, 0, 1_600_000_000, -5])
def test_versions_come_back_as_they_went_in(
    store: CacheStore, kind: ValidatorKind, mtime_s: int | None
) -> None:
    """Validator kind and text, size, times: exactly."""
    value = "" if kind is ValidatorKind.NONE else 'W/"ü-' + "x" * 150 + '"'
    wanted = Version(Validator(kind, value), 3, mtime_s)
    new = store.begin(KEY)
    new.write(b"abc")
    new.publish(wanted, checked_s=CHECKED_S).close()
    again = found(store)
    assert again.version == wanted
    assert again.checked_s == pytest.approx(CHECKED_S, abs=1)


def test_folders_are_private_and_files_too(tmp_path: Path) -> None:
    """0700 and 0600, whatever the umask is."""
    directory = tmp_path / "made" / "by" / "bind"
    old = os.umask(0)
    try:
        store = bind(directory)
        put(store, b"x").close()
        create(store, 5, key=ObjectKey(VOLUME, b"other")).close()
        store.close()
    finally:
        os.umask(old)
    for path in (directory, *directory.rglob("*")):
        mode = path.lstat().st_mode
        if path.name == "CACHEDIR.TAG":
            continue
        assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), path


def test_the_directory_is_tagged_as_a_cache(store: CacheStore, tmp_path: Path) -> None:
    """Backup programs know a cache by its CACHEDIR.TAG."""
    tag = (tmp_path / "CACHEDIR.TAG").read_bytes()
    assert tag.startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    assert store.status().directory == str(tmp_path)


def test_nothing_is_left_beside_the_objects(store: CacheStore, tmp_path: Path) -> None:
    """After put, replace, invalidate and drop there are no temporary names."""
    put(store, b"one").close()
    cache_object = put(store, b"two", tag="b")
    cache_object.invalidate(version(4, "c"))
    cache_object.close()
    assert len(object_files(tmp_path)) == 1
    assert store.drop(KEY) >= 0
    assert object_files(tmp_path) == []
    assert list(store.verify()) == []
    assert stray_tables(tmp_path) == []


def test_all_answers_without_a_seek_and_a_map_with_few(tmp_path: Path) -> None:
    """Occupancy of ALL (and SINGLE) costs no seek call; of a map at most four."""
    counting = CountingFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=counting.fileops)
    model = text(40 * store.block_size)
    put(store, model.part(0, model.size)).close()
    cache_object = found(store)
    counting.reset()
    assert blocks(cache_object) == list(range(40))
    assert len(list(cache_object.extents())) == 1
    check(cache_object, model)
    assert counting.seeks == 0, counting.counts

    sparse = create(store, model.size, key=ObjectKey(VOLUME, b"sparse"))
    for number in range(1, 40, 2):
        fill_blocks(sparse, model, number, number + 1)
    counting.reset()
    answer = sparse.query_occupancy(0, model.size)
    assert [(run.start, run.end) for run in answer] == [
        (number * store.block_size, (number + 1) * store.block_size) for number in (1, 3)
    ]
    assert 1 <= counting.seeks <= 4, counting.counts
    store.close()


def test_a_lookup_costs_the_same_in_a_full_cache(tmp_path: Path) -> None:
    """One open and one attribute read, whatever the number of objects."""
    counting = CountingFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=counting.fileops)
    put(store, b"x").close()
    costs = []
    for _ in range(2):
        found(store).close()
        counting.reset()
        found(store).close()
        costs.append(dict(counting.counts))
        for number in range(50):
            put(store, b"y", key=ObjectKey(VOLUME, b"%d" % number)).close()
    assert costs[0] == costs[1]
    assert sum(costs[0].values()) <= 12, costs[0]
    store.close()
