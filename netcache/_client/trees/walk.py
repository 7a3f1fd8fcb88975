"""The walk of a tree: scanning overlaps copying, with bounded queues between them.

Scanners take folders off a stack (depth first, so that few wait), list both sides, plan, and put
files that need work on a bounded queue; copiers take them from there.  Scanners wait while the
queue is full, copiers never wait for scanners' room: no circle.  There are more copiers than
transfers where small files may be asked for one behind the other; whatever is not as small takes a
turn, and of these there are as many as transfers.  What others do (``handing``) keeps no copier.
Small files that are given up, in whichever copier, wait to be done again.
Memory is bounded by the listings being worked on and the folders above them.  All on one event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from netcache._client.trees.folders import Folder, Job
from netcache._client.trees.parallel import single_errors

if TYPE_CHECKING:
    from netcache._client.trees.handing import Handing

SCANNERS_PER_TRANSFER = 2
SCANNERS_MAX = 16
"""So many folders are listed at the same time: far away each takes a round trip."""
JOBS_PER_TRANSFER = 16
"""How many files may wait for each transfer."""


class Walk:
    """One pass over a tree.

    ``scan`` is called for each folder and calls ``go_into`` and ``hand_on``; ``do`` is called for
    each job.  Both take care of the errors of their items; one that they raise ends the walk.
    """

    def __init__(
        self,
        scan: Callable[[Folder], Awaitable[None]],
        do: Callable[[Job], Awaitable[None]],
        transfers: int,
        handing: Handing | None = None,
        *,
        small_at_once: int = 0,
    ) -> None:
        self._scan = scan
        self._do = do
        self._transfers = transfers
        self._copier_count = max(transfers, small_at_once)
        self._turns = asyncio.Semaphore(transfers)
        self._handing = handing
        self._folders: asyncio.LifoQueue[Folder] = asyncio.LifoQueue()
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._jobs_most = transfers * JOBS_PER_TRANSFER
        self._has_room = asyncio.Event()
        # The copiers that are at a small file, and those of them that are to give it up.
        self._at_small: set[asyncio.Task[None]] = set()
        self._giving_up: set[asyncio.Task[None]] = set()

    def go_into(self, folder: Folder) -> None:
        """Scan a folder later."""
        self._folders.put_nowait(folder)

    async def hand_on(self, job: Job) -> None:
        """Give a file to the copiers; once they have enough to do, waits until half is done.

        (A queue of fixed size would wake a scanner for each file: as dear as the way to a thread.)
        """
        self._jobs.put_nowait(job)
        if self._jobs.qsize() >= self._jobs_most:
            self._has_room.clear()
            await self._has_room.wait()

    async def run(self, folders: Iterable[Folder], jobs: Iterable[Job] = ()) -> None:
        """Walk from ``folders`` on; returns when all is scanned and done."""
        for folder in folders:
            self.go_into(folder)
        scanner_count = min(SCANNERS_MAX, self._transfers * SCANNERS_PER_TRANSFER)
        with single_errors():
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._copier()) for _ in range(self._copier_count)]
                workers += [group.create_task(self._scanner()) for _ in range(scanner_count)]
                if self._handing is not None:
                    workers.append(group.create_task(self._hear(self._handing)))
                for job in jobs:
                    await self.hand_on(job)
                await self._folders.join()
                await self._jobs.join()
                for worker in workers:
                    worker.cancel()

    async def _scanner(self) -> None:
        while True:
            folder = await self._folders.get()
            await self._scan(folder)
            self._folders.task_done()

    async def _copier(self) -> None:
        handing = self._handing
        while True:
            job = await self._jobs.get()
            if self._jobs.qsize() <= self._jobs_most // 2:
                self._has_room.set()
            if handing is not None and handing.take(job):
                # Done when it is answered.
                continue
            if job.comes_whole:
                await self._do_small(job)
            else:
                async with self._turns:
                    await self._do(job)
            self._jobs.task_done()

    async def _do_small(self, job: Job) -> None:
        """Do a job that ``give_up_small`` may end; it waits with the others then."""
        me = asyncio.current_task()
        assert me is not None
        self._at_small.add(me)
        try:
            await self._do(job)
        except asyncio.CancelledError:
            if me not in self._giving_up or me.cancelling() > 1:
                raise
            self._jobs.put_nowait(job)
        finally:
            self._at_small.discard(me)
            if me in self._giving_up:
                self._giving_up.discard(me)
                me.uncancel()

    def give_up_small(self) -> None:
        """Let small files that are on their way wait to be done again, and hands rest for good.

        There may be hundreds of them, that take turns at a few connections.  Not that of the
        caller, who may be at one.
        """
        giving_up = self._at_small - self._giving_up
        giving_up.discard(asyncio.current_task())
        self._giving_up |= giving_up
        for copier in giving_up:
            copier.cancel()
        if self._handing is not None:
            self._handing.end()

    async def _hear(self, handing: Handing) -> None:
        """Hear what became of the jobs that were handed out; some come back."""
        while True:
            count, undone = await handing.answered()
            for job in undone:
                self._jobs.put_nowait(job)
            for _ in range(count):
                self._jobs.task_done()
