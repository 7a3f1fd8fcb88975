"""Random edits, uploads that lose their replies, and a kill: what ``flush`` returned for arrives.

Nobody else writes, so nothing may be taken for a conflict.  ``NETCACHE_CRASH_EDITS`` says how many
runs there are; each is named by its seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import netcache
from tests.support.bytemodel import pattern
from tests.support.memory_rig import URL, AsyncRig, async_rig, sync_client

B = 4096
OLD = pattern(0, 20 * B)
OPTIONS: dict[str, Any] = {
    "durability": "journal",
    "write_mode": "back",
    "flush_interval": 1000.0,
    "retries": 0,
}
RUNS = int(os.environ.get("NETCACHE_CRASH_EDITS", "60"))


class Editor:
    """Edits a file and a model of it."""

    def __init__(self, rig: AsyncRig, file: netcache.AsyncFile, verb: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.model = bytearray(OLD)
        self._rig, self._file, self._verb = rig, file, verb

    async def write(self) -> None:
        """Anywhere, also behind the end."""
        start = self.chance.randrange(28 * B)
        data = self.chance.randbytes(self.chance.randrange(1, 3 * B))
        await self._file.pwrite(data, start)
        self.model.extend(bytes(max(0, start - len(self.model))))
        self.model[start : start + len(data)] = data

    async def cut(self) -> None:
        """Or extend."""
        size = self.chance.randrange(28 * B)
        await self._file.truncate(size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    async def change(self, most: int, *, cuts: bool = True) -> None:
        """Some of these, and ``flush``."""
        for _ in range(self.chance.randint(0, most)):
            await (self.cut() if cuts and self.chance.random() < 0.35 else self.write())
        await self._file.flush()

    async def upload(self) -> tuple[asyncio.Future[None], Any]:
        """Begin one that stands still before or after the server has it, if there is anything."""
        held = self._rig.server.answers.hold(self._verb, after=self.chance.random() < 0.6)
        sending = asyncio.ensure_future(self._file.fsync())
        arriving = asyncio.ensure_future(held.arrived.wait())
        await asyncio.wait([sending, arriving], return_when=asyncio.FIRST_COMPLETED)
        arriving.cancel()
        return sending, held

    async def lose(self) -> None:
        """An upload whose reply nobody hears."""
        sending, held = await self.upload()
        held.release(netcache.TransientError("no reply came"))
        await asyncio.gather(sending, return_exceptions=True)
        self._rig.server.answers.clear()


@pytest.mark.parametrize("verb", ["update", "put"])
@pytest.mark.parametrize("seed", range(RUNS))
async def test_what_was_flushed_is_uploaded_after_a_kill(
    tmp_path: Path, verb: str, seed: int
) -> None:
    """Whatever was sent before, has arrived or not, and was written or cut again."""
    cache, left = tmp_path / "cache", tmp_path / "left"
    async with async_rig(cache, OLD, updates=verb == "update", **OPTIONS) as rig:
        file = await rig.client.open(URL, "r+b")
        editor = Editor(rig, file, verb, seed)
        await editor.change(2)
        for _ in range(editor.chance.randint(0, 2)):
            await editor.lose()
            await editor.change(3)
        sending: asyncio.Future[None] | None = None
        if editor.chance.random() < 0.6:
            sending, held = await editor.upload()
            # A cut would wait for the upload.
            await editor.change(2, cuts=False)
        (cache / "uploads").mkdir(exist_ok=True)
        shutil.copytree(cache / "uploads", left / "uploads")
        files = dict(rig.server.files)
        if sending is not None:
            held.release()
            await sending
        await file.close()
        assert rig.data == editor.model
    rig.server.files = files
    with sync_client(left, rig.server) as client:
        assert [done.error for done in client.edits.recover() if done.error] == []
    assert rig.data == editor.model
