"""A program that takes a lock of a cache, says so, and waits: ``python -m tests.stress.holder``."""

from __future__ import annotations

import sys

from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.journal_record import JournalRecord
from netcache._core.sizes import Sizes
from netcache._netfs.journal import Journal
from tests.support.stores import KEY, found

LOCKS = ("label", "use", "fill", "names", "table", "edit")


def hold(store: CachefilesStore, directory: str, lock: str) -> object:
    """Take it; what is returned must live as long as it is to be held."""
    if lock == "edit":
        entry = Journal(directory).begin()
        entry.save(lambda: JournalRecord("http://h/x", None, Sizes(0, 0, 0), ()))
        return entry
    bound, cache_object = store._bound, found(store)
    if lock == "label":
        cache_object._file.lock()  # type: ignore[attr-defined]
    elif lock == "use":
        assert cache_object._file.claim()  # type: ignore[attr-defined]
    elif lock == "fill":
        assert cache_object.try_lock_extent(0, cache_object.size)
    elif lock == "names":
        assert bound.ops.lock_folder(bound.folders.open(KEY, make=False))
    else:
        changing = bound.mappings.changing(bound.place(KEY))
        changing.__enter__()
        return changing
    return cache_object


def main() -> None:
    """Hold until killed."""
    directory, lock = sys.argv[1:]
    held = hold(bind(directory), directory, lock)
    print("held", flush=True)
    sys.stdin.read()
    del held


if __name__ == "__main__":
    main()
