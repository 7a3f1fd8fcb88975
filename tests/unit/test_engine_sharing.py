"""The read engine beside others on the same cache: who fetches, and who follows.

Two engines, each with a store of its own on one directory, are to each other what two processes
are: their locks belong to different open file descriptions.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from netcache._core.content import Content
from netcache._core.urls import parse
from netcache._netfs.inode import Inode
from netcache._netfs.read_collector import NOTICE_BYTES
from tests.support.read_rig import URL, Answer, B, ReadRig, cached, read_rig

MIB = 1 << 20


@contextlib.asynccontextmanager
async def beside_each_other(
    folder: Path, count: int, size: int
) -> AsyncIterator[list[tuple[ReadRig, Inode]]]:
    """So many engines on one cache, each with the inode of the same empty object."""
    async with contextlib.AsyncExitStack() as stack:
        rigs = [await stack.enter_async_context(read_rig(folder, size)) for _ in range(count)]
        yield [(rig, rig.opener.adopt(parse(URL), rig.version, 0.0)) for rig in rigs]


async def test_a_follower_shows_what_comes_while_the_other_still_fetches(tmp_path: Path) -> None:
    """Each piece that the other has recorded is there for our readers; we ask for none of it."""
    async with beside_each_other(tmp_path, 2, 4 * MIB) as [(one, first), (two, second)]:
        hold = asyncio.Event()
        one.backend.answers[0] = Answer(piece=NOTICE_BYTES, breaks_after=MIB)
        one.backend.answers[1] = Answer(hold=hold)
        fetching = asyncio.ensure_future(one.engine.ensure(first, 0, 4 * MIB))
        await asyncio.sleep(0)
        following = asyncio.ensure_future(two.engine.ensure(second, 0, 4 * MIB))
        assert await asyncio.wait_for(two.engine.ensure(second, 0, MIB), 20)
        assert two.content(second, 0, MIB) == two.data[:MIB]
        assert not following.done()
        hold.set()
        assert await fetching
        assert await asyncio.wait_for(following, 20)
        assert two.content(second, 0, 4 * MIB) == two.data
        assert two.backend.asked == []
        assert cached(second).object.content is Content.ALL


async def test_a_follower_brings_the_rest_of_what_is_given_up(tmp_path: Path) -> None:
    """The other one stops in the middle: nothing that it brought comes again."""
    async with beside_each_other(tmp_path, 2, 4 * MIB) as [(one, first), (two, second)]:
        one.backend.answers[0] = Answer(piece=NOTICE_BYTES, breaks_after=MIB)
        one.backend.answers[1] = Answer(hold=asyncio.Event())
        one.engine.go_ahead(first, 0, 4 * MIB)
        await asyncio.sleep(0)
        following = asyncio.ensure_future(two.engine.ensure(second, 0, 4 * MIB))
        assert await asyncio.wait_for(two.engine.ensure(second, 0, MIB), 20)
        first.flights[0].task.cancel()
        assert await asyncio.wait_for(following, 20)
        assert two.content(second, 0, 4 * MIB) == two.data
        assert two.backend.asked == [(MIB, 4 * MIB)]


async def test_sixteen_readers_of_one_cold_object_fetch_each_byte_once(tmp_path: Path) -> None:
    """All scan it at the same time, with readahead; the object needs no map."""
    size, step = 64 * B, 4 * B

    async def scan(rig: ReadRig, inode: Inode) -> bytes:
        data = b""
        for start in range(0, size, step):
            assert await rig.engine.ensure(inode, start, start + step, start + 4 * step)
            data += rig.content(inode, start, start + step) or b""
            await asyncio.sleep(0)
        return data

    async with beside_each_other(tmp_path, 16, size) as places:
        for rig, _ in places:
            rig.backend.default = Answer(later=1)
        found = await asyncio.wait_for(
            asyncio.gather(*(scan(rig, inode) for rig, inode in places)), 60
        )
        assert set(found) == {places[0][0].data}
        asked = sorted(extent for rig, _ in places for extent in rig.backend.asked)
        assert sum(extent.length for extent in asked) == size, asked
        assert cached(places[-1][1]).object.content is Content.ALL


async def test_what_is_on_its_way_elsewhere_is_not_waited_for_forever(tmp_path: Path) -> None:
    """One that claims and does not get on is overtaken after the timeout, with the same bytes."""
    async with beside_each_other(tmp_path, 2, 4 * B) as [(_, first), (two, second)]:
        assert cached(first).object.try_lock_extent(0, 4 * B)
        two.means.timeout_s = 0.02
        assert await asyncio.wait_for(two.engine.ensure(second, 0, 4 * B), 20)
        assert two.backend.asked == [(0, 4 * B)]
        assert two.content(second, 0, 4 * B) == two.data
