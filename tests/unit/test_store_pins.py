"""Pins: never culled, whoever culls, whatever becomes of the object; until they are taken away."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.layout import write_small
from netcache._cachefiles.store import bind
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheStore
from netcache.errors import CacheError, NoSpaceError
from tests.support.bytemodel import pattern
from tests.support.faults import FaultyFileOps
from tests.support.fixtures import Opener
from tests.support.stores import KEY, OTHER_KEY, VOLUME, allocated, check, found, put, text

SIZE = 256 << 10


def key(number: int) -> ObjectKey:
    """The key of the ``number``-th object."""
    return ObjectKey(VOLUME, b"number %d" % number)


def pinned(store: CacheStore) -> set[bytes]:
    """The keys of the objects that are listed as pinned."""
    return {record.key.name for record in store.objects() if record.pinned}


def test_a_pinned_object_is_never_culled(opener: Opener) -> None:
    """By hand, for room, by this process and by another."""
    one, two = opener(limit_bytes=6 * SIZE), opener(limit_bytes=6 * SIZE)
    for number in range(3):
        put(one, pattern(0, SIZE, number), key=key(number)).close()
    one.pin(key(1))
    assert pinned(two) == {key(1).name}
    for number in range(10, 25):
        put(two if number % 2 else one, pattern(0, SIZE, number), key=key(number)).close()
    assert one.lookup(key(0)) is None
    one.cull(0)
    two.cull(0)
    assert [record.key for record in one.objects()] == [key(1)]
    check(found(two, key(1)), text(SIZE, seed=1))


def test_a_pin_belongs_to_the_name(store: CacheStore) -> None:
    """It is there before the object, and stays when that is replaced, dropped, cleared."""
    store.pin(KEY)
    store.pin(KEY)
    for tag in ("a", "b"):
        put(store, pattern(0, SIZE), tag=tag).close()
        assert store.cull(0)[0] == 0
    store.drop(KEY)
    put(store, pattern(0, SIZE)).close()
    put(store, pattern(0, SIZE), key=OTHER_KEY).close()
    assert store.cull(0)[0] == 1
    store.clear()
    put(store, pattern(0, SIZE)).close()
    assert store.cull(0)[0] == 0
    assert store.unpin(KEY)
    assert not store.unpin(KEY)
    assert store.cull(0)[0] == 1


def test_pins_survive_the_record_of_use(tmp_path: Path) -> None:
    """They are not a hint: with the record gone they hold all the same."""
    store = bind(tmp_path)
    for number in range(3):
        put(store, pattern(0, SIZE, number), key=key(number)).close()
    store.pin(key(2))
    store.close()
    (tmp_path / "usage").unlink()
    later = bind(tmp_path)
    assert later.cull(0)[0] == 2
    assert later.lookup(key(2)) is not None
    later.close()


def test_a_pin_that_did_not_get_on_record_is_found_by_culling(tmp_path: Path) -> None:
    """Another process was stopped with the record when it was made."""
    store = bind(tmp_path)
    for number in range(3):
        put(store, pattern(0, SIZE, number), key=key(number)).close()
    stopped = bind(tmp_path)
    with stopped._bound.room.change():
        store.pin(key(0))
    assert store.cull(0)[0] == 2
    assert store.lookup(key(0)) is not None
    stopped.close()
    store.close()


def test_when_all_is_pinned_there_is_no_room(tmp_path: Path) -> None:
    """What would have to be culled is pinned: nothing more is stored, nothing is lost."""
    store = bind(tmp_path, limit_bytes=4 * SIZE)
    held = []
    for number in range(10):
        try:
            put(store, pattern(0, SIZE, number), key=key(number)).close()
        except NoSpaceError:
            break
        store.pin(key(number))
        held.append(number)
    else:
        pytest.fail("more was stored than there is room for")
    assert len(held) >= 2
    assert allocated(tmp_path) <= 4 * SIZE
    for number in held:
        kept = found(store, key(number))
        check(kept, text(SIZE, seed=number))
        kept.close()
    store.unpin(key(0))
    put(store, pattern(0, SIZE), key=key(20)).close()
    assert store.lookup(key(0)) is None
    store.close()


def test_pins_are_private_files(store: CacheStore, tmp_path: Path) -> None:
    """Like all that is in the cache directory; each says what it pins."""
    store.pin(KEY)
    (pin,) = (tmp_path / "pins").iterdir()
    assert pin.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "pins").stat().st_mode & 0o777 == 0o700
    put(store, b"x").close()
    assert os.path.isfile(tmp_path / pin.read_text())


@pytest.mark.parametrize("call", ["write_all", "rename"])
def test_a_pin_that_cannot_be_made_leaves_nothing(tmp_path: Path, call: str) -> None:
    """Its private name stayed for ever: nobody tidies up among the pins, or in the root."""
    faults = FaultyFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=faults.fileops)
    store.pin(OTHER_KEY)
    before = sorted(tmp_path.rglob("*"))
    faults.arm(errno.ENOSPC, 1, only={call})
    with pytest.raises(CacheError):
        store.pin(KEY)
    root = os.open(tmp_path, os.O_RDONLY)
    faults.arm(errno.ENOSPC, 1, only={call})
    with pytest.raises(OSError, match="No space"):
        write_small(faults.fileops, root, "format", b"3")
    os.close(root)
    assert sorted(tmp_path.rglob("*")) == before
    store.close()
