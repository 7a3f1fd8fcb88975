"""The store: a cache directory, bound, probed and ready.

``bind`` makes the directory if need be, tries out what its filesystem can do, and refuses what
cannot be used with one clear ``CacheError``.  See ``docs/on-disk-format.md`` for what is where.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from netcache._cachefiles.binding import Bound
from netcache._cachefiles.committer import Committer
from netcache._cachefiles.failures import as_a_miss, out_of_use, told_as_cache_errors
from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.label_file import LabelFile
from netcache._cachefiles.layout import prepare
from netcache._cachefiles.modify import ModifiableObject
from netcache._cachefiles.probe import LOCKS, probe
from netcache._core.checksums import INLINE_BLOCKS_MAX
from netcache._core.keys import ObjectKey
from netcache._core.label import Epoch, LabelError
from netcache._core.misses import Cause
from netcache._core.verifying import VERIFY_DEFAULT, VERIFY_LEVELS, Verify
from netcache.errors import CacheError, UsageError

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps
    from netcache._cachefiles.mapping_worker import Worker
    from netcache._cachefiles.space import Space
    from netcache._cachefiles.writing import Writer
    from netcache._core.coherency import Version
    from netcache._core.watermarks import Watermarks
    from netcache._fscache.overview import ObjectRecord, Problem, StoreStatus
    from netcache._fscache.ports import CacheObject, NewObject, OnDamage, OnTrouble
    from netcache._fscache.sharing import MappingWorker
    from netcache._fscache.whole import WholeObject

SYNC_POLICIES = ("lazy", "commit")


def bind(
    directory: str | os.PathLike[str],
    *,
    fileops: FileOps | None = None,
    block_size: int | None = None,
    sync: str = "lazy",
    limit_bytes: int | None = None,
    clock: Callable[[], float] = time.time,
    watermarks: Watermarks | None = None,
    verify: str = VERIFY_DEFAULT,
    on_damage: OnDamage = lambda key, extent: None,
    on_trouble: OnTrouble = lambda error: None,
    sums_in_label: int = INLINE_BLOCKS_MAX,
) -> CachefilesStore:
    """Bind ``directory`` as a cache.

    ``block_size`` in bytes, a power of two from 512 to 65536 and no less than the filesystem's
    own (None: that); ``sync`` as in the module ``committer``; ``limit_bytes`` the most that it may
    hold; ``verify`` when blocks are compared with their sums (``_core.verifying``); ``on_damage``
    is told of those that do not fit, ``on_trouble`` of what failed, on any thread;
    ``sums_in_label`` the most blocks of an object that has its sums in its label (0: every object
    has a table).  Raises ``CacheError`` when it cannot be a cache, ``UsageError`` for a bad option.
    """
    if sync not in SYNC_POLICIES:
        raise UsageError(f"sync={sync!r}: one of {', '.join(SYNC_POLICIES)} is needed")
    if verify not in VERIFY_LEVELS:
        raise UsageError(f"verify={verify!r}: one of {', '.join(VERIFY_LEVELS)} is needed")
    if watermarks is not None:
        watermarks.check()
    ops = fileops or PosixFileOps()
    path = os.path.abspath(os.fspath(directory))
    try:
        root = prepare(ops, path)
        try:
            epoch = Epoch(ops.boot_id().ljust(16, b"\0")[:16], ops.identify(root).mount)
            probed = probe(ops, root, epoch, block_size)
            if LOCKS in probed.missing:
                from netcache._cachefiles.lockless import without_locks

                ops = without_locks(ops)
            bound = Bound(
                ops,
                root,
                epoch=epoch,
                block_size=probed.block_size,
                # Without a name for the epoch nothing that is not synced may be promised.
                sync_each=sync == "commit" or not epoch.mount or not any(epoch.boot),
                clock=clock,
                verify=Verify(verify),
                on_damage=on_damage,
                on_trouble=on_trouble,
                sums_in_label=sums_in_label,
            )
        except BaseException:
            ops.close(root)
            raise
    except OSError as error:
        if isinstance(error, CacheError | UsageError):
            raise
        raise CacheError(f"{path} cannot be used as a cache: {error.strerror or error}") from error
    return CachefilesStore(bound, path, probed.missing, limit_bytes, watermarks)


class CachefilesStore:
    """A bound cache directory; see ``netcache._fscache.ports.CacheStore`` for the contract."""

    def __init__(
        self,
        bound: Bound,
        directory: str,
        missing: tuple[str, ...],
        limit_bytes: int | None,
        watermarks: Watermarks | None,
    ) -> None:
        self.block_size = bound.block_size
        self.memory = bound.memory
        self._bound = bound
        self._directory = directory
        self._missing = missing
        self._limit_bytes = limit_bytes
        self._watermarks = watermarks
        self._made_space: Space | None = None
        self._making = threading.Lock()
        self._committer = Committer()
        self._worker: Worker | None = None
        self._starting = threading.Lock()
        self._closed = False
        bound.committer = self._committer
        purse = bound.room.purse
        purse.refill = lambda need: self._space.refill(need)
        if limit_bytes is not None:
            purse.limit(limit_bytes)

    @property
    def _space(self) -> Space:
        """The room.  (Made when needed: a cached read does not pay for it.)"""
        with self._making:
            if self._made_space is None:
                from netcache._cachefiles.space import Space

                self._made_space = Space(self._bound, self._limit_bytes, self._watermarks)
            return self._made_space

    @property
    def dead(self) -> CacheError | None:
        """Why it is out of use, if it is."""
        return self._bound.death

    @property
    def removed(self) -> bool:
        """Whether its directory is not there any more."""
        return self._bound.is_removed()

    @property
    def idle(self) -> bool:
        """Whether nobody has anything of it open."""
        bound = self._bound
        is_joined = self._worker is not None and self._worker.is_joined
        return not bound.objects and not bound.nameless and not is_joined

    # Objects.

    def lookup(self, key: ObjectKey) -> CacheObject | None:
        """Open the object of ``key`` if there is a usable one, whatever its version."""
        bound = self._bound
        if bound.dead:
            raise out_of_use()
        try:
            file, label = bound.open_object(key)
        except (OSError, LabelError) as error:
            with told_as_cache_errors(bound):
                as_a_miss(error)
            return None
        try:
            return ModifiableObject(bound, key, file, label)
        except (OSError, LabelError):
            with told_as_cache_errors(bound):
                raise

    def open_whole(self, key: ObjectKey) -> WholeObject | None:
        """Open the object of ``key`` to read it whole, once; see ``CacheStore``."""
        with told_as_cache_errors(self._bound):
            from netcache._cachefiles.whole_reading import open_whole

            return open_whole(self._bound, key)

    def create(self, key: ObjectKey, version: Version, *, checked_s: float) -> CacheObject:
        """A new empty object for ``version``, unless somebody has just made one of it."""
        with told_as_cache_errors(self._bound):
            writer = self._bound.room.writer()
            try:
                # Room first: culling may need the names.
                with writer.writing(0):
                    return self._create(key, version, checked_s, writer)
            finally:
                if writer.place is None:
                    writer.close()

    def _create(
        self, key: ObjectKey, version: Version, checked_s: float, writer: Writer
    ) -> CacheObject:
        folder = self._bound.folders.open(key, make=True)
        with self._bound.folders.naming(folder):
            if (found := self.lookup(key)) is not None:
                if found.version.same_as(version):
                    return found
                found.close()
            return self._make(key, version, checked_s, writer)

    def _make(
        self, key: ObjectKey, version: Version, checked_s: float, writer: Writer
    ) -> CacheObject:
        bound = self._bound
        fd, private = bound.new_file(key)
        try:
            label = bound.empty_label(key, version, checked_s)
            label = bound.publish(key, fd, private, label, superseding=True)
        except BaseException:
            bound.ops.close(fd)
            raise
        file = LabelFile(bound.ops, fd, bound.epoch, bound.block_size)
        writer.place = bound.place(key)
        return ModifiableObject(bound, key, file, label, writer=writer)

    def begin(self, key: ObjectKey) -> NewObject:
        """A new private object to be written front to back."""
        with told_as_cache_errors(self._bound):
            from netcache._cachefiles.new_object import CachefilesNewObject

        return CachefilesNewObject(self._bound, key)

    def keep(self, key: ObjectKey, version: Version, data: bytes, *, checked_s: float) -> None:
        """Make ``data`` the object of ``version``; see ``CacheStore``."""
        with told_as_cache_errors(self._bound):
            from netcache._cachefiles.whole_object import keep_whole
        keep_whole(self._bound, key, version, data, checked_s=checked_s)

    def claim_question(self, key: ObjectKey) -> Callable[[], None] | None:
        """Claim to ask the server first; see ``CacheStore``."""
        try:
            questions = self._bound.questions
        except OSError:
            # Nothing to import it with: as where its file cannot be had.
            return lambda: None
        return questions.claim(self._bound.place(key))

    def worker(self) -> MappingWorker:
        """This process's place among those that share maps of objects."""
        with self._starting:
            if self._worker is None:
                from netcache._cachefiles.mapping_worker import Worker

                self._worker = Worker(self._bound)
                if self._closed:
                    self._worker.close()
            return self._worker

    # Room.

    def has_room(self, length: int) -> bool:
        """Whether ``reserve`` would do nothing for so much."""
        with told_as_cache_errors(self._bound):
            return self._space.has_room(length)

    def must_cull(self, length: int) -> bool:
        """Whether ``reserve`` would cull for so much."""
        with told_as_cache_errors(self._bound):
            return self._space.must_cull(length)

    def reserve(self, length: int) -> None:
        """Make sure that ``length`` more bytes may be stored."""
        with told_as_cache_errors(self._bound):
            self._space.reserve(length)

    def cull(self, target_bytes: int | None = None) -> tuple[int, int]:
        """Discard least recently used objects that are not in use."""
        with told_as_cache_errors(self._bound):
            return self._space.cull(target_bytes)

    def pin(self, key: ObjectKey) -> None:
        """Keep what has, or will have, this name from culling; durable."""
        with told_as_cache_errors(self._bound):
            self._bound.room.pin(self._bound.place(key))

    def unpin(self, key: ObjectKey) -> bool:
        """Let it be culled in its turn; False when it was not pinned."""
        with told_as_cache_errors(self._bound):
            return self._bound.room.unpin(self._bound.place(key))

    def drop(self, key: ObjectKey, cause: Cause = Cause.DROPPED) -> int:
        """Forget the object; returns the allocated bytes given free."""
        from netcache._cachefiles.dropping import drop

        with told_as_cache_errors(self._bound):
            return drop(self._bound, key, cause)

    def clear(self) -> int:
        """Forget all objects; returns the allocated bytes given free."""
        from netcache._cachefiles.dropping import drop_all

        with told_as_cache_errors(self._bound):
            return drop_all(self._bound, self._space.walk)

    # The whole.

    def objects(self) -> Iterator[ObjectRecord]:
        """All objects with a readable label, in no order."""
        from netcache._cachefiles.check import records

        with told_as_cache_errors(self._bound):
            yield from records(self._bound, self._space.walk)

    def verify(
        self, keys: Sequence[ObjectKey] | None = None, *, repair: bool = False
    ) -> Iterator[Problem]:
        """Check labels, structure and all sums; forget what is not right, with ``repair``."""
        from netcache._cachefiles.check import problems

        with told_as_cache_errors(self._bound):
            yield from problems(self._bound, self._space.walk, keys, repair=repair)

    def status(self) -> StoreStatus:
        """Figures for ``cache status``; walks the cache."""
        from netcache._cachefiles.check import figures

        with told_as_cache_errors(self._bound):
            return figures(
                self._bound, self._space, directory=self._directory, missing=self._missing
            )

    def commit_pending(self) -> None:
        """Make durable now what the policy "lazy" would make durable later.  Blocks."""
        self._committer.commit_pending()

    def close(self) -> None:
        """Withdraw.  What was filled a moment ago is not waited for.  Idempotent."""
        if not self._closed:
            with self._starting:
                self._closed = True
                if self._worker is not None:
                    self._worker.close()
            self._committer.close()
            if self._made_space is not None:
                self._made_space.close()
            self._bound.close()
