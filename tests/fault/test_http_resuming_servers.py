"""Uploads to servers that cannot go on with one, forget it, or lie about it: they go plainly."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from netcache.errors import TransientError
from netcache.spi import UNCONDITIONAL, UploadCondition
from netcache.spi_resumable import UploadTicket
from tests.support.http_rig import MIB, MakeClient, Rig, running_rig
from tests.support.proxy import Seen, answer, scripted_server
from tests.support.resuming import (
    ABSENT,
    DATA,
    RESUMABLE_MIN,
    SIZE,
    Source,
    interrupted,
    left,
    once,
    received,
    stored,
    up,
)

pytestmark = pytest.mark.usefixtures("both_ways")


async def test_an_upload_that_the_server_has_forgotten_begins_anew(
    rig: Rig, source: Source
) -> None:
    """All of it is sent, once."""
    await interrupted(rig, source, 2 * MIB)
    for path in (rig.root / ".netcache-part-uploads").iterdir():
        path.unlink()
    await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert received(rig) == SIZE
    assert (source.records, left(rig)) == ([], [])


async def test_a_server_that_forgets_again_and_again_gets_it_plainly(
    rig: Rig, source: Source
) -> None:
    """Bounded."""
    rig.faults(method=("PATCH",), status=404)
    await rig.client().put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert len(rig.log("PATCH")) == 3
    assert [record["bytes_received"] for record in rig.log("PUT")] == [0, 0, 0, SIZE]


async def test_servers_without_it_get_one_question_a_day(tmp_path: Path, source: Source) -> None:
    """And then uploads as ever, by later backends too."""
    root = tmp_path / "served"
    root.mkdir()
    async with running_rig(root, resumable_uploads=False) as rig:
        backend = rig.client()
        for _ in range(2):
            await backend.put(up(rig), source.body(up(rig)))
        assert [record["method"] for record in rig.log()] == ["OPTIONS", "PUT", "PUT"]
        later = rig.client()
        later.recall(backend.remembered(1000.0), 2000.0)
        await later.put(up(rig), source.body(up(rig)))
        assert len(rig.log("OPTIONS")) == 1
        assert source.records == []


async def test_an_announcement_is_not_remembered(rig: Rig, source: Source) -> None:
    """A server in its place that knows nothing of it would take the beginning for the whole."""
    backend = rig.client()
    await backend.put(up(rig), source.body(up(rig)))
    later = rig.client()
    later.recall(backend.remembered(1000.0), 2000.0)
    assert later.capabilities(up(rig)).patch is True
    await later.put(up(rig), source.body(up(rig)))
    assert len(rig.log("OPTIONS")) == 2


async def test_small_files_ask_nothing(rig: Rig, source: Source) -> None:
    """Below the size from which it pays, nothing is different."""
    os.truncate(source.path, RESUMABLE_MIN - 1)
    await rig.client().put(up(rig), source.body(up(rig)), condition=UploadCondition())
    assert [record["method"] for record in rig.log()] == ["PUT"]


@pytest.mark.parametrize("limit", ["max-size=1000", "min-size=99999999999", "x", "max-size=-1", ""])
async def test_limits_of_the_server_hold(rig: Rig, source: Source, limit: str) -> None:
    """What does not fit, or cannot be read, is sent plainly."""
    rig.faults(method=("OPTIONS",), headers={"Upload-Limit": limit})
    await rig.client().put(up(rig), source.body(up(rig)), condition=UploadCondition())
    expected = ["OPTIONS", "PUT", "PATCH"] if limit == "x" else ["OPTIONS", "PUT"]
    assert [record["method"] for record in rig.log()] == expected
    assert stored(rig) == DATA


@pytest.mark.parametrize("status", [400, 405, 415, 501])
async def test_a_server_that_takes_beginnings_and_no_more_is_believed_once(
    rig: Rig, source: Source, status: int
) -> None:
    """It announces more than it does; the next file goes plainly at once."""
    rig.faults(method=("PATCH",), status=status)
    backend = rig.client()
    await backend.put(up(rig), source.body(up(rig)))
    rig.server.clear_log()
    await backend.put(up(rig), source.body(up(rig)))
    assert [record["method"] for record in rig.log()] == ["PUT"]
    assert stored(rig) == DATA
    assert source.records == []


class Liar:
    """A server that announces resumable uploads, and says of them what it likes."""

    def __init__(self, *offsets: str, location: str = "/uploads/1", status: int = 201) -> None:
        self.offsets = list(offsets)
        self.location = location
        self.status = status
        self.plain = 0

    async def __call__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One request."""
        length = int(seen.headers.get("content-length", "0"))
        if seen.method == "OPTIONS":
            writer.write(answer(204, Upload_Limit="min-size=0"))
        elif seen.headers.get("upload-complete") == "?0":
            writer.write(answer(self.status, Location=self.location))
        elif seen.method == "PUT":
            while length:
                length -= len(await reader.read(min(length, MIB)))
            self.plain += 1
            writer.write(answer(201, ETag='"v1"'))
        elif seen.method == "PATCH":
            await reader.readexactly(min(length, MIB))
            writer.close()
        elif seen.method == "HEAD" and "uploads" in seen.target:
            offset = self.offsets.pop(0) if len(self.offsets) > 1 else self.offsets[0]
            writer.write(answer(204, Upload_Offset=offset, Upload_Complete="?0"))
        elif seen.method == "HEAD":
            writer.write(answer(404))
        else:
            writer.write(answer(204))


@pytest.mark.parametrize(
    "liar",
    [
        Liar(str(SIZE + 1)),
        Liar(str(SIZE)),
        Liar("9" * 15),
        Liar("9" * 30),
        Liar("-1"),
        Liar("x"),
        Liar(""),
        Liar("500", "400"),
        Liar("0", location="http://elsewhere.invalid/uploads/1"),
        Liar("0", location="//elsewhere.invalid/uploads/1"),
        Liar("0", location="http://user:password@elsewhere.invalid/x"),
        Liar("0", location=""),
        Liar("0", location="file:///etc/passwd"),
        Liar("0", location="http://[/"),
        Liar("0", status=204),
        Liar("0", status=200),
        Liar("0", status=403),
        Liar("0", status=501),
    ],
)
async def test_a_server_that_contradicts_itself_gets_it_plainly(
    make_client: MakeClient, source: Source, liar: Liar
) -> None:
    """Offsets that cannot be, locations elsewhere: one plain upload, and nothing is followed."""
    liar = Liar(*liar.offsets, location=liar.location, status=liar.status)
    async with scripted_server(liar) as server:
        url = server.url + "up"
        reply = await make_client(timeout_s=2.0).put(url, source.body(url))
        assert reply.version is not None
        assert liar.plain == 1
        assert len(server.seen) < 12
    assert source.records == []


@pytest.mark.parametrize("kept", [True, False])
async def test_nothing_is_deleted_that_is_no_upload(
    make_client: MakeClient, source: Source, kept: bool
) -> None:
    """A location, or a record of one, may lead to something else of the same server."""
    liar = Liar("")
    async with scripted_server(liar) as server:
        url = server.url + "up"
        if kept:
            ticket = UploadTicket(server.url + "uploads/precious", UNCONDITIONAL)
            await source.body(url).keep_ticket(ticket)
            os.utime(source.path, ns=(1, 1))
        await make_client(timeout_s=2.0).put(url, source.body(url))
        methods = [seen.method for seen in server.seen]
        assert "HEAD" in methods
        assert "DELETE" not in methods
    assert liar.plain == 1


async def test_a_server_that_creeps_on_is_given_up(make_client: MakeClient, source: Source) -> None:
    """A byte more each time is no progress: attempts stay bounded."""
    liar = Liar(*(str(count) for count in range(1, 100)))
    async with scripted_server(liar) as server:
        url = server.url + "up"
        with pytest.raises(TransientError):
            await make_client(timeout_s=2.0).put(url, source.body(url))
        assert len(server.seen) < 20


async def test_a_record_that_leads_elsewhere_is_not_followed(
    make_client: MakeClient, source: Source
) -> None:
    """A location of another origin gets neither bytes nor credentials."""
    async with (
        scripted_server(Liar("0", status=501)) as server,
        scripted_server(Liar("0")) as elsewhere,
    ):
        url = server.url + "up"
        ticket = UploadTicket(elsewhere.url + "uploads/1", UNCONDITIONAL)
        await source.body(url).keep_ticket(ticket)
        body = source.body(url)
        assert body.ticket == ticket
        await make_client(token="secret").put(url, body)
        assert elsewhere.seen == []
    assert source.records == []
