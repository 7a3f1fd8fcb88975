"""Tables of sums, the files beside those of objects: when they go, and when they stay."""

from __future__ import annotations

from pathlib import Path

from netcache._cachefiles.store import bind
from tests.support.damage import lost_blocks, tables
from tests.support.damage_targets import COUNT, whole
from tests.support.stores import KEY, OTHER_KEY, fill_blocks, found, text


def test_tables_go_with_their_objects(tmp_path: Path) -> None:
    """Dropped, replaced, invalidated, culled, cleared: no table is left behind."""
    store = bind(tmp_path, sums_in_label=0)
    whole(store)
    assert len(tables(tmp_path)) == 1
    whole(store, seed=1)
    assert len(tables(tmp_path)) == 1, "replaced"
    cache_object = found(store)
    cache_object.invalidate(cache_object.version)
    assert tables(tmp_path) == [], "invalidated"
    fill_blocks(cache_object, text(cache_object.size), 0, 3)
    assert len(tables(tmp_path)) == 1
    cache_object.close()
    store.drop(KEY)
    assert tables(tmp_path) == [], "dropped"
    whole(store)
    store.cull(0)
    assert tables(tmp_path) == [], "culled"
    whole(store)
    store.clear()
    assert tables(tmp_path) == [], "cleared"
    store.close()


def test_a_table_outlives_its_name_for_those_who_have_it(tmp_path: Path) -> None:
    """A reader of a replaced object goes on with what is cached of it."""
    store, other = bind(tmp_path, sums_in_label=0), bind(tmp_path, sums_in_label=0)
    old = whole(store, seed=1)
    reader = found(other)
    whole(store, seed=2)
    assert lost_blocks(reader, old) == []
    store.close()
    other.close()


def test_orphaned_tables_are_reaped_and_used_ones_are_not(tmp_path: Path) -> None:
    """What a killed process left behind is no damage, and goes with the next culling or repair."""
    store = bind(tmp_path, sums_in_label=0)
    model = whole(store)
    unpublished = store.begin(OTHER_KEY)
    unpublished.write(bytes(9000) * store.block_size)
    (path,) = (path for path in tables(tmp_path) if path.stat().st_size > 64 * COUNT)
    orphan = path.with_name("ffff")
    for tidy_up in (lambda: [*store.verify(repair=True)], lambda: [store.cull(None)]):
        orphan.write_bytes(b"x")
        assert list(store.verify()) == []
        assert orphan.exists()
        tidy_up()
        assert len(tables(tmp_path)) == 2
        assert not orphan.exists()
        assert path.exists(), "of an object that is being written"
    unpublished.discard()
    assert len(tables(tmp_path)) == 1
    assert lost_blocks(found(store), model) == []
    store.close()
