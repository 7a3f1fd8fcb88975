"""The part of the conformance suite that changes parts of resources."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from netcache._core.coherency import ValidatorKind
from netcache.errors import ConflictError, InvariantError, NotFoundError, NotOfferedError
from netcache.spi import UNCONDITIONAL, Backend, UpdateData, UploadCondition
from tests.conformance.peers import Bytes, Peer, pattern, read, version_of

MIB = 1 << 20


async def over(backend: Backend, url: str) -> UploadCondition:
    """The condition that names the version that is there now."""
    validator = (await version_of(backend, url)).validator
    if validator.kind is ValidatorKind.STRONG_ETAG:
        return UploadCondition(if_match=validator.value)
    return UploadCondition(unmodified_since=validator.value)


def changed(former: bytes, start: int, new: bytes) -> bytes:
    """What the port says an update makes of ``former``."""
    return former[:start].ljust(start, b"\0") + new + former[start + len(new) :]


async def learn_anew(peer: Peer) -> bool:
    """Whether parts can be changed: not known before, known to all afterwards."""
    peer.plant("a.bin", b"x")
    await read(peer.backend, peer.url("a.bin"))
    known = peer.backend.capabilities(peer.url("a.bin"))
    assert (known.patch, known.partial_put) == (None, None)
    learnt = await peer.backend.learn(peer.url("a.bin"))
    assert None not in (learnt.patch, learnt.partial_put)
    assert peer.backend.capabilities(peer.url("other")) == learnt
    return bool(learnt.patch or learnt.partial_put)


class UpdatingSuite:
    """Where updates are offered."""

    async def test_learn_says_yes(self, peer: Peer) -> None:
        """One of the two ways is there."""
        assert await learn_anew(peer)

    @pytest.mark.parametrize(
        ("start", "length"),
        [
            (0, 1),
            (0, 100_000),
            (4_096, 4_096),
            (99_999, 1),
            (99_999, 2),
            (100_000, 1),
            (90_000, 2 * MIB + 1),
            (100_001, 5),
            (3 * MIB, 7),
        ],
    )
    async def test_update(self, peer: Peer, start: int, length: int) -> None:
        """Inside, at the end, across it, and behind it with zeros between."""
        former, new = pattern(100_000), pattern(length, seed=1)
        peer.plant("a.bin", former)
        url = peer.url("a.bin")
        condition = await over(peer.backend, url)
        reply = await peer.backend.update(url, start, new, size=100_000, condition=condition)
        assert not reply.created
        assert await read(peer.backend, url) == changed(former, start, new)
        assert reply.version is not None
        assert reply.version.size == max(100_000, start + length)
        assert reply.version.same_as(await version_of(peer.second(), url))

    @pytest.mark.parametrize("former", [b"", b"short"])
    async def test_update_of_a_small_resource(self, peer: Peer, former: bytes) -> None:
        """Also what has no bytes yet can be changed in its middle."""
        peer.plant("a.bin", former)
        url = peer.url("a.bin")
        condition = await over(peer.backend, url)
        await peer.backend.update(url, 10, b"new", size=len(former), condition=condition)
        assert await read(peer.backend, url) == changed(former, 10, b"new")

    @pytest.mark.parametrize(
        "cuts", [[], [1], [300_000], [0, 0, 700_000, 700_001, MIB, MIB], list(range(0, MIB, 4_096))]
    )
    async def test_update_from_pieces(self, peer: Peer, cuts: list[int]) -> None:
        """Bytes that lie in several pieces, empty ones among them, arrive in order."""
        new = bytearray(pattern(MIB, seed=2))
        view = memoryview(new)
        bounds = [0, *cuts, MIB]
        data: UpdateData = [view[a:b] for a, b in itertools.pairwise(bounds)]
        peer.plant("a.bin", pattern(2 * MIB))
        url = peer.url("a.bin")
        condition = await over(peer.backend, url)
        await peer.backend.update(url, 5_000, data, size=2 * MIB, condition=condition)
        assert await read(peer.backend, url) == changed(pattern(2 * MIB), 5_000, bytes(new))

    async def test_updates_follow_each_other_by_their_replies(self, peer: Peer) -> None:
        """The version of one reply is what the next update starts from."""
        url, expected = peer.url("a.bin"), pattern(50_000)
        peer.plant("a.bin", expected)
        condition, size = await over(peer.backend, url), 50_000
        for start, new in ((7, b"one"), (49_999, b"two"), (60_000, b"three"), (0, b"four")):
            reply = await peer.backend.update(url, start, new, size=size, condition=condition)
            assert reply.version is not None
            condition = UploadCondition(if_match=reply.version.validator.value)
            size = reply.version.size
            expected = changed(expected, start, new)
        assert await read(peer.backend, url) == expected

    async def test_update_of_another_version_is_a_conflict(self, peer: Peer) -> None:
        """What somebody else has stored meanwhile stays as it is, whatever its size."""
        url = peer.url("a.bin")
        peer.plant("a.bin", pattern(5_000))
        condition = await over(peer.backend, url)
        for size in (5_000, 4_000, 6_000):
            peer.plant("a.bin", pattern(size, seed=1))
            for backend in (peer.backend, peer.second()):
                with pytest.raises(ConflictError):
                    await backend.update(url, 0, b"new", size=5_000, condition=condition)
            assert await read(peer.backend, url) == pattern(size, seed=1)

    async def test_update_of_nothing_is_a_conflict(self, peer: Peer) -> None:
        """A version was named, and nothing is there: nothing is made."""
        for condition in (
            UploadCondition(if_match='"gone"'),
            UploadCondition(unmodified_since="Tue, 14 Nov 2023 22:13:20 GMT"),
        ):
            with pytest.raises(ConflictError):
                await peer.backend.update(peer.url("none"), 0, b"new", size=0, condition=condition)
        with pytest.raises(NotFoundError):
            await peer.backend.stat(peer.url("none"))

    async def test_of_two_updates_of_one_version_one_is_made(self, peer: Peer) -> None:
        """At the same time, of different places: the other is a conflict, never a mixture."""
        url, former = peer.url("a.bin"), pattern(200_000)
        peer.plant("a.bin", former)
        condition = await over(peer.backend, url)
        found = await asyncio.gather(
            *(
                backend.update(url, start, b"new", size=200_000, condition=condition)
                for start, backend in ((0, peer.backend), (150_000, peer.second()))
            ),
            return_exceptions=True,
        )
        assert sorted(isinstance(one, ConflictError) for one in found) == [False, True]
        start = 150_000 if isinstance(found[0], ConflictError) else 0
        assert await read(peer.backend, url) == changed(former, start, b"new")

    @pytest.mark.parametrize(
        "condition",
        [UNCONDITIONAL, UploadCondition(if_match="*"), UploadCondition(if_match='W/"1"')],
    )
    async def test_update_names_its_version(self, peer: Peer, condition: UploadCondition) -> None:
        """Conditions that stand for more than one version are mistakes of the caller."""
        peer.plant("a.bin", b"x")
        with pytest.raises(InvariantError):
            await peer.backend.update(peer.url("a.bin"), 0, b"y", size=1, condition=condition)
        assert await read(peer.backend, peer.url("a.bin")) == b"x"


class WholeFilesSuite:
    """Where updates are not offered."""

    async def test_learn_says_no(self, peer: Peer) -> None:
        """Neither way is there."""
        assert not await learn_anew(peer)

    async def test_update_is_refused(self, peer: Peer) -> None:
        """Nothing is changed, and whole uploads go on."""
        url = peer.url("a.bin")
        peer.plant("a.bin", pattern(5_000))
        condition = await over(peer.backend, url)
        for _ in range(2):
            with pytest.raises(NotOfferedError):
                await peer.backend.update(url, 0, b"new", size=5_000, condition=condition)
        assert await read(peer.backend, url) == pattern(5_000)
        await peer.backend.put(url, Bytes(b"whole"), condition=condition)
        assert await read(peer.backend, url) == b"whole"
