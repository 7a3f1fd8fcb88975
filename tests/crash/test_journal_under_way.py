"""``flush`` while an upload is under way: the record says what the server may have."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.bytemodel import pattern
from tests.support.memory_rig import URL, async_rig, sync_client

B = 4096
OLD = pattern(0, 2000 * B)
FAR = 1000 * B
"""Two runs so far apart are sent as two parts."""


def edited(*writes: tuple[int, bytes]) -> bytes:
    """What ``OLD`` is after these."""
    data = bytearray(OLD)
    for start, new in writes:
        data[start : start + len(new)] = new
    return bytes(data)


FIRST, SECOND, LATE = (B, b"f" * 100), (B + FAR, b"s" * 100), (9 * B, b"l" * 100)


@pytest.mark.parametrize("parts", [0, 1, None], ids=["first-part", "second-part", "whole"])
async def test_our_own_upload_is_no_conflict_after_a_kill(
    tmp_path: Path, parts: int | None
) -> None:
    """The record forgot it, and the version that it had made counted as somebody else's."""
    options: dict[str, Any] = {
        "durability": "journal",
        "write_mode": "back",
        "flush_interval": 1000.0,
    }
    cache, left = tmp_path / "cache", tmp_path / "left"
    writes = [FIRST, SECOND]
    async with async_rig(cache, OLD, updates=parts is not None, **options) as rig:
        file = await rig.client.open(URL, "r+b")
        for start, data in writes:
            await file.pwrite(data, start)
        await file.flush()
        held = rig.server.answers.hold(
            "put" if parts is None else "update", skip=parts or 0, after=True
        )
        sending = asyncio.ensure_future(file.fsync())
        await held.arrived.wait()
        if parts is not None:
            writes.append(LATE)
            await file.pwrite(LATE[1], LATE[0])
        await file.flush()
        # As a kill would leave both.
        shutil.copytree(cache / "uploads", left / "uploads")
        files = dict(rig.server.files)
        held.release()
        await sending
        await file.close()
        assert rig.data == edited(*writes)
    assert files[URL].data == edited(*[FIRST, SECOND][: 1 if parts == 0 else 2])
    rig.server.files = files
    rig.server.requests.clear()
    with sync_client(left, rig.server) as client:
        assert [done.error for done in client.edits.recover()] == [None]
    assert rig.data == edited(*writes)
    sent = [line for line in rig.server.requests if line.startswith(("put ", "update "))]
    assert len(sent) == {None: 0, 0: 2, 1: 1}[parts], "what has arrived is not sent again"
