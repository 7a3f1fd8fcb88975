"""The read engine: order, notices, pauses, side by side."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from netcache._core.extent import Extent
from netcache._netfs.read_collector import NOTICE_BYTES
from netcache._netfs.read_issuer import Issuer
from netcache._netfs.request import Request
from tests.support.read_rig import (
    Answer,
    B,
    ScriptedBackend,
    broken,
    read_rig,
    whole,
)

MIB = 1 << 20


async def test_t09_the_collector_is_woken_rarely(tmp_path: Path) -> None:
    """T9: at most once for 256 KiB that came, counted from the collection point."""
    async with read_rig(tmp_path, 4 * MIB) as rig:
        request = await rig.issue(rig.inode(), Extent(MIB, 4 * MIB))
        # One for each notice, one for the end of the subrequest, one for that of the request.
        assert request.wakes <= 3 * MIB // NOTICE_BYTES + 2
        assert request.wakes >= 3 * MIB // NOTICE_BYTES


async def test_t09_the_first_notice_counts_from_the_start_of_the_request(tmp_path: Path) -> None:
    """T9: a request far into the file is not told of each of its first pieces."""
    start = 8 * MIB
    async with read_rig(tmp_path, start + NOTICE_BYTES // 2) as rig:
        request = await rig.issue(rig.inode(), Extent(start, len(rig.data)))
        assert request.wakes == 2


async def test_progress_reaches_readers_while_the_exchange_runs(tmp_path: Path) -> None:
    """A reader of the front does not wait for the end of a large exchange."""
    async with read_rig(tmp_path, 4 * MIB) as rig:
        hold = asyncio.Event()
        rig.backend.answers[0] = Answer(piece=NOTICE_BYTES, breaks_after=MIB)
        rig.backend.answers[1] = Answer(hold=hold)
        inode = rig.inode()
        assert await rig.engine.ensure(inode, 0, MIB, 4 * MIB)
        assert rig.content(inode, 0, MIB) == rig.data[:MIB]
        assert not inode.locate(0, 4 * MIB)
        assert len(inode.flights) == 1
        hold.set()
        assert await rig.engine.ensure(inode, 0, 4 * MIB)


async def test_bytes_are_recorded_in_order_of_position(tmp_path: Path) -> None:
    """What comes early waits for what lies before it: the object never gets a map."""
    async with read_rig(tmp_path, 16 * B) as rig:
        hold = asyncio.Event()
        rig.backend.answers[0] = Answer(hold=hold)
        inode = rig.inode()
        running = asyncio.ensure_future(rig.issue(inode, whole(rig), cut_bytes=4 * B))
        for _ in range(50):
            await asyncio.sleep(0)
        assert rig.backend.at_once <= 4
        assert rig.count("DownOps", "ds") == 3
        assert not inode.locate(8 * B, 9 * B)
        hold.set()
        assert (await running).error is None
        assert rig.content(inode, *whole(rig)) == rig.data
        assert inode.cached is not None
        assert inode.cached.object.content.name == "ALL"


async def test_a_request_has_a_bounded_number_of_exchanges(tmp_path: Path) -> None:
    """As many at a time as it may have, and they do run side by side."""
    async with read_rig(tmp_path, parallel=3) as rig:
        rig.backend.default = Answer(later=5)
        await rig.issue(rig.inode(), whole(rig), cut_bytes=B)
        assert rig.backend.at_once == 3
        assert len(rig.backend.asked) == 100


async def test_t18_little_is_issued_after_a_failure(tmp_path: Path) -> None:
    """T18: the second of a hundred fails; only what was under way already is issued."""
    async with read_rig(tmp_path) as rig:
        rig.backend.default = Answer(later=1)
        rig.backend.answers[1] = Answer(head_error=broken())
        inode = rig.inode()
        request = await rig.issue(inode, whole(rig), cut_bytes=B)
        assert len(rig.backend.asked) <= 2 + rig.means.parallel
        assert request.failure_at(B) is not None
        assert request.failure_at(0) is None
        # Who waits for what was never asked for may ask for it.
        assert request.failure_at(50 * B) is None


async def test_what_others_brought_is_kept_after_a_failure(tmp_path: Path) -> None:
    """A hole where one failed, data around it; none of it is fetched again."""
    async with read_rig(tmp_path, 4 * B) as rig:
        rig.backend.answers[1] = Answer(head_error=broken())
        inode = rig.inode()
        await rig.issue(inode, whole(rig), cut_bytes=B)
        fresh = rig.backend.asked.copy()
        assert await rig.engine.ensure(inode, 0, 4 * B)
        assert rig.content(inode, *whole(rig)) == rig.data
        assert rig.backend.asked[len(fresh) :] == [(B, 2 * B)]


async def test_t28_pause_and_completion_at_the_same_time(tmp_path: Path) -> None:
    """T28: retries while others still run; no wake-up is lost whatever the order of ends."""
    for seed in range(60):
        picks = random.Random(seed)
        async with read_rig(tmp_path / str(seed), 24 * B, attempts=40) as rig:
            for number in range(40):
                rig.backend.answers[number] = Answer(
                    later=picks.randrange(4),
                    breaks_after=picks.choice([None, 0, B, 2 * B]),
                    offers=picks.choice([None, B, 3 * B]),
                )
            inode = rig.inode()
            running = rig.issue(inode, whole(rig), cut_bytes=picks.choice([B, 3 * B, 24 * B]))
            request = await asyncio.wait_for(running, 20)
            assert request.error is None, seed
            assert rig.content(inode, *whole(rig)) == rig.data, seed


async def test_t27_all_is_queued_when_the_last_was_queued(tmp_path: Path) -> None:
    """T27: completions between two issues never see a request that claims to be complete."""
    seen: list[tuple[bool, int]] = []

    class Watched(ScriptedBackend):
        request: Request

        async def open_read(self, url, extent=None, **options):  # type: ignore[no-untyped-def]
            reply = await super().open_read(url, extent, **options)
            seen.append((self.request.all_queued, self.request.stream.issued_to))
            return reply

    backend = Watched()
    async with read_rig(tmp_path, 20 * B, backend=backend) as rig:

        def watch(request: Request, _: Issuer) -> None:
            backend.request = request

        await rig.issue(rig.inode(), whole(rig), cut_bytes=B, on_request=watch)
        assert len(seen) == 20
        assert all(issued == 20 * B for queued, issued in seen if queued)
