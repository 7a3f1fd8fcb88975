"""The read engine: order, notices, pauses, side by side."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from netcache._core.extent import Extent
from netcache._core.urls import parse
from netcache._core.validity import Moment
from netcache._netfs import read_collector
from netcache._netfs.flight import BEHIND_BYTES_MAX
from netcache._netfs.read_collector import LATER_BYTES, NOTICE_BYTES
from netcache._netfs.read_issuer import Issuer
from netcache._netfs.request import Request
from netcache.errors import RemoteError, StaleError
from tests.support.read_rig import (
    URL,
    Answer,
    B,
    ScriptedBackend,
    broken,
    cached,
    read_rig,
    whole,
)

MIB = 1 << 20


async def test_t09_the_collector_is_woken_rarely(tmp_path: Path) -> None:
    """T9: at most once for 256 KiB that came, counted from the collection point."""
    came: list[int] = []
    readers: list[asyncio.Task[None]] = []

    async def read(request: Request) -> None:
        for end in range(MIB + B, 4 * MIB, B):
            await request.wait_for(end - B, end)
            came.append(request.collected_to)

    def start(request: Request, _: Issuer) -> None:
        readers.append(asyncio.ensure_future(read(request)))

    async with read_rig(tmp_path, 4 * MIB) as rig:
        rig.backend.default = Answer(later=3)
        request = await rig.issue(rig.inode(), Extent(MIB, 4 * MIB), on_request=start)
        await readers[0]
        # One for each notice, one for the end of the subrequest, one for that of the request.
        assert request.wakes <= 3 * MIB // NOTICE_BYTES + 2
        assert request.wakes >= 3 * MIB // NOTICE_BYTES
    assert sorted(set(came)) == list(range(MIB + NOTICE_BYTES, 4 * MIB + 1, NOTICE_BYTES))


async def test_what_nobody_waits_for_is_collected_in_large_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the end is not told of each piece; enough is recorded for those who follow."""
    monkeypatch.setattr(read_collector, "LATER_S", 3600.0)
    size = 4 * LATER_BYTES
    requests: list[Request] = []
    async with read_rig(tmp_path, size) as rig:
        rig.backend.default = Answer(piece=NOTICE_BYTES)
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, size)
        requests += [flight.request for flight in inode.flights]
        assert await rig.engine.ensure(inode, 0, size)
        assert size // LATER_BYTES <= requests[0].wakes <= size // LATER_BYTES + 2
        monkeypatch.setattr(read_collector, "LATER_S", 0.0)
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, size)
        requests += [flight.request for flight in inode.flights]
        assert await rig.engine.ensure(inode, 0, size)
        assert size // NOTICE_BYTES <= requests[1].wakes <= size // NOTICE_BYTES + 2


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


@pytest.mark.parametrize("fails", [False, True])
async def test_requests_that_follow_each_other_are_recorded_in_order(
    tmp_path: Path, fails: bool
) -> None:
    """Side by side, the second one done first: no map is needed, unless the first one fails."""
    async with read_rig(tmp_path, 12 * B) as rig:
        hold = asyncio.Event()
        rig.backend.answers[0] = Answer(hold=hold, extra=B if fails else 0, piece=8 * B)
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, 4 * B)
        await asyncio.sleep(0)
        rig.engine.go_ahead(inode, 4 * B, 8 * B)
        rig.engine.go_ahead(inode, 8 * B, 12 * B)
        for _ in range(100):
            await asyncio.sleep(0)
        assert rig.count("DownOps", "ds") == 2
        assert not inode.locate(4 * B, 5 * B)
        hold.set()
        if fails:
            assert await rig.engine.ensure(inode, 4 * B, 12 * B)
        assert await rig.engine.ensure(inode, 0, 12 * B)
        assert rig.content(inode, *whole(rig)) == rig.data
        assert len(rig.backend.asked) == 4 if fails else 3
        assert cached(inode).object.content.name == ("BACKFS_MAP" if fails else "ALL")


@pytest.mark.parametrize("how", ["breaks off", "is long"])
async def test_what_does_not_get_on_holds_nothing_back(tmp_path: Path, how: str) -> None:
    """A request that pauses, or has much to bring, is not waited for by what follows it."""
    size = BEHIND_BYTES_MAX + 8 * B if how == "is long" else 8 * B
    async with read_rig(tmp_path, size + 4 * B) as rig:
        hold = asyncio.Event()
        rig.backend.answers[0] = Answer(hold=hold, piece=MIB)
        if how == "breaks off":
            rig.backend.answers[0] = Answer(breaks_after=B, later=5)
            rig.backend.answers[2] = Answer(hold=hold)
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, size)
        await asyncio.sleep(0)
        ensured = rig.engine.ensure(inode, size, size + 4 * B)
        assert await asyncio.wait_for(ensured, 20)
        assert not inode.locate(B, size)
        hold.set()
        assert await rig.engine.ensure(inode, 0, size + 4 * B)
        assert rig.content(inode, *whole(rig)) == rig.data
        assert len(rig.backend.asked) == (3 if how == "breaks off" else 2)


async def test_who_waits_for_what_failed_does_not_wait_for_what_comes_before(
    tmp_path: Path,
) -> None:
    """The error of a request comes at once, though its bytes would have been held back."""
    async with read_rig(tmp_path, 12 * B) as rig:
        hold = asyncio.Event()
        rig.backend.answers[0] = Answer(hold=hold)
        rig.backend.answers[1] = Answer(head_error=broken())
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, 4 * B)
        await asyncio.sleep(0)
        with pytest.raises(RemoteError):
            await asyncio.wait_for(rig.engine.ensure(inode, 4 * B, 8 * B), 20)
        hold.set()
        assert await rig.engine.ensure(inode, 0, 12 * B)


async def test_a_request_that_is_given_up_lets_what_follows_go_on(tmp_path: Path) -> None:
    """Cancelled in the middle: the one behind it records what it has, and ends."""
    async with read_rig(tmp_path, 12 * B) as rig:
        rig.backend.answers[0] = Answer(hold=asyncio.Event())
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, 4 * B)
        await asyncio.sleep(0)
        rig.engine.go_ahead(inode, 4 * B, 8 * B)
        waiting = asyncio.ensure_future(rig.engine.ensure(inode, 4 * B, 8 * B))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        next(iter(inode.flights)).task.cancel()
        assert await asyncio.wait_for(waiting, 20)
        assert await rig.engine.ensure(inode, 0, 12 * B)
        assert rig.content(inode, *whole(rig)) == rig.data


@pytest.mark.parametrize("changed", [False, True])
async def test_what_an_open_asks_for_is_not_asked_for_again(tmp_path: Path, changed: bool) -> None:
    """A reader of the first gap waits for the answer of the open that checks the version."""
    async with read_rig(tmp_path, 12 * B) as rig:
        inode = rig.inode()
        rig.backend.default = Answer(later=20)
        if changed:
            rig.backend.server.store(URL, bytes(12 * B))
        now_s = time.monotonic()
        opening = asyncio.ensure_future(
            rig.opener.resolve(parse(URL), now_s, Moment.OPEN, Extent(0, 4 * B))
        )
        for _ in range(5):
            await asyncio.sleep(0)
        assert rig.backend.asked == [(0, 4 * B)]
        reading = asyncio.ensure_future(rig.engine.ensure(inode, 0, 8 * B))
        opened = await asyncio.wait_for(opening, 20)
        if changed:
            assert opened is not inode
            with pytest.raises(StaleError):
                await asyncio.wait_for(reading, 20)
        else:
            assert opened is inode
            assert await asyncio.wait_for(reading, 20)
            assert rig.content(inode, 0, 8 * B) == rig.data[: 8 * B]
            assert rig.backend.asked == [(0, 4 * B), (4 * B, 8 * B)]


async def test_what_lies_apart_is_not_held_back(tmp_path: Path) -> None:
    """Only what follows directly waits for the one before it."""
    async with read_rig(tmp_path, 12 * B) as rig:
        hold = asyncio.Event()
        rig.backend.answers[0] = Answer(hold=hold)
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, 4 * B)
        await asyncio.sleep(0)
        assert await asyncio.wait_for(rig.engine.ensure(inode, 6 * B, 8 * B), 20)
        hold.set()
        assert await rig.engine.ensure(inode, 0, 12 * B)
