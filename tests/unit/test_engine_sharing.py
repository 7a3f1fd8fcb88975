"""The read engine beside others on the same cache: who fetches, and who follows.

Two engines, each with a store of its own on one directory, are to each other what two processes
are: their locks belong to different open file descriptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from netcache._cachefiles.store import bind
from netcache._core.content import Content
from netcache._core.extent import Extent
from netcache._core.keys import ObjectKey
from netcache._core.urls import parse
from netcache._core.validity import Moment
from netcache._fscache.ports import CacheObject, CacheStore
from netcache._netfs import first_question
from netcache._netfs.fill_claim import FillClaim, is_claimed
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import key_of
from netcache._netfs.read_collector import NOTICE_BYTES
from netcache.errors import NotFoundError
from tests.support.costs import counted
from tests.support.read_rig import URL, Answer, B, ReadRig, cached, read_rig
from tests.support.stores import fill as fill_object

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


async def test_who_follows_leaves_reading_ahead_to_whoever_fetches(tmp_path: Path) -> None:
    """He asks for nothing while the other gets on; where nobody does, he takes over at once."""
    async with beside_each_other(tmp_path, 2, 64 * B) as [(one, first), (two, second)]:
        hold = asyncio.Event()
        one.backend.answers[0] = Answer(hold=hold)
        fetching = asyncio.ensure_future(one.engine.ensure(first, 0, 4 * B))
        await asyncio.sleep(0)
        following = asyncio.ensure_future(two.engine.ensure(second, 0, 4 * B))
        await asyncio.sleep(0)
        two.engine.go_ahead(second, 4 * B, 32 * B)
        also = asyncio.ensure_future(two.engine.ensure(second, 2 * B, 4 * B, 32 * B))
        await asyncio.sleep(0)
        hold.set()
        assert await fetching
        assert await asyncio.wait_for(asyncio.gather(following, also), 20)
        assert two.backend.asked == []
        assert await two.engine.ensure(second, 4 * B, 8 * B, 32 * B)
        two.engine.go_ahead(second, 32 * B, 40 * B)
        assert await two.engine.ensure(second, 8 * B, 40 * B)
        assert two.backend.asked == [(4 * B, 32 * B), (32 * B, 40 * B)]


async def test_who_follows_and_is_alone_for_a_moment_takes_what_he_needs_and_no_more(
    tmp_path: Path,
) -> None:
    """Another has the claim of something further on: he is the one who reads ahead."""
    async with beside_each_other(tmp_path, 2, 64 * B) as [(_, first), (two, second)]:
        second.follows = True
        assert cached(first).object.try_lock_extent(16 * B, 32 * B)
        assert await two.engine.ensure(second, 4 * B, 8 * B, 32 * B)
        assert two.backend.asked == [(4 * B, 8 * B)]


async def test_asking_who_follows_gives_no_claim_of_ours_away(tmp_path: Path) -> None:
    """What we bring ourselves stays claimed, whoever else of us looks further."""
    async with beside_each_other(tmp_path, 2, 64 * B) as [(_, first), (two, second)]:
        hold = asyncio.Event()
        two.backend.answers[0] = Answer(hold=hold)
        fetching = asyncio.ensure_future(two.engine.ensure(second, 0, 8 * B))
        await asyncio.sleep(0)
        second.follows = True
        assert is_claimed(second, 4 * B, 16 * B)
        assert not cached(first).object.try_lock_extent(0, 8 * B)
        hold.set()
        assert await fetching
        assert not is_claimed(second, 4 * B, 16 * B)
        assert cached(first).object.try_lock_extent(0, 16 * B)
        assert is_claimed(second, 4 * B, 24 * B)


async def test_a_look_at_what_another_brings_is_two_system_calls(tmp_path: Path) -> None:
    """Nothing new: the label is read, the claim is tried.  It gives up at the second look."""
    async with beside_each_other(tmp_path, 2, 64 * B) as [(_, first), (two, second)]:
        assert cached(first).object.try_lock_extent(0, 64 * B)
        claim = FillClaim(second, Extent(0, 64 * B), 0.0)
        with counted() as costs:
            assert await claim.take(None, lambda _: None)
        assert costs.kernel == {"fgetxattr": 2, "fcntl": 2}
        assert two.backend.asked == []


async def test_who_is_patient_looks_only_where_his_flight_does(tmp_path: Path) -> None:
    """Nothing is asked of the cache for what is known, nor for what a flight is waiting for."""
    async with beside_each_other(tmp_path, 2, 64 * B) as [(one, first), (two, second)]:
        theirs = cached(first).object
        assert theirs.try_lock_extent(0, 64 * B)
        waiting = asyncio.ensure_future(two.engine.ensure(second, 0, 4 * B, 64 * B, patient=True))
        await asyncio.sleep(0)
        fill_object(theirs, 0, one.data[: 16 * B])
        assert await waiting
        with counted() as costs:
            for start in range(4 * B, 16 * B, 4 * B):
                assert await two.engine.ensure(second, start, start + 4 * B, 64 * B, patient=True)
        assert not costs.kernel
        with counted() as costs:
            waiting = asyncio.ensure_future(
                two.engine.ensure(second, 16 * B, 20 * B, 64 * B, patient=True)
            )
            await asyncio.sleep(0)
        assert costs.kernel["fgetxattr"] == costs.kernel["fcntl"], costs.kernel
        fill_object(theirs, 16 * B, one.data[16 * B : 32 * B])
        with counted() as costs:
            assert await waiting
        assert costs.kernel["fgetxattr"] == costs.kernel["fcntl"], costs.kernel
        assert two.content(second, 0, 20 * B) == two.data[: 20 * B]
        assert two.backend.asked == []


class FilledJustBefore:
    """An object of which another process records everything just before a claim is taken."""

    def __init__(self, inner: CacheObject, fill: Callable[[], None]) -> None:
        self._inner, self._fill = inner, fill

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def try_lock_extent(self, start: int, end: int) -> bool:
        """The other is done, and has let go."""
        self._fill()
        return self._inner.try_lock_extent(start, end)


async def test_what_another_has_recorded_before_an_open_claims_it_is_not_asked_for(
    tmp_path: Path,
) -> None:
    """Between asking what is missing and the claim; the version is checked, without a body."""
    async with beside_each_other(tmp_path, 2, 64 * B) as [(one, first), (two, second)]:

        def fill() -> None:
            fill_object(cached(first).object, 0, one.data)

        holding = cached(second)
        holding.object = cast("CacheObject", FilledJustBefore(holding.object, fill))
        assert second.missing(0, 64 * B)
        assert await cold_read(two) == two.data
        assert not any(reply.received for reply in two.backend.replies)
        assert cached(first).object.try_lock_extent(0, 64 * B)


async def test_a_follower_brings_the_rest_of_what_is_given_up(tmp_path: Path) -> None:
    """The other one stops in the middle: nothing that it brought comes again."""
    async with beside_each_other(tmp_path, 2, 4 * MIB) as [(one, first), (two, second)]:
        one.backend.answers[0] = Answer(piece=NOTICE_BYTES, breaks_after=MIB)
        one.backend.answers[1] = Answer(hold=asyncio.Event())
        one.engine.go_ahead(first, 0, 4 * MIB)
        await asyncio.sleep(0)
        following = asyncio.ensure_future(two.engine.ensure(second, 0, 4 * MIB))
        assert await asyncio.wait_for(two.engine.ensure(second, 0, MIB), 20)
        next(iter(first.flights)).task.cancel()
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


async def cold_read(rig: ReadRig) -> bytes | None:
    """Open the resource, of which nothing is known, and read all of it."""
    whole = Extent(0, len(rig.data))
    inode = await rig.opener.resolve(parse(URL), time.monotonic(), Moment.OPEN, whole)
    assert await rig.engine.ensure(inode, *whole)
    return rig.content(inode, *whole)


async def test_of_many_that_know_nothing_one_asks_for_the_bytes(tmp_path: Path) -> None:
    """All open a cold resource at the same moment: its bytes come once."""
    async with beside_each_other(tmp_path, 8, 64 * B) as places:
        rigs = [rig for rig, _ in places]
        for rig, inode in places:
            rig.engine.inodes.forget(inode.key)
            rig.backend.default = Answer(later=4)
        rigs[0].opener.drop(parse(URL))
        found = await asyncio.wait_for(asyncio.gather(*map(cold_read, rigs)), 60)
        assert set(found) == {rigs[0].data}
        assert [extent for rig in rigs for extent in rig.backend.asked] == [(0, 64 * B)]


class AnsweredJustBefore:
    """A store where another process asks and is answered just before a question is claimed."""

    def __init__(self, inner: CacheStore, ask: Callable[[], None]) -> None:
        self._inner, self._ask = inner, ask

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def claim_question(self, key: ObjectKey) -> Callable[[], None] | None:
        """The other is done, and has let go."""
        self._ask()
        return self._inner.claim_question(key)


async def test_a_question_that_was_answered_before_it_is_claimed_is_not_asked_again(
    tmp_path: Path,
) -> None:
    """Between finding nothing and the claim; the version is checked, without a body."""

    async with read_rig(tmp_path, 64 * B) as other:
        store, data = cast("CacheStore", other.store), other.data
        key, version = key_of(parse(URL)), other.version

        def ask() -> None:
            new = store.begin(key)
            new.write(data)
            new.publish(version, checked_s=time.time()).close()

        def answered(inner: CacheStore) -> CacheStore:
            return cast("CacheStore", AnsweredJustBefore(inner, ask))

        async with read_rig(tmp_path, 64 * B, wrap_store=answered) as rig:
            assert await cold_read(rig) == data
            assert not any(reply.received for reply in rig.backend.replies)


async def test_an_object_that_another_has_just_made_is_waited_for_and_not_asked_for(
    tmp_path: Path,
) -> None:
    """Its maker has not claimed yet what comes; he has the question, until he has."""
    async with beside_each_other(tmp_path, 2, 64 * B) as [(one, first), (two, second)]:
        key, theirs = key_of(parse(URL)), cached(first).object
        two.engine.inodes.forget(second.key)
        give_back = cast("CacheStore", one.store).claim_question(key)
        assert give_back is not None
        reading = asyncio.ensure_future(cold_read(two))
        for _ in range(100):
            await asyncio.sleep(0)
        assert two.backend.asked == []
        fill_object(theirs, 0, two.data)
        give_back()
        assert await asyncio.wait_for(reading, 20) == two.data
        assert not any(reply.received for reply in two.backend.replies)


async def test_who_waited_for_another_answer_in_vain_asks_at_once(tmp_path: Path) -> None:
    """The resource is not there: each asks for himself, and they do not wait in turn."""
    async with beside_each_other(tmp_path, 4, 4 * B) as places:
        hold = asyncio.Event()
        for rig, _ in places:
            rig.opener.drop(parse(URL))
            rig.backend.default = Answer(head_error=NotFoundError("no"), hold_head=hold)
        reading = [asyncio.ensure_future(cold_read(rig)) for rig, _ in places]
        for _ in range(100):
            await asyncio.sleep(0)
        assert sum(len(rig.backend.asked) for rig, _ in places) == 1
        hold.set()
        for outcome in await asyncio.gather(*reading, return_exceptions=True):
            assert isinstance(outcome, NotFoundError)
        assert [len(rig.backend.asked) for rig, _ in places] == [1] * 4


async def test_who_asks_and_gets_no_answer_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Efficiency only: after a while the others ask as well."""
    monkeypatch.setattr(first_question, "OTHERS_ASK_S", 0.01)
    async with beside_each_other(tmp_path, 2, 4 * B) as [(one, _), (two, _)]:
        one.opener.drop(parse(URL))
        two.opener.drop(parse(URL))
        assert one.store is not None
        give_back = one.store.claim_question(key_of(parse(URL)))
        assert give_back is not None
        assert await asyncio.wait_for(cold_read(two), 20) == two.data
        give_back()


def test_a_question_is_claimed_by_one_until_he_ends(tmp_path: Path) -> None:
    """Another resource is another question; closing gives everything back; twice is once."""
    one, two = bind(tmp_path), bind(tmp_path)
    key, other = key_of(parse(URL)), key_of(parse(URL + "2"))
    give_back = one.claim_question(key)
    assert give_back is not None
    assert two.claim_question(key) is None
    assert one.claim_question(key) is None
    assert two.claim_question(other) is not None
    give_back()
    give_back()
    assert two.claim_question(key) is not None
    two.close()
    assert one.claim_question(key) is not None
    assert one.claim_question(other) is not None
    one.close()
    # Its folder's descriptor may be another file's by now.
    assert one.claim_question(key) is not None
    assert one.claim_question(key) is not None


def test_a_closed_store_that_never_asked_opens_nothing_for_a_question(tmp_path: Path) -> None:
    """The number of its folder's descriptor is another folder's now."""
    store = bind(tmp_path / "cache")
    store.close()
    other = tmp_path / "other"
    other.mkdir()
    taken = [os.open(other, os.O_RDONLY | os.O_DIRECTORY) for _ in range(8)]
    try:
        assert store.claim_question(key_of(parse(URL))) is not None
        assert not list(other.iterdir())
    finally:
        for descriptor in taken:
            os.close(descriptor)
