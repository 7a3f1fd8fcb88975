"""Sound answers with a little damage: every operation ends, with a result or an error of ours."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import netcache
from netcache._core.extent import Extent
from netcache._core.retry import RetryPolicy
from netcache.backends.http import HttpBackend
from netcache.errors import NetCacheError
from tests.conformance.peers import Bytes
from tests.support.http_rig import MakeClient
from tests.support.proxy import Seen, answer, scripted_server

ROUNDS = 120
ONCE = RetryPolicy(attempts=1, first_pause_s=0.0)
DATA = bytes(range(256)) * 40
TAG = '"v1"'
PIECES = (
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b" ",
    b":",
    b"-1",
    b"9" * 19,
    b"0",
    b",",
    b'"',
    b"\x1b[31m",
    b"{",
    b"<a ",
    b"--x",
    b"chunked",
    b"Content-Length: 3\r\n",
    b'ETag: "v2"\r\n',
)


def sound(seen: Seen) -> bytes:
    """What a good server would say."""
    fields = {
        "ETag": TAG,
        "Last_Modified": "Sat, 21 Nov 2020 10:00:00 GMT",
        "Accept_Ranges": "bytes",
    }
    if seen.method == "OPTIONS":
        return answer(
            204, DAV="sabredav-partialupdate", Accept_Patch="application/x-sabredav-partialupdate"
        )
    if seen.method not in ("GET", "HEAD"):
        return answer(204, ETag='"v2"')
    if seen.target.endswith("json/"):
        names = [{"name": f"n{n}", "type": "file", "size": n, "etag": TAG} for n in range(20)]
        return answer(200, json.dumps(names).encode(), Content_Type="application/json")
    if seen.target.endswith("html/"):
        page = "<title>Index of /</title>" + "".join(
            f'<a href="n{n}">n{n}</a> 20-Nov-2026 10:15 {n}\n' for n in range(20)
        )
        return answer(200, page.encode(), Content_Type="text/html")
    ranges = seen.headers.get("range", "").removeprefix("bytes=")
    spans = [part.partition("-") for part in ranges.split(",") if part]
    ends = [
        (int(first or 0), min(int(last or len(DATA)), len(DATA) - 1)) for first, _, last in spans
    ]
    if len(ends) > 1:
        body = b"".join(
            b"--x\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%b\r\n"
            % (a, b, len(DATA), DATA[a : b + 1])
            for a, b in ends
        )
        kind = "multipart/byteranges; boundary=x"
        return answer(206, body + b"--x--\r\n", Content_Type=kind, **fields)
    if ends:
        ((start, last),) = ends
        place = f"bytes {start}-{last}/{len(DATA)}"
        return answer(206, DATA[start : last + 1], Content_Range=place, **fields)
    whole = answer(200, DATA, **fields)
    return whole[: -len(DATA)] if seen.method == "HEAD" else whole


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The same with one to four changes, mostly in its head."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        end = len(result) if chance.random() < 0.3 else min(len(result), 300)
        place = chance.randrange(end + 1)
        match chance.choice(("flip", "insert", "delete", "double", "cut", "swap")):
            case "flip" if place < len(result):
                result[place] = chance.randrange(256)
            case "insert":
                result[place:place] = chance.choice(PIECES)
            case "delete":
                del result[place : place + chance.randint(1, 30)]
            case "double":
                result[place:place] = result[place : place + chance.randint(1, 100)]
            case "cut" if chance.random() < 0.2:
                del result[place:]
            case "swap":
                digit = chance.choice(b"0123456789")
                result[:end] = result[:end].replace(
                    bytes([digit]), chance.choice((b"", b"9", b"77"))
                )
    return bytes(result)


async def _receive(backend: HttpBackend, url: str, extent: Extent | None) -> None:
    reply = await backend.open_read(url, extent)
    got: dict[int, bytes] = {}

    def sink(start: int, view: memoryview) -> None:
        got[start] = bytes(view)

    try:
        await reply.receive(sink)
        if extent is not None and reply.version is not None:
            assert all(extent.start <= start for start in got)
            assert all(start + len(piece) <= extent.end for start, piece in got.items())
    finally:
        await reply.close()


async def _receive_ranges(backend: HttpBackend, url: str) -> None:
    info = await backend.stat(url)
    assert info is not None
    if info.version is None or not info.version.validator.joins_ranges or info.version.size < 5000:
        return
    asked = (Extent(0, 100), Extent(2000, 2100), Extent(4000, 4100))
    reply = await backend.open_ranges(url, asked, expected=info.version)

    def sink(start: int, view: memoryview) -> None:
        end = start + len(view)
        assert any(extent.start <= start and end <= extent.end for extent in asked)

    try:
        await reply.receive(sink)
    finally:
        await reply.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_backend_meets_damaged_answers(make_client: MakeClient, seed: int) -> None:
    """Reads, ranges, listings, metadata and changes: no error but ours, no byte out of place."""
    chance = random.Random(seed)

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readexactly(int(seen.headers.get("content-length", "0")))
        writer.write(damaged(sound(seen), chance))
        writer.close()

    async with scripted_server(script) as server:
        backend = make_client(timeout_s=1.0, retry=ONCE)
        file = server.url + "f"
        operations: list[Callable[[], Awaitable[object]]] = [
            lambda: _receive(backend, file, None),
            lambda: _receive(backend, file, Extent(100, 5000)),
            lambda: _receive_ranges(backend, file),
            lambda: backend.stat(file),
            lambda: backend.list(server.url + "json/"),
            lambda: backend.list(server.url + "html/"),
            lambda: backend.put(file, Bytes(b"data")),
            lambda: backend.learn(file),
            lambda: backend.delete(file),
            lambda: backend.move(file, file + "2"),
            lambda: backend.make_folder(server.url + "folder/"),
        ]
        ended = {"well": 0, "badly": 0}
        for number in range(ROUNDS):
            try:
                await operations[number % len(operations)]()
                ended["well"] += 1
            except NetCacheError as error:
                judge(error)
                ended["badly"] += 1
    assert min(ended.values()) > ROUNDS // 10, ended


def judge(error: NetCacheError) -> None:
    """One short line that can be printed."""
    assert str(error).isprintable(), str(error)
    assert len(str(error)) < 500, str(error)


async def _pread(client: netcache.AsyncClient, url: str) -> None:
    file = await client.open(url, "rb")
    async with file:
        assert len(await file.pread(3000, 100)) <= 3000


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_client_meets_damaged_answers(tmp_path: Path, seed: int) -> None:
    """Opened, read, listed and fetched through a cache: bytes or an error of ours."""
    chance = random.Random(seed)

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        response = sound(seen)
        writer.write(damaged(response, chance) if chance.random() < 0.7 else response)
        writer.close()

    async with scripted_server(script) as server:
        for _ in range(ROUNDS // 6):
            async with netcache.AsyncClient(
                cache_dir=tmp_path / "cache", retries=0, timeout=1.0
            ) as client:
                for operation in (
                    _pread(client, server.url + "f"),
                    client.get(server.url + "f", tmp_path / "target"),
                    client.ls(server.url + "json/"),
                ):
                    try:
                        await operation
                    except NetCacheError as error:
                        judge(error)
