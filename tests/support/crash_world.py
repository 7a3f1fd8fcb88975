"""A server's truth, a cache on a modelled filesystem, and what the cache has promised so far.

Scenarios work on the store through a ``World``, which notes in the filesystem's log what must be
there after a crash from now on: after a kill all that was recorded, after a power cut all that was
made durable.  Both say only what ``docs/crash-safety.md`` promises: what a map of extents keeps
over a reboot is the policy's business, and is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from netcache._cachefiles.store import bind
from netcache._core.content import Content, WriteKind
from netcache._core.extent import Extent, ExtentSet, round_up
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject
from tests.support.bytemodel import ByteModel, pattern
from tests.support.crash_fileops import CrashFileOps
from tests.support.stores import CHECKED_S, VOLUME, Sync, version

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

DIRECTORY = "/crash"
KEYS = [ObjectKey(VOLUME, b"one"), ObjectKey(VOLUME, b"folder/two"), ObjectKey("v,http,x", b"3")]
_STEP = 8191


class Promise(NamedTuple):
    """These extents of this version are cached."""

    tag: str
    extents: tuple[tuple[int, int], ...]


class Promised(NamedTuple):
    """What is promised for a key: one of the alternatives holds; none: nothing is."""

    key: ObjectKey
    after_kill: tuple[Promise, ...] = ()
    after_power_cut: tuple[Promise, ...] = ()


class Truth:
    """All versions that the server ever had."""

    def __init__(self) -> None:
        self.versions: dict[str, tuple[ObjectKey, ByteModel]] = {}

    def copy(self) -> Truth:
        """The same truth, to go on from differently."""
        truth = Truth()
        truth.versions = dict(self.versions)
        return truth

    def new(self, key: ObjectKey, size: int) -> str:
        """A version that the server has from now on; returns its tag."""
        number = len(self.versions)
        return self.say(key, ByteModel(pattern(number * _STEP, number * _STEP + size)))

    def say(self, key: ObjectKey, model: ByteModel) -> str:
        """A version with these bytes."""
        tag = f"v{len(self.versions)}"
        self.versions[tag] = (key, ByteModel(bytes(model.data)))
        return tag

    def model(self, tag: str) -> ByteModel:
        """The bytes of a version."""
        return self.versions[tag][1]


def tag_of(cache_object: CacheObject) -> str:
    """The tag of the version that an object says it has."""
    return cache_object.version.validator.value.strip('"')


class World:
    """A bound cache on a modelled filesystem, a server, and what was promised.

    ``options`` are those of ``bind``.
    """

    def __init__(
        self,
        ops: CrashFileOps,
        truth: Truth,
        *,
        sync: Sync,
        block: int,
        promised: dict[ObjectKey, Promised] | None = None,
        wrap: Callable[[FileOps], FileOps] | None = None,
        **options: Any,
    ) -> None:
        self.ops, self.truth, self.sync, self.block = ops, truth, sync, block
        self.options = options
        self.promised = dict(promised or {})
        fileops = wrap(ops.fileops) if wrap is not None else ops.fileops
        self.store = bind(
            DIRECTORY,
            fileops=fileops,
            block_size=block,
            sync=sync,
            clock=lambda: 1.8e9,
            **options,
        )
        # Without its thread: what is committed when is up to the scenario (``commit_pending``).
        self.store._committer.close()
        self._recorded: dict[ObjectKey, tuple[str, ExtentSet]] = {}

    # Promises.

    def promise(self, promised: Promised) -> None:
        """From now on this is what is promised for its key."""
        self.promised[promised.key] = promised
        self.ops.note(promised)

    def nothing(self, key: ObjectKey) -> None:
        """The key's object is about to go, or to change: nothing is promised any more."""
        self._recorded.pop(key, None)
        self.promise(Promised(key))

    def not_durable(self, key: ObjectKey) -> None:
        """A power cut may cost all of it from now on."""
        self.promise(self._now(key)._replace(after_power_cut=()))

    def _now(self, key: ObjectKey) -> Promised:
        return self.promised.get(key, Promised(key))

    def recorded(self, cache_object: CacheObject, start: int, end: int) -> None:
        """These bytes are in the cache now."""
        key, tag = cache_object.key, tag_of(cache_object)
        known = self._recorded.get(key)
        if known is None or known[0] != tag:
            known = (tag, ExtentSet())
            self._recorded[key] = known
        known[1].add(start, min(end, cache_object.size))
        promise = Promise(tag, tuple((run.start, run.end) for run in known[1]))
        now = self._now(key)._replace(after_kill=(promise,))
        if self.sync == "commit" and cache_object.content is Content.ALL:
            now = now._replace(after_power_cut=(self._from_start(cache_object),))
        self.promise(now)

    def adopt(self, cache_object: CacheObject, cached: ExtentSet) -> None:
        """This was found in the cache after a crash: another kill will not cost it."""
        tag = tag_of(cache_object)
        self._recorded[cache_object.key] = (tag, cached)
        promise = Promise(tag, tuple((run.start, run.end) for run in cached))
        self.promise(self._now(cache_object.key)._replace(after_kill=(promise,)))

    @staticmethod
    def _from_start(cache_object: CacheObject) -> Promise:
        end = min(cache_object.stored_end, cache_object.size)
        return Promise(tag_of(cache_object), ((0, end),) if end else ())

    # What programs do.

    def create(self, key: ObjectKey, tag: str) -> CacheObject:
        """An object of this version, new unless there is one."""
        self.nothing(key)
        size = self.truth.model(tag).size
        return self.store.create(key, version(size, tag), checked_s=CHECKED_S)

    def fill(self, cache_object: CacheObject, first: int, last: int) -> None:
        """Store blocks from the server and record them."""
        self.store_blocks(cache_object, first, last)
        self.collect(cache_object, first, last)

    def store_blocks(self, cache_object: CacheObject, first: int, last: int) -> None:
        """Store blocks from the server without recording them."""
        if cache_object.content is not Content.ALL or first * self.block > cache_object.stored_end:
            # A map: what was durable of it counts no more, by the policy.
            self.not_durable(cache_object.key)
        model = self.truth.model(tag_of(cache_object))
        data = model.part(first * self.block, last * self.block)
        cache_object.write_blocks(first * self.block, data)

    def collect(self, cache_object: CacheObject, first: int, last: int) -> None:
        """Record stored blocks."""
        start = first * self.block
        end = min(last * self.block, round_up(cache_object.size, self.block))
        cache_object.collect_write(WriteKind.DATA, start, end)
        self.recorded(cache_object, start, end)

    def put(self, key: ObjectKey, tag: str, pieces: int = 1) -> CacheObject:
        """An object written front to back; until it has its name the old one is there."""
        model = self.truth.model(tag)
        new = self.store.begin(key)
        step = -(-model.size // pieces) or 1
        for start in range(0, model.size, step):
            new.write(model.part(start, start + step))
        self._replacing(key, tag)
        made = new.publish(version(model.size, tag), checked_s=CHECKED_S)
        self._recorded.pop(key, None)
        self.promise(Promised(key))
        self.recorded(made, 0, model.size)
        return made

    def _replacing(self, key: ObjectKey, tag: str) -> None:
        """One of the two is there at any moment; by "lazy" the new one may come without data."""
        size = self.truth.model(tag).size
        new = Promise(tag, ((0, size),) if size else ())
        now = self._now(key)
        self.promise(
            Promised(
                key,
                (*now.after_kill, new) if now.after_kill else (),
                (*now.after_power_cut, new)
                if now.after_power_cut and self.sync == "commit"
                else (),
            )
        )

    def modify(self, cache_object: CacheObject) -> None:
        """Begin to change an object locally."""
        self.nothing(cache_object.key)
        cache_object.begin_modify()

    def write(self, cache_object: CacheObject, model: ByteModel, start: int, data: bytes) -> None:
        """A local write, to the object and to the model of what it will be."""

        def fill(extent: Extent) -> bytes:
            return model.padded(extent.start, extent.end)

        cache_object.write(start, data, fill)
        model.write(start, data)

    def truncate(self, cache_object: CacheObject, model: ByteModel, size: int) -> None:
        """A local change of size."""
        cache_object.truncate(size)
        model.truncate(size)

    def commit(self, cache_object: CacheObject, model: ByteModel) -> None:
        """The server has acknowledged the new version, and the object becomes it."""
        tag = self.truth.say(cache_object.key, model)
        cache_object.commit(version(model.size, tag))
        cached = [(run.start, run.end) for run in cache_object.extents()]
        self._recorded[cache_object.key] = (tag, ExtentSet(cached))
        kept = (Promise(tag, tuple(cached)),)
        whole = cache_object.content in (Content.ALL, Content.NO_DATA)
        self.promise(Promised(cache_object.key, kept, kept if whole else ()))

    def invalidate(self, cache_object: CacheObject, tag: str) -> None:
        """The server has another version."""
        self.nothing(cache_object.key)
        cache_object.invalidate(version(self.truth.model(tag).size, tag))

    def carry_over(self, cache_object: CacheObject) -> None:
        """The server has another version with the same bytes: at any moment it is one of them."""
        key, was = cache_object.key, cache_object.version
        old = tag_of(cache_object)
        tag = self.truth.say(key, self.truth.model(old))

        def either(promises: tuple[Promise, ...]) -> tuple[Promise, ...]:
            return (*promises, *(one._replace(tag=tag) for one in promises if one.tag == old))

        now = self._now(key)
        after_power_cut = either(now.after_power_cut)
        self.promise(Promised(key, either(now.after_kill), after_power_cut))
        assert cache_object.carry_over(was, version(was.size, tag), checked_s=CHECKED_S + 9)
        known = self._recorded.get(key)
        if known is not None:
            self._recorded[key] = (tag, known[1])
        after_kill = tuple(one._replace(tag=tag) for one in now.after_kill)
        self.promise(Promised(key, after_kill, after_power_cut))

    def drop(self, key: ObjectKey) -> None:
        """Forget an object."""
        self.nothing(key)
        self.store.drop(key)

    def cull(self, target: int) -> None:
        """Make room."""
        for key in KEYS:
            self.nothing(key)
        self.store.cull(target)

    def clear(self) -> None:
        """Forget all."""
        for key in KEYS:
            self.nothing(key)
        self.store.clear()

    def commit_pending(self) -> None:
        """What the committer does in the background."""
        self.store.commit_pending()

    def settle(self, *objects: CacheObject) -> None:
        """The committer runs, and time passes: all reaches the disk, labels and names included.

        What is present from 0 on in these objects is durable then.
        """
        self.commit_pending()
        self.ops.settle()
        for cache_object in objects:
            if cache_object.content is Content.ALL:
                now = self._now(cache_object.key)
                promise = self._from_start(cache_object)
                self.promise(now._replace(after_power_cut=(promise,)))

    def close(self) -> None:
        """Withdraw."""
        self.store.close()
