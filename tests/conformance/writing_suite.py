"""The writing half of the conformance suite."""

from __future__ import annotations

import asyncio

import pytest

from netcache.errors import (
    ConflictError,
    NotFoundError,
    RemoteError,
    UsageError,
)
from netcache.spi import UploadCondition
from tests.conformance.peers import Bytes, FailingBytes, HeldBytes, Peer, pattern, read, version_of

MIB = 1 << 20


class WritingSuite:
    """Uploads, deletions, folders."""

    @pytest.mark.parametrize("size", [0, 1, 100_000, 5 * MIB + 3])
    @pytest.mark.parametrize("told", [True, False])
    async def test_put_and_read_back(self, peer: Peer, size: int, told: bool) -> None:
        """What was put is what is read; the first time creates, the second does not."""
        body = Bytes(pattern(size), size=size if told else None)
        reply = await peer.backend.put(peer.url("up.bin"), body)
        assert reply.created
        assert await read(peer.backend, peer.url("up.bin")) == body.whole
        again = await peer.backend.put(peer.url("up.bin"), Bytes(b"short"))
        assert not again.created
        assert await read(peer.backend, peer.url("up.bin")) == b"short"

    async def test_put_of_bytes_in_memory(self, peer: Peer) -> None:
        """A body that is held in memory arrives like any other."""
        await peer.backend.put(peer.url("up.bin"), HeldBytes(b"hello"))
        assert await read(peer.backend, peer.url("up.bin")) == b"hello"

    async def test_put_tells_the_version_that_it_made(self, peer: Peer) -> None:
        """The version of the reply is the one that stat tells then."""
        reply = await peer.backend.put(peer.url("up.bin"), Bytes(pattern(9_000)))
        known = peer.backend.capabilities(peer.url("other")).upload_versions
        assert known is peer.tells_etag_after_put
        if not peer.tells_etag_after_put:
            assert reply.version is None
            return
        assert reply.version is not None
        assert reply.version.size == 9_000
        assert reply.version.same_as(await version_of(peer.second(), peer.url("up.bin")))

    async def test_put_with_a_time(self, peer: Peer) -> None:
        """``mtime_kept`` is true exactly when the time was kept."""
        reply = await peer.backend.put(peer.url("up.bin"), Bytes(b"x"), mtime_s=1_600_000_000.7)
        assert reply.mtime_kept is peer.keeps_mtime
        info = await peer.backend.stat(peer.url("up.bin"))
        assert info is not None
        assert (info.mtime_s == 1_600_000_000) is peer.keeps_mtime

    async def test_put_makes_missing_folders(self, peer: Peer) -> None:
        """The parents of an upload are made."""
        await peer.backend.put(peer.url("x/y/z/up.bin"), Bytes(b"deep"))
        assert await read(peer.backend, peer.url("x/y/z/up.bin")) == b"deep"

    async def test_put_odd_names(self, peer: Peer) -> None:
        """Encoded names arrive as the names that they mean."""
        await peer.backend.put(peer.url("n/a%20b%25%23%3F%C3%A4"), Bytes(b"x"))
        assert [e.name for e in await peer.backend.list(peer.url("n/"))] == ["a b%#?ä"]

    async def test_put_if_absent(self, peer: Peer) -> None:
        """An upload that must create does not overwrite."""
        absent = UploadCondition(if_absent=True)
        assert (await peer.backend.put(peer.url("up"), Bytes(b"1"), condition=absent)).created
        with pytest.raises(ConflictError):
            await peer.backend.put(peer.url("up"), Bytes(b"2" * 3 * MIB), condition=absent)
        with pytest.raises(ConflictError):
            await peer.second().put(peer.url("up"), Bytes(b"2"), condition=absent)
        assert await read(peer.backend, peer.url("up")) == b"1"

    async def test_put_if_match(self, peer: Peer) -> None:
        """An upload over the expected version succeeds, over another one it does not."""
        peer.plant("up", b"first")
        info = await peer.backend.stat(peer.url("up"))
        assert info is not None
        expected = UploadCondition(if_match=info.etag)
        await peer.backend.put(peer.url("up"), Bytes(b"second!"), condition=expected)
        with pytest.raises(ConflictError):
            await peer.backend.put(peer.url("up"), Bytes(b"third"), condition=expected)
        assert await read(peer.backend, peer.url("up")) == b"second!"

    @pytest.mark.parametrize("tag", ["*", '"gone"'])
    async def test_put_if_match_of_nothing(self, peer: Peer, tag: str) -> None:
        """A version is expected where nothing is: a conflict, and nothing is made."""
        with pytest.raises(ConflictError):
            await peer.backend.put(
                peer.url("up"), Bytes(b"x"), condition=UploadCondition(if_match=tag)
            )
        with pytest.raises(NotFoundError):
            await peer.backend.stat(peer.url("up"))

    @pytest.mark.parametrize("size", [MIB, 4 * MIB])
    async def test_failing_source_publishes_nothing(self, peer: Peer, size: int) -> None:
        """A body whose source fails leaves the former bytes in place."""
        peer.plant("up", b"former")
        with pytest.raises(RuntimeError, match="the source failed"):
            await peer.backend.put(peer.url("up"), FailingBytes(pattern(size)))
        assert await read(peer.backend, peer.url("up")) == b"former"

    @pytest.mark.parametrize("lie", [-1, -(2 * MIB - 200_000), 1, 3 * MIB])
    async def test_body_of_another_size_than_announced(self, peer: Peer, lie: int) -> None:
        """A body that is shorter or longer than it said is not stored."""
        peer.plant("up", b"former")
        body = Bytes(pattern(2 * MIB), size=2 * MIB + lie)
        with pytest.raises(UsageError):
            await peer.backend.put(peer.url("up"), body)
        assert await read(peer.backend, peer.url("up")) == b"former"

    async def test_cancelled_put_publishes_nothing(self, peer: Peer) -> None:
        """A cancelled upload leaves the former bytes in place, and the backend usable."""
        peer.plant("up", b"former")
        begun = asyncio.Event()

        class Endless(Bytes):
            async def chunks(self):  # type: ignore[no-untyped-def]
                yield b"x" * 200_000
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(peer.backend.put(peer.url("up"), Endless(b"", size=MIB)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await read(peer.backend, peer.url("up")) == b"former"

    async def test_delete(self, peer: Peer) -> None:
        """A deleted file is gone."""
        peer.plant("a.bin", b"x")
        await peer.backend.delete(peer.url("a.bin"))
        with pytest.raises(NotFoundError):
            await peer.backend.stat(peer.url("a.bin"))

    async def test_delete_if_match(self, peer: Peer) -> None:
        """A deletion of a version that is gone is a conflict."""
        peer.plant("a.bin", b"x")
        info = await peer.backend.stat(peer.url("a.bin"))
        assert info is not None
        peer.plant("a.bin", b"other")
        expected = UploadCondition(if_match=info.etag)
        with pytest.raises(ConflictError):
            await peer.backend.delete(peer.url("a.bin"), condition=expected)
        assert await read(peer.backend, peer.url("a.bin")) == b"other"

    async def test_delete_of_folders(self, peer: Peer) -> None:
        """An empty folder goes; one that is not empty stays as it is."""
        peer.plant("full/a.bin", b"x")
        await peer.backend.make_folder(peer.url("hollow/"))
        await peer.backend.delete(peer.url("hollow/"))
        with pytest.raises(NotFoundError):
            await peer.backend.stat(peer.url("hollow/"))
        with pytest.raises(RemoteError):
            await peer.backend.delete(peer.url("full/"))
        assert await read(peer.backend, peer.url("full/a.bin")) == b"x"

    async def test_make_folder_with_parents_twice(self, peer: Peer) -> None:
        """Folders are made with their parents; existing ones are fine."""
        await peer.backend.make_folder(peer.url("p/q/r/"))
        await peer.backend.make_folder(peer.url("p/q/r/"))
        await peer.backend.make_folder(peer.url("p/"))
        assert [e.name for e in await peer.backend.list(peer.url("p/q/"))] == ["r"]

    async def test_folders_made_at_the_same_time(self, peer: Peer) -> None:
        """Many that make the same parents do not fail."""
        await asyncio.gather(
            *(peer.backend.make_folder(peer.url(f"p/q/{number}/")) for number in range(10))
        )
        names = [e.name for e in await peer.backend.list(peer.url("p/q/"))]
        assert names == sorted(str(n) for n in range(10))
