"""Going over the whole cache: its objects, and whether all of it is as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netcache._cachefiles.binding import PRIVATE_PREFIX, Bound
from netcache._cachefiles.label_file import USE_BYTE, LabelFile
from netcache._cachefiles.modify import ModifiableObject
from netcache._cachefiles.space import Space
from netcache._core.label import Label, LabelError
from netcache._fscache.ports import ObjectKey, ObjectRecord
from netcache.errors import CacheError, InvariantError


def records(bound: Bound, space: Space) -> Iterator[ObjectRecord]:
    """All objects with a usable label."""
    for found in space.files():
        if found.name.startswith(PRIVATE_PREFIX):
            continue
        try:
            cache_object, label, status = _open(bound, found.path, found.name)
        except (OSError, LabelError):
            continue
        try:
            in_use = not bound.ops.lock_range(status, USE_BYTE, 1)
            cache_object.reuse()
            yield ObjectRecord(
                cache_object.key,
                label.version,
                label.content,
                sum(extent.length for extent in cache_object.extents()),
                found.allocated,
                found.used_ns / 1e9,
                label.checked_ms / 1000,
                in_use,
            )
        except CacheError:
            continue
        finally:
            cache_object.close()


def _open(bound: Bound, path: str, name: str) -> tuple[ModifiableObject, Label, int]:
    """Open the object in a file of the store, by its place rather than by its key."""
    folder = bound.ops.open_folder(path, at=bound.root)
    try:
        fd = bound.ops.open_file(name, folder)
    finally:
        bound.ops.close(folder)
    try:
        file = LabelFile(bound.ops, fd, bound.epoch, bound.block_size)
        label = file.load(file.read().key)
    except BaseException:
        bound.ops.close(fd)
        raise
    key = ObjectKey(bound.volume_of(path.rsplit("/", 1)[0]), label.key)
    return ModifiableObject(bound, key, file, label), label, fd


def problems(
    bound: Bound, space: Space, keys: Sequence[ObjectKey] | None
) -> Iterator[tuple[str, str]]:
    """``(what, why)`` for everything that is not as it should be."""
    wanted = None if keys is None else {bound.place(key) for key in keys}
    for found in space.files():
        place = f"{found.path}/{found.name}"
        if wanted is not None and place not in wanted:
            continue
        if found.name.startswith(PRIVATE_PREFIX):
            # Left by a process that was killed while it published: reaped with the next culling.
            continue
        try:
            cache_object, _, _ = _open(bound, found.path, found.name)
        except LabelError as error:
            yield place, f"its label is not valid ({error})"
            continue
        except (OSError, IndexError) as error:
            yield place, f"it cannot be opened ({error})"
            continue
        try:
            cache_object.check_invariants()
            if bound.place(cache_object.key) != place:
                yield place, "it has another object's name"
        except InvariantError as error:
            yield place, str(error)
        finally:
            cache_object.close()
