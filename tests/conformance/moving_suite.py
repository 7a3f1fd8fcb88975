"""The part of the conformance suite that gives resources new names."""

from __future__ import annotations

import asyncio

import pytest

from netcache.errors import ConflictError, NetCacheError, NotFoundError, NotOfferedError, UsageError
from netcache.spi import Backend, UploadCondition
from tests.conformance.peers import Peer, read


async def is_there(backend: Backend, url: str) -> bool:
    """Whether something is at ``url``."""
    try:
        await backend.stat(url)
    except NotFoundError:
        return False
    return True


class MovingSuite:
    """Where resources get new names."""

    @pytest.mark.parametrize("overwrite", [False, True])
    async def test_move_a_file(self, peer: Peer, overwrite: bool) -> None:
        """The bytes are at the new name, nothing at the old one."""
        peer.plant("a.bin", b"bytes")
        await peer.backend.move(peer.url("a.bin"), peer.url("b.bin"), overwrite=overwrite)
        assert await read(peer.backend, peer.url("b.bin")) == b"bytes"
        assert not await is_there(peer.backend, peer.url("a.bin"))

    async def test_move_makes_missing_folders(self, peer: Peer) -> None:
        """Like an upload."""
        peer.plant("a.bin", b"bytes")
        await peer.backend.move(peer.url("a.bin"), peer.url("x/y/z/b.bin"))
        assert await read(peer.backend, peer.url("x/y/z/b.bin")) == b"bytes"

    async def test_move_odd_names(self, peer: Peer) -> None:
        """Encoded names arrive as the names that they mean."""
        peer.plant("n/ä b", b"bytes")
        await peer.backend.move(peer.url("n/%C3%A4%20b"), peer.url("n/a%20b%25%23%3F%C3%A4"))
        assert [e.name for e in await peer.backend.list(peer.url("n/"))] == ["a b%#?ä"]

    async def test_move_over_a_file(self, peer: Peer) -> None:
        """Only when that is wanted."""
        peer.plant("a.bin", b"new")
        peer.plant("b.bin", b"old")
        with pytest.raises(ConflictError):
            await peer.backend.move(peer.url("a.bin"), peer.url("b.bin"))
        assert await read(peer.backend, peer.url("b.bin")) == b"old"
        await peer.backend.move(peer.url("a.bin"), peer.url("b.bin"), overwrite=True)
        assert await read(peer.backend, peer.url("b.bin")) == b"new"
        assert not await is_there(peer.backend, peer.url("a.bin"))

    @pytest.mark.parametrize("slash", ["", "/"])
    async def test_move_a_folder(self, peer: Peer, slash: str) -> None:
        """All that lies in it goes with it, however the URLs are spelled."""
        peer.plant("d/a.bin", b"1")
        peer.plant("d/e/b.bin", b"2")
        kind = await peer.backend.move(peer.url("d" + slash), peer.url("f/g"))
        assert kind == "directory"
        assert await read(peer.backend, peer.url("f/g/a.bin")) == b"1"
        assert await read(peer.backend, peer.url("f/g/e/b.bin")) == b"2"
        assert not await is_there(peer.backend, peer.url("d/"))

    @pytest.mark.parametrize("overwrite", [False, True])
    async def test_folders_and_files_do_not_give_way(self, peer: Peer, overwrite: bool) -> None:
        """A folder is never moved over anything, and nothing over a folder."""
        peer.plant("a.bin", b"0")
        peer.plant("d/x", b"1")
        peer.plant("e/y", b"2")
        await peer.backend.make_folder(peer.url("hollow/"))
        for source, target in (("d", "e"), ("d", "a.bin"), ("a.bin", "d"), ("d", "hollow")):
            with pytest.raises(ConflictError):
                await peer.backend.move(peer.url(source), peer.url(target), overwrite=overwrite)
        assert await read(peer.backend, peer.url("a.bin")) == b"0"
        assert await read(peer.backend, peer.url("d/x")) == b"1"
        assert await read(peer.backend, peer.url("e/y")) == b"2"

    async def test_move_if_match(self, peer: Peer) -> None:
        """The condition is about what is moved."""
        peer.plant("a.bin", b"first")
        info = await peer.backend.stat(peer.url("a.bin"))
        assert info is not None
        condition = UploadCondition(if_match=info.etag)
        peer.plant("a.bin", b"second!")
        for backend in (peer.backend, peer.second()):
            with pytest.raises(ConflictError):
                await backend.move(peer.url("a.bin"), peer.url("b.bin"), condition=condition)
        assert await read(peer.backend, peer.url("a.bin")) == b"second!"
        assert not await is_there(peer.backend, peer.url("b.bin"))
        info = await peer.backend.stat(peer.url("a.bin"))
        assert info is not None
        condition = UploadCondition(if_match=info.etag)
        await peer.backend.move(peer.url("a.bin"), peer.url("b.bin"), condition=condition)
        assert await read(peer.backend, peer.url("b.bin")) == b"second!"

    async def test_move_of_nothing(self, peer: Peer) -> None:
        """What does not exist is not found."""
        for source in ("none", "none/"):
            with pytest.raises(NotFoundError):
                await peer.backend.move(peer.url(source), peer.url("b"))

    async def test_names_that_cannot_be(self, peer: Peer) -> None:
        """Another origin, the same name, a name inside itself: the caller's mistakes."""
        peer.plant("d/a", b"1")
        for source, target in (
            ("d", "http://elsewhere.invalid/d"),
            ("d/a", peer.url("d/a")),
            ("d", peer.url("d/")),
            ("d", peer.url("d/e/f")),
        ):
            with pytest.raises(UsageError):
                await peer.backend.move(peer.url(source), target)
        assert await read(peer.backend, peer.url("d/a")) == b"1"

    async def test_of_many_moves_of_one_file_one_is_done(self, peer: Peer) -> None:
        """At the same time, to different names."""
        peer.plant("a.bin", b"bytes")
        found = await asyncio.gather(
            *(peer.backend.move(peer.url("a.bin"), peer.url(f"to{n}")) for n in range(8)),
            return_exceptions=True,
        )
        assert [one for one in found if not isinstance(one, NetCacheError)] == ["file"]
        names = [entry.name for entry in await peer.backend.list(peer.url(""))]
        assert len(names) == 1


class FixedNamesSuite:
    """Where names stay."""

    async def test_move_is_refused(self, peer: Peer) -> None:
        """Nothing is changed."""
        peer.plant("a.bin", b"bytes")
        with pytest.raises(NotOfferedError):
            await peer.backend.move(peer.url("a.bin"), peer.url("b.bin"))
        assert await read(peer.backend, peer.url("a.bin")) == b"bytes"
        assert not await is_there(peer.backend, peer.url("b.bin"))
