"""When a check asks for a digest of the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from netcache._cachefiles.store import bind
from netcache._core.coherency import NO_VALIDATOR, Validator, ValidatorKind, Version
from netcache._core.urls import parse
from netcache._netfs.holding import CachedHolding
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import key_of
from netcache._netfs.spool import SpoolHolding
from netcache._netfs.unchanged import WHOLE_BYTES_MAX, may_compare
from netcache.spi import OriginCapabilities

RESOURCE = parse("http://server.invalid/data")
KEY = key_of(RESOURCE)
STRONG = Validator(ValidatorKind.STRONG_ETAG, '"1"')
WEAK = Validator(ValidatorKind.WEAK_ETAG, 'W/"1"')
SIZE = 3 * 4096


def inode_of(directory: Path, validator: Validator, stored: int, size: int = SIZE) -> Inode:
    """An inode of ``size`` bytes, of which the first ``stored`` are cached."""
    version = Version(validator, size)
    store = bind(directory)
    if stored == size:
        new = store.begin(KEY)
        new.write(bytes(size))
        return Inode(RESOURCE, KEY, version, CachedHolding(new.publish(version, checked_s=1.0)))
    holding = CachedHolding(store.create(KEY, version, checked_s=1.0))
    if stored:
        holding.write(0, memoryview(bytes(stored)))
        holding.record(0, stored)
    return Inode(RESOURCE, KEY, version, holding)


@pytest.mark.parametrize(
    ("validator", "told", "asks"),
    [
        (STRONG, None, True),
        (STRONG, True, True),
        (STRONG, False, False),
        (WEAK, None, False),
        (WEAK, True, True),
        (WEAK, False, False),
        (NO_VALIDATOR, None, False),
        (NO_VALIDATOR, True, True),
        (NO_VALIDATOR, False, False),
    ],
)
def test_it_is_asked_for_where_it_may_be_told_and_costs_no_request_in_vain(
    tmp_path: Path, validator: Validator, told: bool | None, asks: bool
) -> None:
    """Without a strong validator it takes a request of its own: only of who is known to tell."""
    inode = inode_of(tmp_path, validator, SIZE)
    assert may_compare(inode, OriginCapabilities(whole_digests=told)) is asks


@pytest.mark.parametrize(
    ("stored", "size"),
    [(0, SIZE), (4096, SIZE), (0, 0), (4096, WHOLE_BYTES_MAX + 1)],
    ids=["nothing", "part", "empty", "huge"],
)
def test_it_is_not_asked_for_where_it_would_prove_nothing(
    tmp_path: Path, stored: int, size: int
) -> None:
    """Of a part, of nothing, of what takes too long."""
    inode = inode_of(tmp_path, STRONG, stored, size)
    assert not may_compare(inode, OriginCapabilities(whole_digests=True))


def test_it_is_not_asked_for_without_a_cache() -> None:
    """Nothing is kept, or only in a private file."""
    for holding in (None, SpoolHolding(None, KEY)):
        inode = Inode(RESOURCE, KEY, Version(STRONG, SIZE), holding)
        assert not may_compare(inode, OriginCapabilities(whole_digests=True))
        inode.close()
