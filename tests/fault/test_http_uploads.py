"""Uploads over servers and networks that fail: no double, no lost, no half and no wrong bytes."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from netcache._core.retry import RetryPolicy
from netcache.backends.http import HttpBackend
from netcache.backends.http_fields import sha256_field
from netcache.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    RemoteError,
    TransientError,
)
from netcache.spi import UploadCondition
from netcache_server import FaultRule
from tests.conformance.peers import Bytes, Collector, HeldBytes, pattern
from tests.support.http_rig import DATA, MIB, MakeClient, Rig, running_rig
from tests.support.proxy import Seen, answer, scripted_server

pytestmark = pytest.mark.usefixtures("both_ways")

ABSENT = UploadCondition(if_absent=True)
ONCE = RetryPolicy(attempts=1)


async def stored(backend: HttpBackend, url: str) -> bytes:
    """What is at the server."""
    collector = Collector()
    await (await backend.open_read(url)).receive(collector)
    return bytes(collector.data)


def up(rig: Rig) -> str:
    """Where these tests upload to."""
    return rig.server.url + "up"


class TestLostReplies:
    """The upload was done, and nobody said so."""

    @pytest.mark.parametrize("size", [0, 1000, 3 * MIB])
    async def test_conditional_upload_is_no_conflict_with_itself(self, rig: Rig, size: int) -> None:
        """The retry finds its own bytes: done, with the version that is there."""
        backend = rig.client()
        rig.faults(method=("PUT",), lose_reply=True, count=1)
        body = Bytes(DATA[:size])
        reply = await backend.put(up(rig), body, condition=ABSENT)
        assert reply.created
        info = await backend.stat(up(rig))
        assert info is not None
        assert reply.version == info.version
        assert [r["status"] for r in rig.log("PUT")][-1] == 412
        assert await stored(backend, up(rig)) == body.whole

    async def test_without_digests_the_bytes_are_compared(self, rig: Rig) -> None:
        """A server that tells no digest is read."""
        backend = rig.client()
        rig.server.faults.set(
            [
                FaultRule(method=("PUT",), lose_reply=True, count=1),
                FaultRule(remove_headers=("Repr-Digest", "Want-Content-Digest")),
            ]
        )
        assert (await backend.put(up(rig), Bytes(DATA), condition=ABSENT)).created
        assert len(rig.log("GET")) == 1

    @pytest.mark.parametrize("size", [len(DATA), 17])
    async def test_other_bytes_are_a_conflict(self, rig: Rig, size: int) -> None:
        """Another writer came first: what is there is not ours."""
        backend = rig.client()
        rig.plant("up", pattern(size, seed=1))
        rig.faults(method=("PUT",), refuse=True, count=1)
        other = await backend.stat(rig.url)
        assert other is not None
        with pytest.raises(ConflictError):
            await backend.put(up(rig), Bytes(DATA), condition=ABSENT)
        assert await stored(backend, up(rig)) == pattern(size, seed=1)

    async def test_replacement_whose_reply_was_lost(self, rig: Rig) -> None:
        """The same for an upload over a known version."""
        backend = rig.client()
        info = await backend.stat(rig.url)
        assert info is not None
        rig.faults(method=("PUT",), lose_reply=True, count=1)
        over = UploadCondition(if_match=info.etag)
        reply = await backend.put(rig.url, Bytes(b"new bytes"), condition=over)
        assert not reply.created
        assert await stored(backend, rig.url) == b"new bytes"

    async def test_deletion_whose_reply_was_lost(self, rig: Rig) -> None:
        """It is gone: done, with and without a condition."""
        backend = rig.client()
        for condition in (UploadCondition(), UploadCondition(if_match="*")):
            rig.plant("gone", b"x")
            rig.faults(method=("DELETE",), lose_reply=True, count=1)
            await backend.delete(rig.server.url + "gone", condition=condition)
        rig.faults()
        with pytest.raises(NotFoundError):
            await backend.delete(rig.server.url + "gone")


class TestRetries:
    """Bodies that are sent again, or cannot be."""

    @pytest.mark.parametrize(
        "effects",
        [
            {"upload_cut_after": MIB},
            {"upload_cut_after": MIB, "reset": True},
            {"refuse": True},
            {"status": 503},
            {"status": 500},
        ],
    )
    async def test_replayable_body_is_sent_again(self, rig: Rig, effects: dict[str, Any]) -> None:
        """Two failures, then all of it arrives."""
        rig.faults(method=("PUT",), **effects, count=2)
        await rig.client().put(up(rig), Bytes(DATA))
        assert await stored(rig.client(), up(rig)) == DATA

    async def test_body_that_cannot_be_replayed_is_not_sent_twice(self, rig: Rig) -> None:
        """A failure in its middle comes out, and nothing is published."""
        rig.faults(method=("PUT",), upload_cut_after=MIB)
        body = Bytes(DATA, replayable=False)
        with pytest.raises(TransientError):
            await rig.client().put(up(rig), body)
        assert body.passes == 1
        with pytest.raises(NotFoundError):
            await rig.client().stat(up(rig))

    async def test_body_that_cannot_be_replayed_is_not_begun_in_vain(self, rig: Rig) -> None:
        """As long as none of it was read, another attempt is possible."""
        rig.faults(method=("PUT",), refuse=True, count=2)
        body = Bytes(DATA, size=None, replayable=False)
        await rig.client().put(up(rig), body)
        assert body.passes == 1
        assert await stored(rig.client(), up(rig)) == DATA

    async def test_lasting_refusal_is_not_retried(self, rig: Rig) -> None:
        """One request, one error."""
        rig.faults(method=("PUT",), status=507)
        with pytest.raises(RemoteError, match="no space"):
            await rig.client().put(up(rig), Bytes(DATA))
        assert len(rig.log("PUT")) == 1


class TestDigests:
    """What is sent, asked and compared."""

    async def test_memory_bodies_bear_their_digest(self, make_client: MakeClient) -> None:
        """The server can check what it gets; streamed ones ask for what it has."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await reader.readexactly(int(seen.headers["content-length"]))
            writer.write(answer(201))

        async with scripted_server(script) as server:
            backend = make_client()
            await backend.put(server.url + "a", HeldBytes(b"hello"))
            digest = sha256_field(hashlib.sha256(b"hello").digest())
            assert server.seen[0].headers["content-digest"] == digest
            assert "want-repr-digest" in server.seen[0].headers
            await backend.put(server.url + "b", Bytes(b"hello"))
            assert "content-digest" not in server.seen[1].headers
            assert "want-repr-digest" not in server.seen[1].headers
            assert backend.capabilities(server.url).digests is False

    async def test_digest_of_a_streamed_body_is_compared(self, rig: Rig) -> None:
        """The server stored what was sent, and said so."""
        backend = rig.client()
        await backend.put(up(rig), Bytes(DATA))
        assert backend.capabilities(up(rig)).digests is True
        wrong = sha256_field(hashlib.sha256(b"other").digest())
        rig.faults(method=("PUT",), headers={"Repr-Digest": wrong})
        with pytest.raises(IntegrityError, match="other bytes"):
            await backend.put(up(rig), Bytes(DATA))

    async def test_body_spoilt_on_the_way(self, make_client: MakeClient, rig: Rig) -> None:
        """Bytes that change between us and the server are not taken for stored."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            body = await reader.readexactly(int(seen.headers["content-length"]))
            spoilt = hashlib.sha256(body[:-1] + b"?").digest()
            writer.write(answer(201, ETag='"x"', Repr_Digest=sha256_field(spoilt)))

        async with scripted_server(script) as server:
            with pytest.raises(IntegrityError):
                await make_client().put(server.url + "up", Bytes(DATA[:100_000]))


class TestServersWithoutConditions:
    """Servers that do not mind preconditions of uploads (nginx)."""

    async def test_the_condition_is_checked_here(self, make_client: MakeClient) -> None:
        """The current version is asked for first; what does not fit is never sent."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await reader.readexactly(int(seen.headers.get("content-length", "0")))
            writer.write(answer(200, ETag='"v2"') if seen.method == "HEAD" else answer(204))

        async with scripted_server(script) as server:
            backend, url = make_client(), server.url + "up"
            for condition in (ABSENT, UploadCondition(if_match='"v1"')):
                with pytest.raises(ConflictError):
                    await backend.put(url, Bytes(b"x"), condition=condition)
            with pytest.raises(ConflictError):
                await backend.delete(url, condition=UploadCondition(if_match='"v1"'))
            assert {seen.method for seen in server.seen} == {"HEAD"}
            await backend.put(url, Bytes(b"x"), condition=UploadCondition(if_match='"v2"'))

    async def test_servers_that_mind_them_are_not_asked_twice(self, rig: Rig) -> None:
        """Once it is known, an upload is one request."""
        backend = rig.client()
        info = await backend.stat(rig.url)
        assert info is not None
        rig.server.clear_log()
        await backend.put(rig.url, Bytes(b"x"), condition=UploadCondition(if_match=info.etag))
        assert [r["method"] for r in rig.log()] == ["PUT"]


class TestFolders:
    """MKCOL, and servers without it."""

    async def test_server_without_mkcol(self, rig: Rig) -> None:
        """A PUT of the folder serves; the server is not asked for MKCOL again."""
        backend = rig.client()
        rig.faults(method=("MKCOL",), status=405)
        await backend.make_folder(rig.server.url + "p/q/")
        await backend.make_folder(rig.server.url + "r/")
        assert [e.name for e in await backend.list(rig.server.url)] == ["a.bin", "p", "r"]
        assert len(rig.log("MKCOL")) == 1

    async def test_file_in_the_way(self, rig: Rig) -> None:
        """A file where a folder is wanted is an error, not silence."""
        with pytest.raises(RemoteError):
            await rig.client().make_folder(rig.url + "/")
        with pytest.raises(RemoteError):
            await rig.client().make_folder(rig.url + "/below/")

    async def test_forbidden(self, tmp_path: Path) -> None:
        """A server that takes nothing says so."""
        async with running_rig(tmp_path, read_only=True) as rig:
            for asked in (
                rig.client().make_folder(rig.server.url + "p/"),
                rig.client().put(up(rig), Bytes(b"x")),
                rig.client().delete(rig.url),
            ):
                with pytest.raises(RemoteError):
                    await asked
