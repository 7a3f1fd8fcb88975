"""The ports of a cache store: what the engine may ask of the cache on disk.

Everything here is synchronous, thread-safe, and does short local I/O only; nothing waits for the
network.  Positions and lengths are bytes.  ``B`` is ``block_size``.

Words: an *object* is one backing file that holds (part of) one version of one resource.  ``I`` is
the size of the backing file, ``L`` its *stored end* (read limit): how far data is recorded; ``S``
is the size of the resource as the label says it.

Errors: every method may raise ``CacheError`` (the store is unusable, the disk failed) and
``NoSpaceError`` (full, or at its limit).  The callers treat both as "not cached" and go on from
the server.  Neither ever means that wrong bytes were returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from netcache._core.extent import Extent
from netcache._core.keys import ObjectKey
from netcache._core.misses import Cause
from netcache.errors import CacheError

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

    from netcache._core.coherency import Version
    from netcache._core.content import CachedExtent, Content, WriteKind
    from netcache._fscache.explaining import Memory
    from netcache._fscache.overview import ObjectRecord, Problem, StoreStatus
    from netcache._fscache.sharing import MappingWorker
    from netcache._fscache.whole import WholeObject


FillGap = Callable[[Extent], bytes]
"""Gives the real bytes of an extent that a rounded write needs and the object lacks (INV-h)."""


OnDamage = Callable[[ObjectKey, Extent], None]
"""Is told that an extent of an object was found damaged, and is not cached any more."""


OnTrouble = Callable[[CacheError], None]
"""Is told that an operation failed, or that the store is out of use; on any thread."""


class CacheObject(Protocol):
    """An open object.  One version; the descriptor stays good when the name is replaced."""

    key: ObjectKey
    block_size: int

    @property
    def version(self) -> Version:
        """The version whose bytes the object holds."""

    @property
    def content(self) -> Content:
        """The content state as far as this process knows it."""

    @property
    def size(self) -> int:
        """``S``: the size of the resource."""

    @property
    def stored_end(self) -> int:
        """``L``: nothing at or past it may be read."""

    @property
    def inval_counter(self) -> int:
        """Moves when the content is thrown away; compare before and after an operation."""

    @property
    def withdrawn(self) -> bool:
        """Whether nothing more can be kept here: the store died, or the object is not believed."""

    def fileno(self) -> int:
        """The descriptor of the backing file, for direct reads of extents known to be there."""

    def lease(self, descriptor: int) -> int:
        """A descriptor of the backing file that may be mapped; the caller closes it.

        As long as a map made from it exists, the file neither changes nor shrinks, whoever
        invalidates, modifies, culls or drops the object.  ``CacheError`` when ``descriptor`` is
        not the backing file (any more), or the object is being modified.
        """

    def query_occupancy(self, start: int, end: int) -> tuple[CachedExtent, ...]:
        """Up to two cached extents that meet ``[start, end)``, in order, whole blocks (or up to
        ``S`` at the end), possibly reaching past ``end``.

        ALL and SINGLE answer without any seek call; BACKFS_MAP asks SEEK_DATA/SEEK_HOLE for at
        most two extents, and the record of sums.  A hole is never reported.  Bytes are compared
        with sums only in an object that a reboot left in doubt; else ``prove`` does that.
        """

    @property
    def proves_each_read(self) -> bool:
        """Whether what ``prove`` returned holds for one read only."""

    def prove(self, start: int, end: int) -> Extent:
        """Compare ``[start, end)``, which is there, with its sums as far as the level asks for it.

        Returns a proven extent that begins at or before ``start``, and possibly reaches past
        ``end``.  Where it ends before ``end``, a block was damaged: its record is cleared, and it
        is not cached any more.  Reads the range when it was not compared before; may be called
        from several threads, and does not keep others from filling the object for long.
        """

    def read_whole(self, start: int, end: int) -> bytes | None:
        """``query_occupancy`` and ``prove`` of everything, and the bytes ``[start, end)`` of it, in
        one step, for small complete objects.

        Bytes (none with ``start == end``): all of ``[0, S)`` is there, and proven as far as the
        level asks for it.  None says nothing: it is not complete, too large to be compared at once,
        or damaged.
        """

    def is_proven(self, start: int, end: int) -> bool:
        """Whether ``prove`` has nothing to compare, so nothing to read, for ``[start, end)``."""

    def prove_nowait(self, start: int, end: int) -> bool:
        """``prove`` for callers that must not wait: False where the bytes are not in memory.

        True: ``is_proven`` holds now.  False says nothing.
        """

    def is_sound(self, start: int, end: int) -> bool:
        """Compare ``[start, end)``, which is there, with its sums now, whatever the level.

        For bytes that are carried into another object, where they get new sums.
        """

    def damaged(self, start: int, end: int) -> bool:
        """Whether part of ``[start, end)`` was found damaged and has not been stored again."""

    def extents(self) -> Iterator[Extent]:
        """All cached extents, in order, clipped to ``S``; nothing is compared.  Cost: one seek pair
        an extent, and the record of sums of a map."""

    def read_into(self, start: int, buffer: Buffer) -> int:
        """Read cached bytes at ``start``; the caller knows from occupancy that they are there.

        Clamped at ``S`` and at ``L``.  A count of 0 for a non-empty buffer is a miss, not EOF.
        """

    def write_blocks(self, start: int, data: Buffer) -> None:
        """Write ``data`` at ``start`` (a multiple of ``B``) without recording it.

        ``data`` may end inside a block only where the resource ends; the rest of that block is
        written as zeros.  Nothing of it may be read before ``collect_write``.
        """

    def collect_write(self, kind: WriteKind, start: int, end: int) -> None:
        """Record a finished, contiguous, block-aligned run, by the decision table of cachefiles.

        Runs of one request come in order of position.  For DATA the label is published according
        to the sync policy before this returns.  Runs of other requests, threads and processes may
        come in between.
        """

    def try_lock_extent(self, start: int, end: int) -> bool:
        """Claim ``[start, end)`` for a fill against other processes (advisory, never waits).

        Correctness never rests on it.  Always True where the filesystem has no such locks.
        """

    def unlock_extent(self, start: int, end: int) -> None:
        """Give a claim back; a process that dies gives all of its claims back."""

    # Local modification: between ``begin_modify`` and ``commit`` the label on disk says DIRTY.

    def begin_modify(self) -> None:
        """Make the label DIRTY, durably, before the first block changes in place."""

    def write(self, start: int, data: Buffer, fill: FillGap) -> None:
        """Write ``data`` at ``start`` and collect it, rounded out to whole blocks.

        The gap below ``start`` in its block is read from the object, or from ``fill`` when it is
        not cached; the gap above the end is kept where it is file data, and zeros past ``S``.
        """

    def truncate(self, size: int) -> None:
        """Make the resource ``size`` bytes long, shorter or longer; frees what lies past it."""

    def invalidate(self, version: Version) -> None:
        """Throw the content away and go on, empty, as ``version``: a new inode takes the name,
        ``inval_counter`` moves, readers of the old descriptor keep their bytes."""

    def commit(self, version: Version) -> None:
        """Make data durable, then the clean label of ``version``."""

    def mark_checked(self, when_s: float) -> None:
        """Record that the version was found current at the server at ``when_s`` (wall clock)."""

    def carry_over(self, was: Version, version: Version, *, checked_s: float) -> bool:
        """Let the bytes of ``was`` count as those of ``version``, which was current at
        ``checked_s``: somebody has proven that they are the same ones.

        One step, for all who have the object open; no byte moves.  False when the object is of
        neither version by now, or holds nothing, or is being modified.
        """

    @property
    def checked_s(self) -> float:
        """When the version was last found current (wall clock), 0.0 for never."""

    def mark_used(self) -> None:
        """Move the object to the recent end of the culling order (cheap, at most once a minute)."""

    def close(self) -> None:
        """Let the object go; afterwards every call raises ``CacheError``.  Idempotent."""


class NewObject(Protocol):
    """An object being written front to back that nobody else can see yet.

    Content is ALL (or NO_DATA) from the first byte to the last: no seek call ever.
    """

    def write(self, data: Buffer) -> None:
        """Append ``data``, of any length."""

    def copy_from(self, source: int, length: int) -> int:
        """Append ``length`` bytes of the file ``source``, from the position that ``size`` is now.

        Returns how many that file had.  Shares blocks where the filesystem can.
        """

    @property
    def shares(self) -> bool:
        """Whether ``copy_from`` may share blocks; False once it was tried in vain."""

    @property
    def size(self) -> int:
        """How many bytes were appended."""

    def fileno(self) -> int:
        """The descriptor of the backing file (readable)."""

    def publish(self, version: Version, *, checked_s: float) -> CacheObject:
        """Give it its name and label, in place of whatever had the name; ends the NewObject.

        ``version.size`` must be ``size``.  After a ``CacheError`` the file is as private as before,
        and can be read until ``discard``.
        """

    def discard(self) -> None:
        """Throw it away; nothing is left on disk.  Idempotent, also after ``publish``."""


class CacheStore(Protocol):
    """A cache directory, bound and probed."""

    block_size: int

    @property
    def memory(self) -> Memory:
        """What is remembered of losses and reads, so that misses can be explained."""

    def lookup(self, key: ObjectKey) -> CacheObject | None:
        """Open the object of ``key`` if there is a usable one, whatever its version.

        One whose label is not believed (``docs/on-disk-format.md``) is a miss, and is replaced by
        the next ``create``.  Cost: one open and one attribute read, whatever the size of the cache;
        and for an object with a table of sums, one open and one read of that.
        """

    def open_whole(self, key: ObjectKey) -> WholeObject | None:
        """``lookup``, for whoever wants all of a small object, and that once."""

    def create(self, key: ObjectKey, version: Version, *, checked_s: float) -> CacheObject:
        """A new empty object for ``version``, published at once, in place of an older one.

        When another process has just published one of the same version, that one is opened.
        """

    def begin(self, key: ObjectKey) -> NewObject:
        """A new private object to be written front to back, for a version known at the end."""

    def keep(self, key: ObjectKey, version: Version, data: bytes, *, checked_s: float) -> None:
        """Make ``data`` the object of ``version``, in place of whatever has the name.

        As ``begin``, ``write``, ``publish`` and ``close``, for small files that are here whole.
        """

    def has_room(self, length: int) -> bool:
        """Whether ``reserve`` would do nothing for so much."""

    def must_cull(self, length: int) -> bool:
        """Whether ``reserve`` would cull for so much, or is culling anyhow; as far as is known."""

    def claim_question(self, key: ObjectKey) -> Callable[[], None] | None:
        """Claim to be the one, of all processes, who asks the server about ``key`` first.

        None when another one is about it; else how to give the claim back, which raises nothing.
        Never waits; correctness does not rest on it.
        """

    def reserve(self, length: int) -> None:
        """Make sure that ``length`` more bytes may be stored, culling for it if need be.

        Raises ``NoSpaceError`` when they may not.
        """

    def pin(self, key: ObjectKey) -> None:
        """Keep what has, or will have, this name from culling; durable.  Again is fine."""

    def unpin(self, key: ObjectKey) -> bool:
        """Let it be culled in its turn; False when it was not pinned."""

    def drop(self, key: ObjectKey, cause: Cause = Cause.DROPPED) -> int:
        """Forget the object, which is remembered as lost for ``cause``; returns the allocated bytes
        given free (0: there was none)."""

    def clear(self) -> int:
        """Forget all objects; returns the allocated bytes given free."""

    def cull(self, target_bytes: int | None = None) -> tuple[int, int]:
        """Discard least recently used objects that are not in use, down to ``target_bytes``
        allocated (None: to what the limits want).  Returns objects and bytes given free."""

    def objects(self) -> Iterator[ObjectRecord]:
        """All objects with a readable label, in no order."""

    def verify(
        self, keys: Sequence[ObjectKey] | None = None, *, repair: bool = False
    ) -> Iterator[Problem]:
        """Check labels, structure and all sums: yields everything that is not right.

        With ``repair`` it is forgotten: damaged blocks alone, else the object.
        """

    def worker(self) -> MappingWorker:
        """This process's place among those that share maps of objects; always the same."""

    def status(self) -> StoreStatus:
        """Figures for ``cache status``; walks the cache to count it."""

    def close(self) -> None:
        """Withdraw: stop background work, close all objects.  Idempotent."""
