"""Bytes of one version that count as another's: the label goes over, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from netcache._core.coherency import NO_VALIDATOR, Validator, ValidatorKind, Version
from netcache._fscache.ports import CacheObject
from netcache.errors import CacheError
from tests.support.fixtures import Opener
from tests.support.stores import (
    CHECKED_S,
    KEY,
    check,
    create,
    fill_blocks,
    found,
    object_file,
    put,
    text,
    version,
    write,
)

LATER_S = CHECKED_S + 60
SIZES = [5, 3 * 4096 + 1, 2 << 20]


def carried(cache_object: CacheObject, was: str, tag: str, *, checked_s: float = LATER_S) -> bool:
    """Carry the object over from one tag to another."""
    size = cache_object.size
    return cache_object.carry_over(version(size, was), version(size, tag), checked_s=checked_s)


@pytest.mark.parametrize("size", SIZES)
def test_all_who_have_it_open_and_all_who_come_read_the_same_bytes(
    opener: Opener, tmp_path: Path, size: int
) -> None:
    """In the same file; the label is the new version's, and of the moment of the check."""
    model = text(size)
    one, two = put(opener(), model.part(0, size)), found(opener())
    inode = object_file(tmp_path).stat().st_ino
    assert carried(one, "a", "b")
    for view in (one, two, found(opener())):
        check(view, model)
    later = found(opener())
    assert (later.version, later.checked_s) == (version(size, "b"), LATER_S)
    assert object_file(tmp_path).stat().st_ino == inode
    assert carried(two, "a", "c") is False, "somebody else was first, with another version"
    assert carried(two, "b", "c")
    assert found(opener()).version == version(size, "c")


def test_who_carries_over_what_another_process_has_carried_over_succeeds(opener: Opener) -> None:
    """Both have seen the same two versions; the later check counts."""
    model = text(9000)
    one, two = put(opener(), model.part(0, 9000)), found(opener())
    assert carried(one, "a", "b")
    assert carried(two, "a", "b", checked_s=LATER_S + 1)
    assert found(opener()).checked_s == LATER_S + 1


def test_what_is_of_a_third_version_stays_as_it_is(opener: Opener) -> None:
    """The name has gone to another object meanwhile, or the object to another version."""
    store = opener()
    model = text(9000)
    old = put(store, model.part(0, 9000))
    new = put(opener(), text(9000, 1).part(0, 9000), tag="z")
    assert not carried(new, "a", "b")
    assert carried(old, "a", "b"), "without a name, it is its readers' still"
    assert found(opener()).version == version(9000, "z")
    check(found(opener()), text(9000, 1))


def test_an_object_without_data_or_under_modification_is_not_carried_over(opener: Opener) -> None:
    """There are no bytes that anybody could have compared; or they are about to change."""
    store, model = opener(), text(3 * 4096)
    assert not carried(create(store, model.size), "a", "b")
    cache_object = put(store, model.part(0, model.size))
    cache_object.begin_modify()
    assert not carried(cache_object, "a", "b")
    write(cache_object, model, 10, b"changed")
    cache_object.commit(version(model.size, "c"))
    check(found(opener()), model)
    assert found(opener()).version == version(model.size, "c")


def test_another_size_is_a_mistake(opener: Opener) -> None:
    """No digest can have been the same."""
    cache_object = put(opener(), bytes(100))
    with pytest.raises(CacheError):
        cache_object.carry_over(version(100), version(101, "b"), checked_s=LATER_S)
    assert found(opener()).version == version(100)


def test_a_validator_that_does_not_fit_into_the_label_leaves_the_old_one(opener: Opener) -> None:
    """An error, which costs a fetch; the bytes are still those of the first version."""
    cache_object = put(opener(), bytes(range(200)))
    with pytest.raises(CacheError):
        carried(cache_object, "a", "b" * 4000)
    assert found(opener()).version == version(200)


def test_who_fills_on_under_the_first_version_brings_bytes_of_both(opener: Opener) -> None:
    """A block that is stored after the change is recorded in the label of the new version."""
    one, two = opener(), opener()
    block = one.block_size
    model = text(4 * block)
    filling = create(one, model.size)
    fill_blocks(filling, model, 0, 2)
    assert carried(found(two), "a", "b")
    fill_blocks(filling, model, 2, 4)
    later = found(opener())
    assert later.version == version(model.size, "b")
    assert list(later.extents()) == [(0, model.size)]
    check(later, model)


@pytest.mark.parametrize(
    "was", [NO_VALIDATOR, Validator(ValidatorKind.WEAK_ETAG, 'W/"1"')], ids=["none", "weak"]
)
def test_a_weak_validator_or_none_gives_way_to_a_strong_one(opener: Opener, was: Validator) -> None:
    """The bytes are proven, whatever they were known by."""
    store = opener()
    new = store.begin(KEY)
    new.write(bytes(5000))
    cache_object = new.publish(Version(was, 5000), checked_s=CHECKED_S)
    assert cache_object.carry_over(Version(was, 5000), version(5000, "b"), checked_s=LATER_S)
    assert found(opener()).version == version(5000, "b")
