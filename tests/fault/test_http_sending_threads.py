"""Threads that send files: whoever closes what they read and write has waited for their end.

A descriptor that is closed under a thread may be another file's by the time that it is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache._core.urls import parse
from netcache._netfs.bodies import FileBody
from netcache._netfs.tee import Tee
from netcache.errors import RemoteError
from netcache.spi import FileRun, UploadCondition
from tests.support.http_rig import MIB, MakeClient
from tests.support.proxy import Seen, answer, scripted_server

pytestmark = pytest.mark.usefixtures("both_ways")

SIZE = 48 * MIB
"""More than a connection takes that nobody reads from."""


class Workers(ThreadPoolExecutor):
    """Worker threads; ``busy`` counts what they have begun and not ended."""

    def __init__(self) -> None:
        super().__init__(max_workers=8)
        self.busy = 0
        self._lock = threading.Lock()

    def submit(self, work: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        """Do ``work``, counted."""

        def counted() -> Any:
            self._count(1)
            try:
                return work(*arguments, **options)
            finally:
                self._count(-1)

        return super().submit(counted)

    def _count(self, change: int) -> None:
        with self._lock:
            self.busy += change


class Body(FileBody):
    """An open file as a body, without a cache; ``busy_at_end`` has for each of its passes how many
    threads were at work when it was ended."""

    def __init__(self, fd: int, workers: Workers) -> None:
        super().__init__(fd, SIZE, Tee(None, parse("http://x/"), hashing=False), lambda _: None)
        self._workers = workers
        self.busy_at_end: list[int] = []

    async def runs(self) -> AsyncIterator[FileRun]:
        """Runs that need no thread before they are sent, so there are no others at work."""
        assert isinstance(self._path, int)
        try:
            for start in range(0, SIZE, SIZE // 2):
                yield FileRun(self._path, start, start + SIZE // 2)
        finally:
            self.busy_at_end.append(self._workers.busy)


@pytest.fixture
async def workers() -> Workers:
    """What the loop of the test does its blocking work on."""
    made = Workers()
    asyncio.get_running_loop().set_default_executor(made)
    return made


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    """An open file."""
    path = tmp_path / "source"
    path.touch()
    os.truncate(path, SIZE)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


class Refusing:
    """A server that answers when the first byte of a body has come, and reads no more of it."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    async def __call__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """The next answer."""
        await reader.readexactly(1)
        writer.write(self._answers.pop(0))
        await writer.drain()
        await asyncio.Event().wait()


TOO_LARGE = answer(413, b"too large")
ANSWERS = {
    "whole": [TOO_LARGE],
    "without_a_body": [answer(413)],
    "success": [answer(201)],
    "later": [answer(503), answer(503), TOO_LARGE],
}


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
async def test_an_early_answer_is_told_when_nobody_sends_any_more(
    make_client: MakeClient, workers: Workers, source: int, answers: list[bytes]
) -> None:
    """The caller closes the file next; and an attempt begins when the one before it is over."""
    body = Body(source, workers)
    async with scripted_server(Refusing(*answers)) as server:
        with pytest.raises(RemoteError):
            await make_client().put(server.url + "up", body, condition=UploadCondition())
        assert workers.busy == 0
    assert body.busy_at_end == [0] * len(answers)


async def test_an_upload_that_is_cancelled_twice_ends_when_nobody_sends_any_more(
    make_client: MakeClient, workers: Workers, source: int
) -> None:
    """Impatience does not close a file under its reader either."""
    begun = asyncio.Event()

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readexactly(1)
        begun.set()
        await asyncio.Event().wait()

    body = Body(source, workers)
    async with scripted_server(script) as server:
        sending = asyncio.ensure_future(
            make_client().put(server.url + "up", body, condition=UploadCondition())
        )
        await begun.wait()
        while not sending.done():
            sending.cancel()
            await asyncio.sleep(0)
        assert workers.busy == 0
        assert sending.cancelled()
    assert body.busy_at_end == [0]


async def test_a_put_that_is_answered_early_leaves_no_thread_and_no_descriptor(
    workers: Workers, tmp_path: Path
) -> None:
    """Neither the thread that sends nor the one that keeps for the cache; nor what they had."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if seen.method != "PUT":
            writer.write(answer(404))
            return
        # In the second run, which is kept while it is sent.
        await reader.readexactly(SIZE // 2)
        writer.write(TOO_LARGE)
        await writer.drain()
        await asyncio.Event().wait()

    async with (
        scripted_server(script) as server,
        netcache.AsyncClient(cache_dir=tmp_path / "cache", retries=0) as client,
    ):
        with pytest.raises(RemoteError, match="too large"):
            await client.put(path, server.url + "up")
        keepers = [t.name for t in threading.enumerate() if t.name == "netcache-keeper"]
        assert (workers.busy, keepers, sent_and_open(tmp_path)) == (0, [], [])


async def test_a_put_that_is_cancelled_again_and_again_leaves_no_descriptor(tmp_path: Path) -> None:
    """Nor its copy for the cache, which took room until the process ended."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    begun = asyncio.Event()

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if seen.method != "PUT":
            writer.write(answer(404))
            return
        await reader.readexactly(SIZE // 2)
        begun.set()
        await asyncio.Event().wait()

    async with (
        scripted_server(script) as server,
        netcache.AsyncClient(cache_dir=tmp_path / "cache", retries=0) as client,
    ):
        putting = asyncio.ensure_future(client.put(path, server.url + "up"))
        await begun.wait()
        while not putting.done():
            putting.cancel()
            await asyncio.sleep(0)
        assert putting.cancelled()
        assert sent_and_open(tmp_path) == []


def sent_and_open(folder: Path) -> list[str]:
    """What this process still has open of an upload: the file, and its nameless copy."""
    names = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
    ours = [name for name in names if name.startswith(f"{folder}/")]
    return [name for name in ours if name.endswith(("/file", " (deleted)"))]
