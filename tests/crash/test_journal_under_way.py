"""``flush`` while an upload is under way: the record says what the server may have."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

import netcache
from tests.support.bytemodel import pattern
from tests.support.memory_rig import URL, async_rig, sync_client, turns

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


OPTIONS: dict[str, Any] = {
    "durability": "journal",
    "write_mode": "back",
    "flush_interval": 1000.0,
    "retries": 0,
}
FIRST, SECOND, LATE = (B, b"f" * 100), (B + FAR, b"s" * 100), (9 * B, b"l" * 100)


@pytest.mark.parametrize("parts", [0, 1, None], ids=["first-part", "second-part", "whole"])
async def test_our_own_upload_is_no_conflict_after_a_kill(
    tmp_path: Path, parts: int | None
) -> None:
    """The record forgot it, and the version that it had made counted as somebody else's."""
    cache, left = tmp_path / "cache", tmp_path / "left"
    writes = [FIRST, SECOND]
    async with async_rig(cache, OLD, updates=parts is not None, **OPTIONS) as rig:
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


Changes = list[tuple[str, bytes, int]]
AGAIN: dict[str, Changes] = {
    "the-same-bytes": [("write", b"g" * 100, B)],
    "beside-them": [("write", b"g" * 100, B + 200)],
    "elsewhere": [("write", b"g" * 100, 9 * B)],
    "without-a-flush": [("write", b"g" * 100, B), ("kill", b"", 0)],
    "a-cut": [("cut", b"", B + 10), ("write", b"g" * 100, 9 * B)],
    "all-of-it-cut": [("cut", b"", 10), ("write", b"g" * 10, 4 * B)],
}
WAYS = pytest.mark.parametrize("verb", ["update", "put"])


async def change(file: netcache.AsyncFile, expected: bytearray, changes: Changes) -> bool:
    """Write and cut; returns whether all of it was promised."""
    for what, data, start in changes:
        if what == "kill":
            return False
        if what == "write":
            await file.pwrite(data, start)
            expected.extend(bytes(max(0, start - len(expected))))
            expected[start : start + len(data)] = data
        else:
            await file.truncate(start)
            del expected[start:]
    await file.flush()
    return True


@WAYS
@pytest.mark.parametrize(
    ("changes", "lost"),
    # A cut waits for an upload that is under way.
    [(name, lost) for name in AGAIN for lost in (False, True) if lost or "cut" not in name],
)
async def test_what_was_written_again_since_it_was_sent_is_no_conflict(
    tmp_path: Path, verb: str, lost: bool, changes: str
) -> None:
    """What is at the server was compared with bytes that were never sent."""
    cache, left = tmp_path / "cache", tmp_path / "left"
    expected = bytearray(OLD)
    async with async_rig(cache, OLD, updates=verb == "update", **OPTIONS) as rig:
        file = await rig.client.open(URL, "r+b")
        await change(file, expected, [("write", b"f" * 100, B)])
        held = rig.server.answers.hold(verb, after=True)
        sending = asyncio.ensure_future(file.fsync())
        await held.arrived.wait()
        if lost:
            held.release(netcache.TransientError("the reply was lost"))
            with pytest.raises(netcache.TransientError):
                await sending
        is_promised = await change(file, expected, AGAIN[changes])
        shutil.copytree(cache / "uploads", left / "uploads")
        files = dict(rig.server.files)
        held.release()
        if not lost:
            await sending
        await file.close()
        assert rig.data == expected
    rig.server.files = files
    with sync_client(left, rig.server) as client:
        assert [done.error for done in client.edits.recover()] == [None]
    assert rig.data == expected or not is_promised


@pytest.mark.parametrize("grows", [False, True])
@WAYS
async def test_a_cut_is_not_forgotten_over_a_kill(tmp_path: Path, verb: str, grows: bool) -> None:
    """What was cut off came back where zeros belong, once something was written behind it."""
    cache, left = tmp_path / "cache", tmp_path / "left"
    old = OLD[: 20 * B]
    expected = bytearray(old)
    async with async_rig(cache, old, updates=verb == "update", **OPTIONS) as rig:
        file = await rig.client.open(URL, "r+b")
        await change(file, expected, [("write", b"N" * 3 * B, 20 * B if grows else B)])
        held = rig.server.answers.hold(verb, after=True)
        sending = asyncio.ensure_future(file.fsync())
        await held.arrived.wait()
        held.release(netcache.TransientError("the reply was lost"))
        with pytest.raises(netcache.TransientError):
            await sending
        cut = 21 * B if grows else 10 * B
        await change(file, expected, [("cut", b"", cut), ("write", b"L" * 10, 30 * B)])
        shutil.copytree(cache / "uploads", left / "uploads")
        files = dict(rig.server.files)
        await file.close()
        assert rig.data == expected
    rig.server.files = files
    with sync_client(left, rig.server) as client:
        assert [done.error for done in client.edits.recover()] == [None]
    assert rig.data == expected


async def test_an_upload_that_ends_while_a_flush_is_recorded_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said for as long as the file was open that the edit was to be sent."""
    real = os.fdatasync
    syncing, going_on = threading.Event(), threading.Event()

    def held(fd: int) -> None:
        syncing.set()
        going_on.wait()
        real(fd)

    async with async_rig(tmp_path, OLD, **OPTIONS) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(b"f" * 100, B)
        monkeypatch.setattr(os, "fdatasync", held)
        flushing = asyncio.ensure_future(file.flush())
        assert await turns(syncing.is_set)
        sending = asyncio.ensure_future(file.fsync())
        assert not await turns(sending.done, 200), "the record is to say what is under way"
        going_on.set()
        await asyncio.gather(flushing, sending)
        assert rig.data == edited((B, b"f" * 100))
        assert not list((tmp_path / "uploads").glob("*/record"))
        await file.close()
