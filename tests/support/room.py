"""What a store has on record of its room, and objects of which a limit holds just so many."""

from __future__ import annotations

from pathlib import Path

from netcache._core.keys import ObjectKey
from netcache._core.usage_record import HEAD_BYTES, Head
from netcache._fscache.ports import CacheStore
from tests.support.stores import VOLUME

SIZE = 256 << 10
LIMIT = 8 * SIZE


def key(number: int) -> ObjectKey:
    """The key of the ``number``-th object."""
    return ObjectKey(VOLUME, b"number %d" % number)


def head_of(directory: Path) -> Head:
    """What the record says of the whole."""
    head = Head.unpack((directory / "usage").read_bytes()[:HEAD_BYTES])
    assert head is not None
    return head


def settle(store: CacheStore) -> None:
    """Put all that the store knows on record."""
    assert store._bound.room.flush()  # type: ignore[attr-defined]


def granted(store: CacheStore) -> int:
    """How much the process of this store may still write, by its own book."""
    purse = store._bound.room.purse  # type: ignore[attr-defined]
    with purse.lock:
        amount: int = purse.held()
    return amount
