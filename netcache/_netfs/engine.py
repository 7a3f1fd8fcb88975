"""The read engine: how the missing bytes of an inode come.

Rules:

1. It runs on the client's loop only.
2. Only blocks that are asked for are fetched, each once: what is on its way is waited for, what
   adjoins is one exchange, distinct gaps are fetched side by side.
3. The cache is optional at every step: ``CacheError`` means "not kept", and the bytes then come
   from the server into memory (``direct_read``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from netcache._core.extent import Extent, round_up
from netcache._core.read_sources import Piece, Source
from netcache._core.readplan import cut_size, wanted_blocks
from netcache._core.verifying import GROUP_BYTES
from netcache._netfs.damage import not_to_be_had
from netcache._netfs.fill_claim import is_claimed
from netcache._netfs.flight import Flight
from netcache._netfs.inode import Inode
from netcache._netfs.misses import Misses, downloads
from netcache._netfs.pace import Pace
from netcache._netfs.read_means import ReadMeans
from netcache._netfs.request import OPEN_END, Origin
from netcache._netfs.survey import on_their_way, pieces_of, survey_of
from netcache.errors import CacheError, NoSpaceError, RemoteError, StaleError, TransientError

if TYPE_CHECKING:
    from netcache._core.retry import RetryPolicy
    from netcache._core.stats import Stats
    from netcache._fscache.ports import CacheStore
    from netcache._netfs.coming import Coming
    from netcache._netfs.inodes import InodeTable
    from netcache.spi import Backend, ReadReply

DIRECT_BYTES_MAX = 4 << 20
"""How much of a resource that cannot be cached is kept in memory, in bytes."""

PARALLEL_MAX = 4
"""How many exchanges of one request run at the same time."""


def _never() -> bool:
    return False


class ReadEngine:
    """Brings bytes for all files of a client.

    ``exchanges`` is how many at the same time.  ``under_pressure`` tells whether memory is short
    for what is dirty: nothing is then read ahead (U-RA6).
    """

    def __init__(
        self,
        backend: Callable[[], Backend],
        store: CacheStore | None,
        inodes: InodeTable,
        stats: Stats,
        *,
        retry: RetryPolicy,
        timeout_s: float,
        exchanges: int,
        offline: bool,
        under_pressure: Callable[[], bool] = _never,
    ) -> None:
        self.backend = backend
        self.store = store
        self.inodes = inodes
        self.stats = stats
        self.offline = offline
        self.pace = Pace()
        self.loop = asyncio.get_running_loop()
        self.under_pressure = under_pressure
        self.means = ReadMeans(
            backend,
            stats,
            retry=retry,
            timeout_s=timeout_s,
            exchanges=exchanges,
            parallel=max(1, min(PARALLEL_MAX, exchanges)),
            misses=Misses(store, stats),
        )

    async def ensure(
        self, inode: Inode, start: int, end: int, ahead: int = 0, *, patient: bool = False
    ) -> bool:
        """Bring ``[start, end)`` in, and let what is missing up to ``ahead`` come behind it.

        ``patient``: what a flight is bringing is waited for before anybody looks for it.
        False when the bytes cannot be kept locally: the caller makes a direct read of them.
        """
        if inode.due:
            self.inodes.give_holding(inode)
        if patient and not await self._await_coming(inode, start, inode.clip(end)):
            return False
        brought: bool | None = True
        while start < inode.clip(end) and not await self._locate(inode, start, inode.clip(end)):
            if inode.holding is None:
                return False
            before = brought
            brought = await self._bring(inode, start, inode.clip(end), inode.clip(ahead))
            if not (brought or (brought is None and before)):
                # No room; or twice in a row all is there, and yet it cannot be proven.
                return False
        return True

    async def _await_coming(self, inode: Inode, start: int, end: int) -> bool:
        start = inode.reach(start)
        flight = inode.flights.bringing(start) if start < end else None
        if flight is None or flight.end < end:
            return True
        return await self._await_flight(inode, flight, start, end)

    async def _locate(self, inode: Inode, start: int, end: int) -> bool:
        """Locate; much that has to be read to prove it is read in a worker's thread, once."""
        holding = inode.holding
        if inode.cached is not None and not self.offline and inode.reach(start) < end:
            # To bring it begins with the same question.
            return False
        if (
            end - start > GROUP_BYTES
            and holding is not None
            and not holding.proves_each_read
            # First what is there: what others have recorded since needs no proof.
            and not inode.missing(start, end)
            and inode.to_prove(start, end)
        ):
            await self.loop.run_in_executor(None, inode.locate, start, end)
        return inode.locate(start, end)

    def go_ahead(self, inode: Inode, start: int, end: int) -> None:
        """Let what is missing of ``[start, end)`` come, if that costs nobody anything.

        Best effort: nobody waits for it, and its errors are for those who come to need the bytes.
        """
        end = inode.clip(end)
        if self.offline or start >= end or inode.holding is None or inode.spools:
            return
        if not (inode.follows or self.under_pressure()):
            self._launch_missing(inode, Extent(start, start), end)

    async def _bring(self, inode: Inode, start: int, end: int, ahead: int) -> bool | None:
        """One round: launch what is missing, wait for the first missing part.

        False when there is no room for it; None when nothing was missing.
        """
        if inode.spools:
            return await self._await_spool(inode, end)
        if self.offline:
            raise not_to_be_had(inode, start, end)
        if inode.follows and is_claimed(inode, start, max(end, ahead)):
            # Whoever fetches it reads ahead.
            ahead = end
        if not self._launch_missing(inode, Extent(start, end), ahead):
            return False
        missing = inode.missing(start, end, ask=False)
        if not missing:
            return None
        flight, question = inode.flights.bringing(missing[0].start), inode.question
        if flight is None:
            if question is not None and question.is_for(missing[0].start):
                await question.answered.wait()
            return True
        return await self._await_flight(inode, flight, missing[0].start, min(end, flight.end))

    def _launch_missing(self, inode: Inode, wanted: Extent, ahead: int) -> bool:
        """Launch flights for what nobody brings; all of them before anybody waits.

        False when there is no room for what is wanted.
        """
        assert inode.holding is not None
        blocks = wanted_blocks(
            wanted.start, max(wanted.end, ahead), inode.size, inode.holding.block_size
        )
        position, coming = blocks.start, on_their_way(inode, *blocks)
        needed = round_up(wanted.end, inode.holding.block_size) if wanted.length else wanted.start
        while position < blocks.end:
            survey = survey_of(inode, position, blocks.end)
            for run in coming.missing(position, survey.reach):
                pieces = pieces_of(inode, run, survey)
                if not pieces:
                    continue
                if not self._room_for(sum(piece.length for piece in pieces if piece.copy)):
                    return pieces[0].start >= wanted.end
                flight = self._launch(inode, pieces, ahead=pieces[0].start >= wanted.end)
                missed = downloads(pieces, inode.clip(needed))
                self.means.misses.missed(inode, missed, flight.request.id)
            position = survey.reach
        return True

    def _launch(self, inode: Inode, pieces: list[Piece], *, ahead: bool) -> Flight:
        if ahead:
            self.stats.add("Reads", "RA")
        return Flight(
            inode,
            pieces,
            self.means,
            origin=Origin.READAHEAD if ahead else Origin.READ,
            cut_bytes=self.cut_bytes(inode, pieces),
            on_whole=self._launch_whole,
        )

    def cut_bytes(self, inode: Inode, pieces: list[Piece]) -> int:
        """How large the exchanges that bring ``pieces`` are."""
        if self.backend().capabilities(inode.resource.url).ranges is False:
            return OPEN_END
        length = pieces[-1].end - pieces[0].start
        return cut_size(length, self.means.latency_s, self.means.parallel)

    def _room_for(self, length: int) -> bool:
        try:
            self.inodes.reserve(length)
        except CacheError:
            self.stats.add("NoSpace", "nwr")
            return False
        return True

    async def _await_flight(self, inode: Inode, flight: Coming, start: int, end: int) -> bool:
        try:
            await flight.wait_for(start, end)
        except StaleError:
            self.inodes.forget(inode.key, inode)
            raise
        except NoSpaceError:
            # What is stored stays.
            self.means.misses.refused(inode, start, end)
            self.stats.add("NoSpace", "nwr")
            return False
        except CacheError:
            self.means.misses.refused(inode, start, end)
            if inode.cached is not None:
                inode.lose_holding()
            self.inodes.forget(inode.key, inode)
            return False
        except RemoteError:
            # What was only read ahead is asked for again by who needs it: its error does not count.
            if flight.request.origin is not Origin.READAHEAD:
                raise
            # As long as the rest of it is under way, nobody else brings what has failed.
            await asyncio.wait({flight.gone})
        return True

    async def _await_spool(self, inode: Inode, end: int) -> bool:
        """Wait for a body that comes in one piece; a spool has exactly one flight."""
        if not inode.flights:
            raise TransientError(
                f"read of {inode.resource.url} failed: its only response broke off",
                url=inode.resource.url,
            )
        await next(iter(inode.flights)).wait_for(0, end)
        await asyncio.sleep(0)
        return True

    async def landed(self, inode: Inode, start: int, end: int) -> None:
        """Return when those that have brought ``[start, end)`` are gone: until then they have the
        object in use, and it cannot be culled.  That is a moment later; for one that is recorded
        behind another one, when that has ended, too."""
        for flight in inode.flights.meeting(start, end):
            if flight.position >= inode.clip(flight.end):
                await asyncio.wait({flight.gone})

    def launch(self, inode: Inode, extent: Extent, reply: ReadReply) -> Flight:
        """Let ``extent`` come from ``reply``, whose head is here already."""
        end = extent.end if extent.end >= 0 else OPEN_END
        return Flight(
            inode,
            [Piece(extent.start, end, Source.DOWNLOAD, True)],
            self.means,
            origin=Origin.WHOLE if inode.spools else Origin.READ,
            cut_bytes=OPEN_END,
            on_whole=self._launch_whole,
            reply=reply,
        )

    async def _launch_whole(self, inode: Inode, reply: ReadReply) -> None:
        """A server sent everything for a part: take it, unless that is on its way already."""
        whole = Extent(0, inode.size)
        if inode.holding is None or any((f.position, f.end) == whole for f in inode.flights):
            await reply.close()
        else:
            self.launch(inode, whole, reply)

    async def close(self) -> None:
        """Cancel what is still flying and wait until it has ended."""
        flights = [flight for inode in self.inodes.all() for flight in inode.flights]
        for flight in flights:
            flight.task.cancel()
        # Not for the tasks: those that had ended already are no reason to wait for what is done
        # at their end (since Python 3.12).
        await asyncio.gather(*(flight.gone for flight in flights))
        await self.means.all_done()
