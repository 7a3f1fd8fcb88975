"""The opener: which version of a resource a file is to show.

Opening is lazy: the first read of a file *is* the open.  A cold resource costs one ranged GET, a
range missing from a cached one costs one conditional ranged GET that also checks the version, and
a fully cached one costs one conditional request, or none, as the ``validate`` policy says.

Rules:

1. It runs on the client's loop; a gate for each resource makes many readers of a cold one ask
   once.
2. Of processes that know nothing of a resource one asks first; the others wait for its answer, and
   find the object that it has made.
3. A check counts for a reader when it was asked for after that reader opened its file.
4. Of a resource that the server no longer has, the answer is kept, and what is cached: it may come
   back unchanged.  Nothing of it is shown meanwhile.
5. Where the client asks for it (``stale_s``), a failing server does not keep what is cached from
   being shown, if it was found current not longer ago; and the server is then left alone for a
   while.  In a tree it is not shown: the listing has told of what is there now.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.misses import Cause
from netcache._core.readplan import gaps_to_fetch, wanted_blocks
from netcache._core.validity import Moment, may_be_stale
from netcache._netfs.absent import note_absent
from netcache._netfs.checking import Answer, can_be_checked, check
from netcache._netfs.engine import DIRECT_BYTES_MAX, ReadEngine
from netcache._netfs.first_question import ask_first, first_extent
from netcache._netfs.gates import Gates
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import key_of
from netcache._netfs.survey import on_their_way, survey_of
from netcache._netfs.unchanged import is_whole
from netcache.errors import CacheError, NotFoundError, StaleError, TransientError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.urls import Resource
    from netcache.spi import ReadReply

SPARED_S = 5.0
"""How long a server that failed is not asked about what may be shown without it."""


def _is_empty(inode: Inode) -> bool:
    """Whether it may just have been made by another process that has an answer in its hands."""
    cached = inode.cached
    return cached is not None and not cached.object.stored_end and inode.size > 0


class Opener:
    """Resolves resources to inodes, asking the server as little as the policy allows."""

    def __init__(self, engine: ReadEngine, stale_s: float | None = None) -> None:
        self._engine = engine
        self._inodes = engine.inodes
        self._store = engine.store
        self._stats = engine.stats
        self.stale_s = stale_s
        # Origins that failed, and until when (monotonic) they are left alone.
        self._spared_until: dict[str, float] = {}
        self.gates = Gates()

    async def resolve(
        self, resource: Resource, opened_at: float, moment: Moment, want: Extent | None
    ) -> Inode:
        """The inode for a file that was opened at ``opened_at`` (monotonic seconds).

        ``want`` is what the caller reads first (``end`` -1: to the end of the resource), None when
        only the metadata matter.  A request for it may be under way on return.

        Raises ``NotFoundError``, ``NotCachedError`` (offline) and what the server answers.
        """
        key = key_of(resource)
        async with self.gates.of(key):
            found = self._inodes.find(resource)
            inode = self._inodes.valid(resource, found, opened_at, moment)
            if inode is not None:
                return inode
            if self._store is None or (found is not None and not _is_empty(found)):
                return await self._ask_or_spare(resource, found, moment, want)
            again = partial(self._resolve_again, resource, opened_at, moment, want)
            return await ask_first(self._store, key, again) or await again()

    async def _resolve_again(
        self, resource: Resource, opened_at: float, moment: Moment, want: Extent | None
    ) -> Inode:
        """Look again, for another process may have asked since nothing was found; else ask."""
        found = self._inodes.find(resource, again=True)
        inode = self._inodes.valid(resource, found, opened_at, moment)
        return inode or await self._ask_or_spare(resource, found, moment, want)

    async def _ask_or_spare(
        self, resource: Resource, inode: Inode | None, moment: Moment, want: Extent | None
    ) -> Inode:
        """Ask about ``inode``, which nobody closes meanwhile, or for all of the resource."""
        if inode is None:
            return await self._ask(resource, None, want)
        self._inodes.acquire(inode)
        try:
            if moment is Moment.LISTED:
                return await self._ask(resource, inode, want)
            return await self._ask_about(inode, want)
        finally:
            self._inodes.release(inode)

    async def _ask_about(self, inode: Inode, want: Extent | None) -> Inode:
        """Ask; what may be shown without an answer does not wait for a server that just failed."""
        resource = inode.resource
        spared = time.monotonic() < self._spared_until.get(resource.origin, 0.0)
        if not (spared and self._may_show_stale(inode)):
            try:
                return await self._ask(resource, inode, want)
            except TransientError:
                if not self._may_show_stale(inode):
                    raise
                self._spared_until[resource.origin] = time.monotonic() + SPARED_S
        self._stats.add("Updates", "stale")
        self._inodes.replace(inode)
        return inode

    async def _ask(self, resource: Resource, inode: Inode | None, want: Extent | None) -> Inode:
        if inode is not None and inode.due:
            # Nothing of it was stored: what is cached is of the version before.
            self._inodes.forget(inode.key, inode)
            inode = self._inodes.find(resource)
        try:
            if inode is None:
                return await self._open_cold(resource, want)
            if not can_be_checked(self._engine, inode):
                return await self._open_cold(resource, want)
            gap = self._first_gap(inode, want)
            if gap is not None:
                return await self._open_gap(inode, gap, want)
            return await self._revalidate(inode, want)
        except NotFoundError:
            self.not_found(resource)
            raise

    def not_found(self, resource: Resource) -> None:
        """The server has just said that it has no such thing."""
        self._inodes.forget(key_of(resource))
        note_absent(self._store, key_of(resource))
        self._stats.add("Relinqs", "rtr")

    def _may_show_stale(self, inode: Inode) -> bool:
        """Whether ``inode`` may be shown though the server cannot be asked about it."""
        cached = inode.cached if not inode.stale else None
        return cached is not None and may_be_stale(
            self.stale_s, checked_s=cached.object.checked_s, now_s=time.time()
        )

    def drop(self, resource: Resource) -> int:
        """Forget the resource in memory and on disk; returns the bytes given free."""
        key = key_of(resource)
        self._inodes.forget(key)
        self._stats.add("Relinqs", "rtr")
        try:
            return self._store.drop(key, Cause.CHANGED) if self._store is not None else 0
        except CacheError:
            return 0

    def _first_gap(self, inode: Inode, want: Extent | None) -> Extent | None:
        """The first extent that a read of ``want`` needs and nobody brings; None: all is there."""
        if inode.holding is None or want is None or not inode.joins:
            return None
        end = want.end if want.end >= 0 else inode.size
        blocks = wanted_blocks(want.start, end, inode.size, inode.holding.block_size)
        survey_of(inode, blocks.start, blocks.end)
        gaps = gaps_to_fetch(blocks, inode.present, on_their_way(inode, *blocks))
        return gaps[0] if gaps else None

    async def _open_gap(self, inode: Inode, gap: Extent, want: Extent | None) -> Inode:
        """One conditional ranged GET: the check and the first missing bytes at once.

        When another process is fetching the gap, only the check is made: its bytes are waited for.
        """
        cached = inode.cached
        if cached is not None and not cached.object.try_lock_extent(*gap):
            return await self._revalidate(inode, want)
        if cached is not None and self._first_gap(inode, want) != gap:
            # Whoever had the claim has recorded it since we asked what is missing.
            cached.object.unlock_extent(*gap)
            return await self._ask(inode.resource, inode, want)
        from netcache._netfs.coming import Question

        asked_at, left = time.monotonic(), gap
        question = inode.question = Question(gap, asyncio.Event())
        try:
            reply = await self._engine.means.open_read(
                inode.resource.url, gap, expected=inode.version
            )
            self._inodes.found_current(inode, asked_at)
            self._engine.means.misses.missed(inode, [gap])
            await self._take(inode, reply)
            if inode.cached is cached:
                # The flight gives back the claim of what it brings.
                left = Extent(min(reply.extent.end, gap.end), gap.end)
            return inode
        except StaleError:
            self._changed(inode)
            return await self._open_cold(inode.resource, want, denied=inode.version)
        finally:
            inode.question = None
            question.answered.set()
            if cached is not None and left.length:
                cached.object.unlock_extent(*left)

    async def _revalidate(self, inode: Inode, want: Extent | None) -> Inode:
        """Nothing is missing: ask only whether the version is current."""
        asked_at = time.monotonic()
        return await self.answered(inode, await check(self._engine, inode), asked_at, want)

    async def answered(
        self, inode: Inode, answer: Answer, asked_at: float, want: Extent | None
    ) -> Inode:
        """What a check has shown is so from now on."""
        if answer.current:
            self._inodes.found_current(inode, asked_at)
            return inode
        if answer.same is not None:
            return self._same(inode, answer.same, asked_at)
        self._changed(inode)
        if answer.reply is not None:
            return await self.begin(inode.resource, answer.reply, asked_at, want)
        if want is None and answer.other is not None and is_whole(inode):
            return self._seen(inode, answer.other, asked_at)
        return await self._open_cold(inode.resource, want)

    def _same(self, inode: Inode, version: Version, asked_at: float) -> Inode:
        """The bytes of ``inode`` count as those of ``version`` from now on."""
        self._stats.add("Updates", "same")
        if not version.validator.value:
            # There is nothing to know it by but the digest.
            self._inodes.found_current(inode, asked_at)
            return inode
        # It finds the object; or makes one, when another process has just replaced it.
        same = self.adopt(inode.resource, version, asked_at)
        same.content, same.digest = inode.content, inode.digest
        return same

    def _seen(self, before: Inode, version: Version, asked_at: float) -> Inode:
        """An inode of a version of which only the metadata are wanted, for now."""
        inode = Inode(before.resource, before.key, version, None)
        inode.checked_at, inode.due = asked_at, True
        self._inodes.replace(inode)
        return inode

    async def _open_cold(
        self, resource: Resource, want: Extent | None, *, denied: Version | None = None
    ) -> Inode:
        """Nothing usable is cached: the read of ``want`` is the open.

        ``denied`` is a version that the server has just said it does not have.
        """
        asked_at = time.monotonic()
        means = self._engine.means
        if want is None:
            info = await self._engine.backend().stat(resource.url)
            version = info.version if info is not None else None
            if version is not None and version.validator.joins_ranges:
                self._doubt(resource, version, denied)
                return self.adopt(resource, version, asked_at)
            return await self.begin(resource, await means.open_read(resource.url), asked_at, want)
        reply = await means.open_read(resource.url, first_extent(self._store, want))
        if reply.version is not None:
            self._doubt(resource, reply.version, denied)
        return await self.begin(resource, reply, asked_at, want)

    def _doubt(self, resource: Resource, version: Version, denied: Version | None) -> None:
        """A version that was denied a moment ago is shown again: there may be two of that name.

        What is cached of it is not joined with what comes now.
        """
        if denied is not None and version.same_as(denied):
            self.drop(resource)

    async def begin(
        self, resource: Resource, reply: ReadReply, asked_at: float, want: Extent | None
    ) -> Inode:
        """Make the inode of the version that ``reply`` bears, and let its body come."""
        version, misses = reply.version, self._engine.means.misses
        if version is not None and version.validator.joins_ranges and version.size >= 0:
            length = min(reply.extent.length, version.size)
            inode = self.adopt(resource, version, asked_at, length)
            if inode.holding is not None or reply.extent.length <= DIRECT_BYTES_MAX:
                misses.missed_at_open(inode, want, reply.extent)
                await self._take(inode, reply)
                return inode
            if reply.ranges_supported:
                # Too much to keep, and nowhere to keep it: each read brings what it needs.
                await reply.close()
                return inode
        if not reply.whole and (version is None or reply.extent != (0, version.size)):
            await reply.close()
            reply = await self._engine.means.open_read(resource.url)
        if self._store is not None:
            self._store.memory.superseded(key_of(resource))
        from netcache._netfs.spooling import begin_spool

        inode = begin_spool(self._engine, resource, reply, asked_at)
        misses.missed_at_open(inode, want, reply.extent)
        return inode

    async def _take(self, inode: Inode, reply: ReadReply) -> None:
        """Let the body of ``reply`` come: into the holding, or else into memory."""
        # For whoever reads past the cache after a failure, too: no descriptor may be left then.
        try:
            from netcache._netfs.direct_read import take_into_memory
        except OSError:
            await reply.close()
            raise

        if reply.extent.start >= reply.extent.end:
            await reply.close()
        elif inode.holding is not None:
            self._engine.launch(inode, reply.extent, reply)
        elif reply.extent.length <= DIRECT_BYTES_MAX:
            await take_into_memory(self._engine, inode, reply)
        else:
            # The cache has just failed.  Each read brings what it needs.
            await reply.close()

    def adopt(
        self, resource: Resource, version: Version, asked_at: float, length: int = 0
    ) -> Inode:
        """A fresh inode for a version just learnt from the server; ``length`` bytes come at once.

        Where there is no room for them it has no holding.
        """
        holding = self._inodes.new_holding(key_of(resource), version, length)
        inode = Inode(resource, key_of(resource), version, holding)
        inode.checked_at = asked_at
        self._inodes.replace(inode)
        return inode

    def _changed(self, inode: Inode) -> None:
        inode.stale = True
        self._inodes.forget(inode.key, inode)
        self._stats.add("Invals", "n")
