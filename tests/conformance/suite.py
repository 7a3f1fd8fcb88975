"""The conformance suite: what ``netcache.spi`` promises, asked of every backend.

A subclass gives the fixture ``peer``.  The tests use the port only.
"""

from __future__ import annotations

import asyncio

import pytest

from netcache._core.extent import Extent
from netcache.errors import (
    ClosedError,
    NotFoundError,
    RemoteError,
    StaleError,
)
from tests.conformance.peers import Bytes, Collector, Peer, pattern, read, version_of
from tests.conformance.writing_suite import WritingSuite

KIB, MIB = 1 << 10, 1 << 20
ODD_NAMES = ["sp ace.txt", "per%cent", "hash#mark", "quest?ion", "ämter ☃", "a+b&c;d='e'", "~x,y!"]


class BackendSuite(WritingSuite):
    """Reading, metadata, ending; writing from its own module."""

    # Reading.

    async def test_whole_read_gives_all_bytes_and_the_version(self, peer: Peer) -> None:
        """A read of everything is whole, and its version is the one that stat tells."""
        data = pattern(300_001)
        peer.plant("a.bin", data)
        collector = Collector()
        reply = await peer.backend.open_read(peer.url("a.bin"))
        assert (reply.whole, reply.not_modified) == (True, False)
        assert reply.extent == (0, len(data))
        assert reply.version is not None
        assert reply.version.size == len(data)
        assert reply.version.same_as(await version_of(peer.second(), peer.url("a.bin")))
        assert await reply.receive(collector) == len(data)
        assert bytes(collector.data) == data

    @pytest.mark.parametrize(
        ("start", "end"), [(0, 1), (1, 2), (4096, 8192), (65_537, 200_003), (199_999, 200_003)]
    )
    async def test_ranged_read_gives_exactly_the_extent(
        self, peer: Peer, start: int, end: int
    ) -> None:
        """An extent inside the resource comes as asked, with the whole resource's size."""
        data = pattern(200_003)
        peer.plant("a.bin", data)
        collector = Collector()
        reply = await peer.backend.open_read(peer.url("a.bin"), Extent(start, end))
        assert (reply.extent, reply.whole) == ((start, end), False)
        assert reply.ranges_supported is True
        assert reply.version is not None
        assert reply.version.size == len(data)
        await reply.receive(collector)
        assert bytes(collector.data) == data[start:end]
        assert collector.pieces[0][0] == start

    async def test_open_end_reads_to_the_end(self, peer: Peer) -> None:
        """An end of -1 means the end of the resource."""
        data = pattern(100_000)
        peer.plant("a.bin", data)
        assert await read(peer.backend, peer.url("a.bin"), Extent(99_000, -1)) == data[99_000:]
        assert await read(peer.backend, peer.url("a.bin"), Extent(0, -1)) == data

    async def test_extent_past_the_end_is_cut(self, peer: Peer) -> None:
        """What reaches past the end stops there."""
        data = pattern(10_000)
        peer.plant("a.bin", data)
        reply = await peer.backend.open_read(peer.url("a.bin"), Extent(9_000, 20_000))
        assert reply.extent == (9_000, 10_000)
        collector = Collector()
        await reply.receive(collector)
        assert bytes(collector.data) == data[9_000:]

    async def test_extent_wholly_past_the_end_is_empty_and_tells_the_size(self, peer: Peer) -> None:
        """Nothing comes, and the version says how large the resource is."""
        peer.plant("a.bin", pattern(10_000))
        reply = await peer.backend.open_read(peer.url("a.bin"), Extent(10_000, 20_000))
        assert reply.extent.length == 0
        assert reply.version is not None
        assert reply.version.size == 10_000
        assert reply.version.same_as(await version_of(peer.backend, peer.url("a.bin")))
        assert await reply.receive(Collector()) == 0

    @pytest.mark.parametrize("extent", [None, Extent(0, 4096), Extent(0, -1)])
    async def test_empty_resource(self, peer: Peer, extent: Extent | None) -> None:
        """A resource without bytes can be read like any other."""
        peer.plant("empty", b"")
        reply = await peer.backend.open_read(peer.url("empty"), extent)
        assert reply.extent == (0, 0)
        assert reply.version is not None
        assert reply.version.size == 0
        assert await reply.receive(Collector()) == 0

    @pytest.mark.parametrize("notice_bytes", [64 * KIB, 256 * KIB, 4 * MIB])
    @pytest.mark.parametrize("start", [0, 5, 64 * KIB, MIB + 4097])
    async def test_pieces_end_at_multiples_of_notice_bytes(
        self, peer: Peer, start: int, notice_bytes: int
    ) -> None:
        """Pieces are contiguous and end at multiples, except the last."""
        data = pattern(9 * MIB + 77)
        peer.plant("a.bin", data)
        collector = Collector()
        reply = await peer.backend.open_read(peer.url("a.bin"), Extent(start, len(data) - 7))
        await reply.receive(collector, notice_bytes=notice_bytes)
        ends = [end for _, end in collector.pieces]
        assert [begin for begin, _ in collector.pieces] == [start, *ends[:-1]]
        assert ends[-1] == len(data) - 7
        assert all(end % notice_bytes == 0 for end in ends[:-1])
        assert bytes(collector.data) == data[start:-7]

    async def test_unless_a_current_validator_gives_nothing(self, peer: Peer) -> None:
        """A current validator means: not modified, no body."""
        peer.plant("a.bin", pattern(5_000))
        version = await version_of(peer.backend, peer.url("a.bin"))
        reply = await peer.backend.open_read(peer.url("a.bin"), unless=version.validator)
        assert (reply.not_modified, reply.version) == (True, None)
        assert await reply.receive(Collector()) == 0

    async def test_unless_a_former_validator_gives_the_new_bytes(self, peer: Peer) -> None:
        """A validator that is no longer current does not hold the body back."""
        peer.plant("a.bin", pattern(5_000))
        version = await version_of(peer.backend, peer.url("a.bin"))
        peer.plant("a.bin", pattern(5_000, seed=1))
        found = await read(peer.backend, peer.url("a.bin"), unless=version.validator)
        assert found == pattern(5_000, seed=1)

    @pytest.mark.parametrize("extent", [None, Extent(0, 1_000), Extent(2_000, 3_000)])
    async def test_pinned_read_of_the_same_version(self, peer: Peer, extent: Extent | None) -> None:
        """A pin on the current version changes nothing."""
        data = pattern(5_000)
        peer.plant("a.bin", data)
        version = await version_of(peer.backend, peer.url("a.bin"))
        start, end = extent or (0, 5_000)
        found = await read(peer.backend, peer.url("a.bin"), extent, expected=version)
        assert found == data[start:end]

    @pytest.mark.parametrize("size", [5_000, 6_000, 1_000])
    @pytest.mark.parametrize("extent", [None, Extent(0, 500), Extent(2_000, 3_000)])
    async def test_pinned_read_of_another_version_is_stale(
        self, peer: Peer, extent: Extent | None, size: int
    ) -> None:
        """A pin on a version that is gone raises, whatever the new size is."""
        peer.plant("a.bin", pattern(5_000))
        version = await version_of(peer.backend, peer.url("a.bin"))
        peer.plant("a.bin", pattern(size, seed=1))
        with pytest.raises(StaleError):
            await peer.backend.open_read(peer.url("a.bin"), extent, expected=version)

    async def test_missing_resource(self, peer: Peer) -> None:
        """What does not exist is NotFoundError for every reader."""
        for asked in (
            peer.backend.open_read(peer.url("none")),
            peer.backend.open_read(peer.url("none"), Extent(0, 10)),
            peer.backend.stat(peer.url("none")),
            peer.backend.list(peer.url("none/")),
            peer.backend.delete(peer.url("none")),
        ):
            with pytest.raises(NotFoundError):
                await asked

    async def test_reply_may_be_closed_unread(self, peer: Peer) -> None:
        """Closing a reply, also twice, leaves the backend usable."""
        data = pattern(3 * MIB)
        peer.plant("a.bin", data)
        reply = await peer.backend.open_read(peer.url("a.bin"))
        await reply.close()
        await reply.close()
        assert await read(peer.backend, peer.url("a.bin"), Extent(5, 10)) == data[5:10]

    async def test_failing_sink_ends_the_exchange(self, peer: Peer) -> None:
        """The sink's own exception comes out, and the backend goes on."""
        data = pattern(3 * MIB)
        peer.plant("a.bin", data)

        def sink(start: int, view: memoryview) -> None:
            raise OSError(28, "no space left")

        reply = await peer.backend.open_read(peer.url("a.bin"))
        with pytest.raises(OSError, match="no space left") as caught:
            await reply.receive(sink)
        assert not isinstance(caught.value, RemoteError)
        await reply.close()
        assert await read(peer.backend, peer.url("a.bin")) == data

    async def test_cancelled_receive_ends_the_exchange(self, peer: Peer) -> None:
        """A cancelled body stops at once; the backend goes on."""
        data = pattern(24 * MIB)
        peer.plant("a.bin", data)
        reply = await peer.backend.open_read(peer.url("a.bin"))
        taken: list[int] = []

        def sink(start: int, view: memoryview) -> None:
            taken.append(start)
            task.cancel()

        task = asyncio.ensure_future(reply.receive(sink))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 < len(taken) < 24
        assert await read(peer.backend, peer.url("a.bin"), Extent(7, 9)) == data[7:9]

    async def test_many_reads_at_the_same_time(self, peer: Peer) -> None:
        """Extents fetched together are those that were asked for."""
        data = pattern(4 * MIB)
        peer.plant("a.bin", data)
        extents = [Extent(n * 100_000, n * 100_000 + 90_001) for n in range(40)]
        found = await asyncio.gather(
            *(read(peer.backend, peer.url("a.bin"), extent) for extent in extents)
        )
        assert found == [data[start:end] for start, end in extents]

    # Metadata.

    async def test_stat_of_a_file(self, peer: Peer) -> None:
        """A file has a name, a size and a version, and its URL is the one asked."""
        peer.plant("dir/a b.bin", pattern(1_234))
        info = await peer.backend.stat(peer.url("dir/a%20b.bin"))
        assert info is not None
        assert (info.name, info.type, info.size) == ("a b.bin", "file", 1_234)
        assert info.url == peer.url("dir/a%20b.bin")
        assert info.version is not None
        assert info.version.size == 1_234
        assert info.version.validator.joins_ranges

    @pytest.mark.parametrize("spelling", ["dir", "dir/"])
    async def test_stat_of_a_folder(self, peer: Peer, spelling: str) -> None:
        """A folder is one with or without its slash; its URL has it."""
        peer.plant("dir/a.bin", b"x")
        info = await peer.backend.stat(peer.url(spelling))
        assert info is not None
        assert (info.name, info.type, info.size, info.version) == ("dir", "directory", None, None)
        assert info.url == peer.url("dir/")

    async def test_stat_unless_current(self, peer: Peer) -> None:
        """None means that the validator is still current."""
        peer.plant("a.bin", pattern(10))
        version = await version_of(peer.backend, peer.url("a.bin"))
        assert await peer.backend.stat(peer.url("a.bin"), unless=version.validator) is None
        peer.plant("a.bin", pattern(11))
        info = await peer.backend.stat(peer.url("a.bin"), unless=version.validator)
        assert info is not None
        assert info.size == 11

    async def test_stat_with_digest(self, peer: Peer) -> None:
        """The digest comes where the server tells it, and None elsewhere."""
        body = Bytes(pattern(77_777))
        peer.plant("a.bin", body.whole)
        info = await peer.backend.stat(peer.url("a.bin"), want_digest=True)
        assert info is not None
        assert info.digest_sha256 == (await body.sha256() if peer.tells_digests else None)
        assert peer.backend.capabilities(peer.base).whole_digests is peer.tells_digests

    async def test_list_tells_the_direct_entries(self, peer: Peer) -> None:
        """Files and folders directly inside, sorted by name; folders without slash."""
        peer.plant("dir/b.bin", pattern(2_000))
        peer.plant("dir/a.bin", pattern(1_000))
        peer.plant("dir/sub/deep.bin", b"x")
        entries = await peer.backend.list(peer.url("dir/"))
        assert [(e.name, e.type) for e in entries] == [
            ("a.bin", "file"),
            ("b.bin", "file"),
            ("sub", "directory"),
        ]
        assert [e.url for e in entries] == [
            peer.url("dir/a.bin"),
            peer.url("dir/b.bin"),
            peer.url("dir/sub/"),
        ]
        if peer.lists_sizes:
            assert [e.size for e in entries] == [1_000, 2_000, None]
        assert all(e.version is None or e.version.size == e.size for e in entries)

    async def test_list_of_an_empty_folder(self, peer: Peer) -> None:
        """An empty folder has no entries."""
        await peer.backend.make_folder(peer.url("hollow/"))
        assert await peer.backend.list(peer.url("hollow/")) == []

    async def test_list_of_odd_names(self, peer: Peer) -> None:
        """Names come decoded, and their URLs lead back to them."""
        for number, name in enumerate(ODD_NAMES):
            peer.plant(f"odd/{name}", b"x" * number)
        entries = await peer.backend.list(peer.url("odd/"))
        assert [e.name for e in entries] == sorted(ODD_NAMES)
        for entry in entries:
            assert await read(peer.backend, entry.url) == b"x" * ODD_NAMES.index(entry.name)

    async def test_listed_version_never_contradicts_stat(self, peer: Peer) -> None:
        """A version from a listing is the one that stat tells, or is of another kind."""
        peer.plant("dir/a.bin", pattern(100))
        (entry,) = await peer.backend.list(peer.url("dir/"))
        version = await version_of(peer.backend, entry.url)
        if entry.version is not None and entry.version.validator.kind == version.validator.kind:
            assert entry.version.same_as(version)

    # Ending.

    async def test_capabilities_are_learnt(self, peer: Peer) -> None:
        """After a good ranged read it is known that ranges work."""
        peer.plant("a.bin", pattern(100))
        await read(peer.backend, peer.url("a.bin"), Extent(5, 10))
        assert peer.backend.capabilities(peer.url("other")).ranges is True

    async def test_everything_raises_after_close(self, peer: Peer) -> None:
        """A closed backend says so; closing again is fine."""
        peer.plant("a.bin", pattern(100))
        await read(peer.backend, peer.url("a.bin"))
        await peer.backend.close()
        await peer.backend.close()
        for asked in (
            peer.backend.open_read(peer.url("a.bin")),
            peer.backend.stat(peer.url("a.bin")),
            peer.backend.list(peer.base),
            peer.backend.put(peer.url("b"), Bytes(b"x")),
            peer.backend.delete(peer.url("a.bin")),
            peer.backend.make_folder(peer.url("c/")),
        ):
            with pytest.raises(ClosedError):
                await asked
