"""Going over the whole cache: its objects, its figures, whether all of it is as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netcache._cachefiles.binding import PRIVATE_PREFIX, Bound
from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.label_file import LabelFile
from netcache._cachefiles.modify import ModifiableObject
from netcache._cachefiles.proof import STEP_BYTES
from netcache._cachefiles.sum_table import table_name
from netcache._cachefiles.walking import Found, Walk
from netcache._core.extent import Extent
from netcache._core.keys import ObjectKey
from netcache._core.label import FORMAT, Label, LabelError, Why
from netcache._core.misses import Cause
from netcache._fscache.overview import ObjectRecord, Problem, RepairedProblem, StoreStatus
from netcache.errors import CacheError, InvariantError

if TYPE_CHECKING:
    from netcache._cachefiles.space import Space


class CheckedObject(ModifiableObject):
    """An object that is open only to be looked over; the level of the store does not count."""

    def is_alone(self) -> bool:
        """Whether nobody else has the object open (for the moment)."""
        return self._file.alone()

    def lacks_sums(self) -> bool:
        """Whether the label names a table that is not there."""
        with self._lock, told_as_cache_errors(self._bound):
            return bool(self._label.table) and self._proof.sums.table(self._label) is None

    def damage(self, *, forget: bool) -> Iterator[Extent]:
        """Compare all that is there; yields what does not fit, and clears its record if told so."""
        for extent in list(self.extents()):
            for low in range(extent.start, extent.end, STEP_BYTES):
                high = min(low + STEP_BYTES, extent.end)
                with self._lock, told_as_cache_errors(self._bound):
                    label = self._label
                    wrong, absent = self._proof.unsound(label, low, high, strict=True)
                    unsound = sorted([*wrong, *absent])
                    if forget:
                        self._found_damaged(unsound, strict=True)
                yield from unsound

    def settle(self) -> None:
        """All was compared just now: what a reboot left in doubt is in doubt no more."""
        with self._lock, told_as_cache_errors(self._bound):
            if self._label.doubtful:
                self._ops.fdatasync(self._file.fd)
                self._proof.sums.sync(self._label)
                self._change(lambda label: label._replace(doubtful=False))


def records(bound: Bound, walk: Walk) -> Iterator[ObjectRecord]:
    """All objects with a usable label."""
    tables = walk.tables()
    for found in walk.objects():
        if found.name.startswith(PRIVATE_PREFIX):
            continue
        try:
            cache_object, label = _open(bound, found.path, found.name)
        except (OSError, LabelError):
            continue
        try:
            yield ObjectRecord(
                cache_object.key,
                label.version,
                label.content,
                sum(extent.length for extent in cache_object.extents()),
                found.allocated + tables.get(table_name(found.inode), 0),
                found.used_ns / 1e9,
                label.checked_ms / 1000,
                not cache_object.is_alone(),
                bound.room.pins.has(f"{found.path}/{found.name}"),
            )
        except CacheError:
            continue
        finally:
            cache_object.close()


def _open(bound: Bound, path: str, name: str) -> tuple[CheckedObject, Label]:
    """Open the object in a file of the store, by its place rather than by its key."""
    folder = bound.ops.open_folder(path, at=bound.root)
    try:
        fd = bound.ops.open_file(name, folder)
    finally:
        bound.ops.close(folder)
    try:
        file = LabelFile(bound.ops, fd, bound.epoch, bound.block_size)
        # First in use, then the label: whoever means to change the file sees us, or we him.
        if not file.use():
            raise LabelError(Why.DIRTY)
        label = file.load(file.read().key)
    except BaseException:
        bound.ops.close(fd)
        raise
    key = ObjectKey(bound.folders.volume_of(path.rsplit("/", 1)[0]), label.key)
    return CheckedObject(bound, key, file, label), label


def figures(bound: Bound, space: Space, *, directory: str, missing: tuple[str, ...]) -> StoreStatus:
    """What the cache holds and may hold; ``missing`` is what its filesystem cannot do."""
    room = bound.ops.statvfs(bound.root)
    files = list(space.walk.files(graveyard=True))
    return StoreStatus(
        directory=directory,
        filesystem=bound.ops.filesystem(bound.root),
        block_size=bound.block_size,
        format=FORMAT,
        allocated_bytes=sum(found.allocated for found in files),
        objects=sum(not found.is_table and not found.name.startswith(".") for found in files),
        limit_bytes=space.limit_bytes,
        culling=space.is_culling(),
        missing=missing,
        free_bytes=room.f_bavail * room.f_frsize,
        free_files=room.f_favail,
    )


def problems(
    bound: Bound, walk: Walk, keys: Sequence[ObjectKey] | None, *, repair: bool
) -> Iterator[Problem]:
    """Everything that is not as it should be, and with ``repair`` no longer is."""
    wanted = None if keys is None else {bound.place(key) for key in keys}
    for found in walk.objects():
        place = f"{found.path}/{found.name}"
        if wanted is not None and place not in wanted:
            continue
        if found.name.startswith(PRIVATE_PREFIX):
            # Left by a process that was killed while it published: ``Walk.reap`` removes it.
            continue
        broken = None
        for why, repaired in _problems_of(bound, walk, found, place, repair=repair):
            if repaired is None:
                broken = why
            else:
                yield _told(place, why, repaired)
        if broken is not None:
            yield _told(place, broken, repair and walk.discard(found, Cause.CHECKSUM) > 0)
    if wanted is None and repair:
        # The same of tables of sums: they say nothing to anybody.
        for table in walk.orphans():
            walk.discard(table)


def _told(what: str, why: str, repaired: bool) -> Problem:
    return RepairedProblem(what, why) if repaired else Problem(what, why)


def _problems_of(
    bound: Bound, walk: Walk, found: Found, place: str, *, repair: bool
) -> Iterator[tuple[str, bool | None]]:
    """What is wrong with one object and whether it was repaired; None: the object has to go."""
    try:
        cache_object, _ = _open(bound, found.path, found.name)
    except FileNotFoundError:
        return
    except LabelError as error:
        if error.why is not Why.DIRTY or not walk.in_use(found):
            yield f"its label is not valid ({error})", None
        return
    except (OSError, IndexError) as error:
        yield f"it cannot be opened ({error})", None
        return
    try:
        cache_object.check_invariants()
        if bound.place(cache_object.key) != place:
            yield "it has another object's name", None
        elif cache_object.lacks_sums():
            yield "its table of sums is missing, or another's", None
        else:
            for extent in cache_object.damage(forget=repair):
                yield f"damaged at {extent}", repair
            if repair:
                cache_object.settle()
    except InvariantError as error:
        yield str(error), None
    finally:
        cache_object.close()
