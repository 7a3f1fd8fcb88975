"""Updates of parts that may have been made or not: nothing is lost, and nobody is overwritten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from netcache.errors import ConflictError
from netcache.spi import UploadCondition
from netcache_server import FaultRule
from tests.conformance.peers import read
from tests.conformance.updating_suite import changed, over
from tests.support.http_rig import DATA, MakeClient, Rig
from tests.support.proxy import Seen, answer, scripted_server
from tests.support.updates import ETAG, NEW, PATCH_TYPE, methods

pytestmark = pytest.mark.usefixtures("both_ways")


class TestLostReplies:
    """The update was made, and nobody said so."""

    @pytest.mark.parametrize("start", [0, 7, len(DATA) - 3, len(DATA) + 5])
    @pytest.mark.parametrize("way", ["PATCH", "PUT"])
    async def test_update_is_no_conflict_with_itself(self, rig: Rig, start: int, way: str) -> None:
        """The retry gets 412; the bytes at their place and the size show that it was done.

        Which version the rest of it belongs to is not proved by that, and so not told.
        """
        backend = rig.client()
        condition = await over(backend, rig.url)
        if way == "PUT":
            rig.faults(method=("PATCH",), status=405)
            await backend.learn(rig.url)
        rules = [FaultRule(method=(way,), lose_reply=True, count=1)]
        if way == "PUT":
            rules.append(FaultRule(method=("PATCH",), status=405))
        rig.server.faults.set(rules)
        reply = await backend.update(rig.url, start, NEW, size=len(DATA), condition=condition)
        assert (reply.created, reply.version) == (False, None)
        assert [r["status"] for r in rig.log(way)][-1] == 412
        read_bytes = sum(r["bytes_sent"] for r in rig.log("GET"))
        assert read_bytes == len(NEW)
        assert await read(backend, rig.url) == changed(DATA, start, NEW)


class Store:
    """A server of one file (None: gone), which may or may not be known to mind preconditions.

    ``refuse`` and ``lose_replies`` count down; ``afterwards`` is done after each PATCH.
    """

    def __init__(self, data: bytes | None, *, minds: bool = False) -> None:
        self.data = data
        self.version = 1
        self.minds = minds
        self.lose_replies = 0
        self.refuse = 0
        self.afterwards: Callable[[], None] = lambda: None

    def store(self, data: bytes | None) -> None:
        """A new version."""
        self.data = data
        self.version += 1

    async def __call__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request."""
        body = await reader.readexactly(int(seen.headers.get("content-length", "0")))
        etag = f'"v{self.version}"'
        if seen.method == "OPTIONS":
            program = "netcache_server" if self.minds else "other"
            writer.write(answer(200, Accept_Patch=PATCH_TYPE, Server=program))
        elif seen.method == "PATCH":
            self._patch(seen, body, writer)
            self.afterwards()
        elif self.data is None:
            writer.write(answer(404))
        elif seen.method == "HEAD":
            writer.write(answer(200, ETag=etag, Content_Length=str(len(self.data))))
        else:
            low, high = seen.headers["range"].removeprefix("bytes=").split("-")
            start, end = int(low), int(high) + 1
            where = f"bytes {start}-{end - 1}/{len(self.data)}"
            writer.write(answer(206, self.data[start:end], ETag=etag, Content_Range=where))

    def _patch(self, seen: Seen, body: bytes, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            self.refuse -= 1
            writer.close()
            return
        if self.data is None or (self.minds and seen.headers["if-match"] != f'"v{self.version}"'):
            writer.write(answer(404 if self.data is None else 412))
            return
        start = int(seen.headers["x-update-range"].removeprefix("bytes=").partition("-")[0])
        self.store(changed(self.data, start, body))
        if self.lose_replies:
            self.lose_replies -= 1
            writer.close()
            return
        writer.write(answer(204, ETag=f'"v{self.version}"'))


@pytest.mark.parametrize("minds", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(b"9876543210", id="other bytes"),
        pytest.param(b"01xy456789!", id="our bytes, another size"),
        pytest.param(b"", id="empty"),
        pytest.param(None, id="gone"),
    ],
)
@pytest.mark.parametrize("lost", ["reply", "request"])
async def test_another_writer_came_after_a_doubtful_attempt(
    make_client: MakeClient, lost: str, other: bytes | None, minds: bool
) -> None:
    """What is there then is not what was sent: a conflict, and it stays."""
    store = Store(b"0123456789", minds=minds)
    store.afterwards = lambda: store.store(other)
    store.lose_replies, store.refuse = (1, 0) if lost == "reply" else (0, 1)
    async with scripted_server(store) as server:
        with pytest.raises(ConflictError):
            await make_client().update(server.url + "a", 2, b"xy", size=10, condition=ETAG)
    assert store.data == other
    # A server that does not check the condition is not sent a second attempt.
    assert methods(server).count("PATCH") == (2 if minds else 1)


class TestServersWithoutConditions:
    """The current version is looked at before every attempt."""

    async def test_other_version_is_never_written_over(self, make_client: MakeClient) -> None:
        """Neither another tag nor another size."""
        store = Store(b"0123456789")
        async with scripted_server(store) as server:
            backend = make_client()
            for condition, size in ((UploadCondition(if_match='"v0"'), 10), (ETAG, 9)):
                with pytest.raises(ConflictError):
                    await backend.update(server.url + "a", 0, b"x", size=size, condition=condition)
            assert "PATCH" not in methods(server)

    async def test_attempt_that_did_not_arrive(self, make_client: MakeClient) -> None:
        """The version is still the expected one: it is sent again."""
        store = Store(b"0123456789")
        store.refuse = 1
        async with scripted_server(store) as server:
            reply = await make_client().update(server.url + "a", 2, b"xy", size=10, condition=ETAG)
        assert store.data == b"01xy456789"
        assert reply.version is None
        assert methods(server).count("PATCH") == 2

    async def test_attempt_whose_reply_was_lost(self, make_client: MakeClient) -> None:
        """The bytes are there: done, and not sent again."""
        store = Store(b"0123456789")
        store.lose_replies = 1
        async with scripted_server(store) as server:
            await make_client().update(server.url + "a", 2, b"xy", size=10, condition=ETAG)
        assert store.data == b"01xy456789"
        assert methods(server).count("PATCH") == 1
