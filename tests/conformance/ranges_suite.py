"""The part of the conformance suite that reads several extents in one exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from netcache._core.extent import Extent, ExtentSet
from netcache.errors import InvariantError, NotFoundError, NotOfferedError, StaleError
from netcache.spi import Backend
from tests.conformance.peers import Peer, pattern, read, version_of

KIB, MIB = 1 << 10, 1 << 20


class Places:
    """A sink that keeps what came where, and counts each byte."""

    def __init__(self) -> None:
        self.pieces: list[Extent] = []
        self.found: dict[int, bytes] = {}

    def __call__(self, start: int, view: memoryview) -> None:
        """Take a piece."""
        assert len(view)
        piece = Extent(start, start + len(view))
        assert all(piece.end <= other.start or other.end <= start for other in self.pieces)
        self.pieces.append(piece)
        self.found[start] = bytes(view)

    @property
    def extents(self) -> list[Extent]:
        """Where bytes came."""
        return list(ExtentSet(self.pieces))

    def are_those_of(self, data: bytes) -> bool:
        """Whether every byte is the one that belongs to its place."""
        return all(data[at : at + len(found)] == found for at, found in self.found.items())


async def ranges(
    backend: Backend, url: str, extents: Sequence[Extent], notice_bytes: int = MIB
) -> tuple[list[Extent], Places]:
    """Ask for extents of the version that is there; what came by both accounts."""
    places = Places()
    version = await version_of(backend, url)
    reply = await backend.open_ranges(url, extents, expected=version)
    assert reply.version.same_as(version)
    return await reply.receive(places, notice_bytes=notice_bytes), places


EXTENTS = [
    [Extent(0, 1), Extent(2, 3)],
    [Extent(0, 4_096), Extent(8_192, 12_288), Extent(1 * MIB, 2 * MIB + 5)],
    [Extent(5, 6), Extent(3 * MIB - 1, 3 * MIB)],
    [Extent(100, 200)],
    [Extent(100, 200), Extent(200, 300)],
    [Extent(200_000, 300_000), Extent(7, 100_000)],
    [Extent(n * 40_000, n * 40_000 + 512) for n in range(64)],
]


class RangesSuite:
    """Where several ranges can be had at once."""

    @pytest.mark.parametrize("extents", EXTENTS, ids=range(len(EXTENTS)))
    @pytest.mark.parametrize("notice_bytes", [64 * KIB, MIB])
    async def test_all_extents_come(
        self, peer: Peer, extents: list[Extent], notice_bytes: int
    ) -> None:
        """Exactly what was asked for, each byte once."""
        data = pattern(3 * MIB)
        peer.plant("a.bin", data)
        came, places = await ranges(peer.backend, peer.url("a.bin"), extents, notice_bytes)
        assert came == places.extents == list(ExtentSet(extents))
        assert places.are_those_of(data)
        assert peer.backend.capabilities(peer.url("a.bin")).multi_ranges is not False
        for piece in places.pieces:
            assert piece.end % notice_bytes == 0 or piece.end in {e.end for e in came}

    async def test_more_extents_than_one_exchange_takes(self, peer: Peer) -> None:
        """Some come; asking for the rest again and again brings all of them."""
        data = pattern(3 * MIB)
        peer.plant("a.bin", data)
        left = ExtentSet(Extent(n * 2_000, n * 2_000 + 10) for n in range(500))
        exchanges = 0
        while left:
            came, places = await ranges(peer.backend, peer.url("a.bin"), list(left))
            assert came == places.extents
            assert came
            assert places.are_those_of(data)
            for extent in came:
                assert left.covers(*extent)
                left.remove(*extent)
            exchanges += 1
        assert exchanges <= 500 // 32

    @pytest.mark.parametrize("size", [5_000, 6_000, 1_000])
    async def test_other_version_is_stale(self, peer: Peer, size: int) -> None:
        """Nothing of another version comes, whatever its size."""
        peer.plant("a.bin", pattern(5_000))
        version = await version_of(peer.backend, peer.url("a.bin"))
        peer.plant("a.bin", pattern(size, seed=1))
        asked = [Extent(0, 10), Extent(3_000, 5_000)]
        with pytest.raises(StaleError):
            await peer.backend.open_ranges(peer.url("a.bin"), asked, expected=version)

    async def test_missing_resource(self, peer: Peer) -> None:
        """What is gone is not found, or is stale, as the server prefers."""
        peer.plant("a.bin", pattern(5_000))
        version = await version_of(peer.backend, peer.url("a.bin"))
        await peer.backend.delete(peer.url("a.bin"))
        with pytest.raises((NotFoundError, StaleError)):
            await peer.backend.open_ranges(
                peer.url("a.bin"), [Extent(0, 1), Extent(2, 3)], expected=version
            )

    @pytest.mark.parametrize(
        "extents", [[], [Extent(3, 3)], [Extent(0, 1), Extent(4_999, 5_001)], [Extent(-1, 3)]]
    )
    async def test_extents_lie_within_the_version(self, peer: Peer, extents: list[Extent]) -> None:
        """Others are mistakes of the caller."""
        peer.plant("a.bin", pattern(5_000))
        version = await version_of(peer.backend, peer.url("a.bin"))
        with pytest.raises(InvariantError):
            await peer.backend.open_ranges(peer.url("a.bin"), extents, expected=version)

    async def test_reply_may_be_closed_unread(self, peer: Peer) -> None:
        """Closing a reply, also twice, leaves the backend usable."""
        data = pattern(3 * MIB)
        peer.plant("a.bin", data)
        version = await version_of(peer.backend, peer.url("a.bin"))
        asked = [Extent(0, MIB), Extent(2 * MIB, 3 * MIB)]
        reply = await peer.backend.open_ranges(peer.url("a.bin"), asked, expected=version)
        await reply.close()
        await reply.close()
        assert await read(peer.backend, peer.url("a.bin"), Extent(5, 10)) == data[5:10]

    async def test_failing_sink_ends_the_exchange(self, peer: Peer) -> None:
        """The sink's own exception comes out, and the backend goes on."""
        data = pattern(3 * MIB)
        peer.plant("a.bin", data)
        version = await version_of(peer.backend, peer.url("a.bin"))

        def sink(start: int, view: memoryview) -> None:
            raise OSError(28, "no space left")

        asked = [Extent(0, MIB), Extent(2 * MIB, 3 * MIB)]
        reply = await peer.backend.open_ranges(peer.url("a.bin"), asked, expected=version)
        with pytest.raises(OSError, match="no space left"):
            await reply.receive(sink)
        assert await read(peer.backend, peer.url("a.bin")) == data

    async def test_many_at_the_same_time(self, peer: Peer) -> None:
        """Exchanges do not mix."""
        data = pattern(3 * MIB)
        peer.plant("a.bin", data)
        asked = [
            [Extent(n * 1_000, n * 1_000 + 500), Extent(MIB + n * 1_000, MIB + n * 1_000 + 300)]
            for n in range(30)
        ]
        found = await asyncio.gather(
            *(ranges(peer.backend, peer.url("a.bin"), extents) for extents in asked)
        )
        assert [came for came, _ in found] == asked
        assert all(places.are_those_of(data) for _, places in found)


class SingleRangesSuite:
    """Where one range comes at a time."""

    async def test_several_are_refused(self, peer: Peer) -> None:
        """The caller is told, then and from then on; each by itself can be had."""
        data = pattern(3 * MIB)
        peer.plant("a.bin", data)
        url = peer.url("a.bin")
        for _ in range(2):
            with pytest.raises(NotOfferedError):
                await ranges(peer.backend, url, [Extent(5, 10), Extent(20, 30)])
        assert peer.backend.capabilities(url).multi_ranges is False
        came, places = await ranges(peer.backend, url, [Extent(5, 10)])
        assert came == places.extents == [Extent(5, 10)]
        assert await read(peer.backend, url, Extent(20, 30)) == data[20:30]
