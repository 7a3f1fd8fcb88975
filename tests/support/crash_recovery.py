"""What must hold when a cache is opened after a crash, whatever the crash left.

1. A served byte is a byte that the server had under the version that the object says it has.
2. What was promised is there: nothing durable is fetched again, no acknowledged write is lost.
3. The cache works: it can be bound, read, filled, changed, and gone over.
"""

from __future__ import annotations

from netcache._core.extent import ExtentSet
from netcache._fscache.ports import CacheObject
from tests.support.crash_world import KEYS, Promise, Promised, World, tag_of
from tests.support.stores import cached, served


class Violation(AssertionError):
    """A crash did what no crash may do."""


def check_all(world: World, *, killed: bool) -> None:
    """Read everything that is cached, and compare it with what was promised."""
    for key in KEYS:
        cache_object = world.store.lookup(key)
        promised = world.promised.get(key, Promised(key))
        wanted = promised.after_kill if killed else promised.after_power_cut
        found = ExtentSet()
        tag = ""
        if cache_object is not None:
            try:
                tag, found = tag_of(cache_object), cached(cache_object)
                check_bytes(world, cache_object)
                world.adopt(cache_object, found)
            finally:
                cache_object.close()
        if not _kept(wanted, tag, found):
            raise Violation(f"{key.name!r}: {tag or 'nothing'} {list(found)}, not {wanted}")


def _kept(wanted: tuple[Promise, ...], tag: str, found: ExtentSet) -> bool:
    if not wanted:
        return True
    return any(
        not promise.extents
        or (promise.tag == tag and all(found.covers(start, end) for start, end in promise.extents))
        for promise in wanted
    )


def check_bytes(world: World, cache_object: CacheObject) -> None:
    """Every byte that the object serves is its version's."""
    tag = tag_of(cache_object)
    if tag not in world.truth.versions:
        raise Violation(f"{cache_object.key.name!r} has a version {tag} that never was")
    key, model = world.truth.versions[tag]
    if key != cache_object.key or cache_object.size != model.size:
        raise Violation(f"{cache_object.key.name!r} has {tag}, which is {key.name!r}'s")
    wrong = model.wrong_parts(served(cache_object))
    if wrong:
        raise Violation(f"{cache_object.key.name!r} {tag}: {'; '.join(wrong)}")


def go_over(world: World) -> None:
    """The listings work, whatever they say of leftovers."""
    list(world.store.verify())
    world.store.status()
    for record in world.store.objects():
        tag = record.version.validator.value.strip('"')
        if tag not in world.truth.versions:
            raise Violation(f"{record.key.name!r} is listed with {tag}, which never was")
