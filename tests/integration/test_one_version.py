"""P1 at the corners: what counts as shown, and origins that give two versions one name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import netcache
from netcache._cachefiles.store import bind
from netcache._client.files import ReadFile
from netcache._core.coherency import NO_VALIDATOR, Version
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject, NewObject
from netcache._netfs.spool import SpoolHolding
from netcache.errors import CacheError
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes

BLOCK = 4096
ONE, OTHER = random_bytes(64 * BLOCK, 1), random_bytes(64 * BLOCK, 2)
SAME_TAG = FaultRule(etag='"same"')


def bound(client: netcache.Client, url: str) -> ReadFile:
    """A file whose version was checked, and nothing of it shown; two blocks are cached."""
    client.warm(url, 0, 2 * BLOCK)
    file = client.open(url)
    assert isinstance(file, ReadFile)
    file.expect(0, BLOCK)
    return file


def test_a_file_that_showed_cached_bytes_does_not_go_over_to_another_version(
    served: Served, new_client: NewClient
) -> None:
    """Bound by a check alone (no request brought its bytes), then read from the cache."""
    url = served.put("data", ONE)
    client = new_client(readahead=0)
    with bound(client, url) as file:
        assert file.pread(BLOCK, 0) == ONE[:BLOCK]
        served.put("data", OTHER)
        with pytest.raises(netcache.StaleError):
            file.pread(BLOCK, 8 * BLOCK)
        assert file.pread(BLOCK, 0) == ONE[:BLOCK]


def test_a_size_that_was_told_is_shown(served: Served, new_client: NewClient) -> None:
    """Bytes of another version do not follow it; the end of a file is told by a read, too."""
    url = served.put("data", ONE)
    client = new_client(readahead=0)
    with bound(client, url) as file, bound(client, url) as at_end:
        assert file.size == len(ONE)
        assert at_end.pread(1, len(ONE)) == b""
        served.put("data", OTHER[:-1])
        for one in (file, at_end):
            with pytest.raises(netcache.StaleError):
                one.pread(BLOCK, 8 * BLOCK)


def test_a_file_that_showed_nothing_takes_the_new_version(
    served: Served, new_client: NewClient
) -> None:
    """The check was made, then the object was swapped: nobody has seen anything."""
    url = served.put("data", ONE)
    client = new_client(readahead=0)
    with bound(client, url) as file:
        served.put("data", OTHER)
        assert file.pread(BLOCK, 8 * BLOCK) == OTHER[8 * BLOCK : 9 * BLOCK]
        assert file.pread(BLOCK, 0) == OTHER[:BLOCK]


@pytest.mark.parametrize("validate", ["open", "always"])
def test_a_version_that_was_denied_is_not_joined_with_one_of_the_same_name(
    served: Served, new_client: NewClient, validate: str
) -> None:
    """The origin tells one tag for all versions, and judges ``If-Match`` by the true ones."""
    url = served.put("data", ONE)
    served.server.set_faults([SAME_TAG])
    client = new_client(readahead=0, validate=validate)
    with client.open(url) as before:
        assert before.pread(BLOCK, 0) == ONE[:BLOCK]
        served.put("data", OTHER)
        with client.open(url) as file:
            assert file.pread(BLOCK, 8 * BLOCK) == OTHER[8 * BLOCK : 9 * BLOCK]
            with pytest.raises(netcache.StaleError):  # the first block is cached of the other
                file.pread(BLOCK, 0)
        with pytest.raises(netcache.StaleError):
            before.pread(BLOCK, 16 * BLOCK)


class _AskedMeanwhile:
    """A private object that lets a reader ask for its descriptor while it is being published."""

    def __init__(self, new: NewObject, *, fails: bool) -> None:
        self._new = new
        self._fails = fails
        self.spool: SpoolHolding | None = None
        self.descriptors: list[int] = []

    def publish(self, version: Version, *, checked_s: float) -> CacheObject:
        """Publish the real one, or fail; ask before and after."""
        assert self.spool is not None
        self.descriptors.append(self.spool.fileno())
        if self._fails:
            raise CacheError("no room")
        published = self._new.publish(version, checked_s=checked_s)
        self.descriptors.append(self.spool.fileno())
        return published

    def __getattr__(self, name: str) -> object:
        return getattr(self._new, name)


class _Store:
    """Begins one object, wrapped."""

    block_size = BLOCK

    def __init__(self, new: _AskedMeanwhile) -> None:
        self._new = new

    def begin(self, key: ObjectKey) -> _AskedMeanwhile:
        """The wrapped object."""
        return self._new


@pytest.mark.parametrize("fails", [False, True])
def test_a_spool_is_read_from_one_descriptor_while_it_is_published(
    tmp_path: Path, fails: bool
) -> None:
    """Readers in other threads ask at any moment; a failure of the cache takes nothing away."""
    store = bind(tmp_path / "cache")
    key = ObjectKey("v1,http,example", b"/a")
    new = _AskedMeanwhile(store.begin(key), fails=fails)
    spool = new.spool = SpoolHolding(_Store(new), key)  # type: ignore[arg-type]
    spool.write(0, memoryview(ONE))
    before = spool.fileno()
    if fails:
        with pytest.raises(CacheError):
            spool.publish(Version(NO_VALIDATOR, len(ONE)), time.time())
    else:
        published = spool.publish(Version(NO_VALIDATOR, len(ONE)), time.time())
        assert published is not None
        assert published.fileno() == before
    assert new.descriptors == [before] * (1 if fails else 2)
    assert spool.fileno() == before
    spool.close()
    store.close()
