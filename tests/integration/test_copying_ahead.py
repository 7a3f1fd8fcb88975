"""A cached file that is downloaded is copied while the server is asked whether it is current."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache._client.operations import AHEAD_BYTES_MIN
from netcache._client.target import TargetFile
from netcache.backends.memory_answers import Held
from tests.support.copies import CopiesCounted
from tests.support.memory_rig import URL, AsyncRig, async_rig, turns
from tests.support.served import random_bytes

OLD = random_bytes(AHEAD_BYTES_MIN + (5 << 20) + 123, 1)
NEW = random_bytes(AHEAD_BYTES_MIN + 77, 2)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the download goes: a name in a folder of its own."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "file"


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> CopiesCounted:
    """Counts from the beginning of the test."""
    return CopiesCounted(monkeypatch)


def content(path: Path) -> bytes:
    """What is in a file."""
    return path.read_bytes()


def nameless_bytes(folder: Path, pid: int | str = "self") -> list[int]:
    """The sizes of the files without a name that a process has open in ``folder``."""
    sizes, open_files = [], f"/proc/{pid}/fd"
    for name in os.listdir(open_files):
        try:
            place, found = os.readlink(f"{open_files}/{name}"), os.stat(f"{open_files}/{name}")
        except FileNotFoundError:
            continue
        if place.startswith(f"{folder}/") and stat.S_ISREG(found.st_mode) and not found.st_nlink:
            sizes.append(found.st_size)
    return sizes


async def begun(rig: AsyncRig, path: Path) -> tuple[asyncio.Task[netcache.Report], Held]:
    """A download whose question is held until all that is cached has been copied."""
    held = rig.server.answers.hold("*")
    task = asyncio.ensure_future(rig.client.get(URL, path))
    await held.arrived.wait()
    assert await turns(lambda: nameless_bytes(path.parent) == [len(OLD)])
    assert os.listdir(path.parent) == []
    return task, held


async def test_what_is_cached_is_copied_once_before_the_answer(
    tmp_path: Path, out: Path, copies: CopiesCounted
) -> None:
    """The answer that it is current is all that was waited for."""
    async with async_rig(tmp_path / "cache", OLD) as rig:
        await rig.client.warm(URL)
        task, held = await begun(rig, out)
        held.release()
        report = await task
        assert content(out) == OLD
        assert (report.bytes, report.fetched_bytes) == (len(OLD), 0)
        assert copies.bytes == len(OLD)


async def test_a_changed_file_shows_nothing_of_what_was_copied(tmp_path: Path, out: Path) -> None:
    """Not even behind its end."""
    async with async_rig(tmp_path / "cache", OLD) as rig:
        await rig.client.warm(URL)
        rig.server.store(URL, NEW)
        task, held = await begun(rig, out)
        held.release()
        report = await task
        assert content(out) == NEW
        assert report.bytes == report.fetched_bytes == len(NEW)


@pytest.mark.parametrize("end", ["gone", "cancelled"])
async def test_a_download_that_ends_leaves_nothing_of_what_was_copied(
    tmp_path: Path, out: Path, end: str
) -> None:
    """Neither a name nor a descriptor; what was there before is still there."""
    async with async_rig(tmp_path / "cache", OLD) as rig:
        await rig.client.warm(URL)
        del rig.server.files[URL]
        task, held = await begun(rig, out)
        if end == "gone":
            held.release()
            with pytest.raises(netcache.NotFoundError):
                await task
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert os.listdir(out.parent) == []
        assert nameless_bytes(out.parent) == []


async def test_what_is_cached_up_to_a_hole_is_copied_ahead(
    tmp_path: Path, out: Path, copies: CopiesCounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest comes from the server; nothing is copied twice."""
    hole, written, real = 5 << 20, [], TargetFile.write

    def write(target: TargetFile, start: int, view: memoryview) -> None:
        written.append(len(view))
        real(target, start, view)

    monkeypatch.setattr(TargetFile, "write", write)
    async with async_rig(tmp_path / "cache", OLD) as rig:
        await rig.client.warm(URL, offset=0, count=hole)
        await rig.client.warm(URL, offset=hole + (1 << 20))
        report = await rig.client.get(URL, out)
        assert content(out) == OLD
        assert report.fetched_bytes == 1 << 20
        # What came before the target was taken over is copied, and what came then is written.
        assert copies.bytes + sum(written) == len(OLD)
        assert sum(written) <= report.fetched_bytes


async def test_a_place_that_cannot_be_written_is_found_before_the_server_is_asked(
    tmp_path: Path,
) -> None:
    """As when nothing is cached."""
    async with async_rig(tmp_path / "cache", OLD) as rig:
        await rig.client.warm(URL)
        asked = len(rig.server.requests)
        with pytest.raises(FileNotFoundError):
            await rig.client.get(URL, tmp_path / "none" / "file")
        assert len(rig.server.requests) == asked


async def test_a_full_disk_is_told_once_the_file_is_known_to_be_current(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stopped the copy stops the download; before that it means nothing."""
    real = os.copy_file_range

    def full(source: int, target: int, count: int, start: int, to: int) -> int:
        if to + count > len(NEW):
            raise OSError(28, "No space left on device")
        return real(source, target, count, start, to)

    async with async_rig(tmp_path / "cache", OLD) as rig:
        await rig.client.warm(URL)
        monkeypatch.setattr(os, "copy_file_range", full)
        with pytest.raises(OSError, match="No space left"):
            await rig.client.get(URL, out)
        assert os.listdir(out.parent) == []
        rig.server.store(URL, NEW)
        await rig.client.get(URL, out)
        assert content(out) == NEW


@pytest.mark.parametrize("is_cached", [True, False])
async def test_a_target_that_is_opened_while_the_download_is_cancelled_is_closed(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, is_cached: bool
) -> None:
    """Its descriptor would stay for as long as the process."""
    real = os.open
    opening, going_on, opened = (threading.Event() for _ in range(3))

    def held(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if path == str(out.parent) and flags & os.O_TMPFILE == os.O_TMPFILE:
            opening.set()
            going_on.wait()
            fd = real(path, flags, *args, **more)
            opened.set()
            return fd
        return real(path, flags, *args, **more)

    async with async_rig(tmp_path / "cache", OLD) as rig:
        if is_cached:
            await rig.client.warm(URL)
        monkeypatch.setattr(os, "open", held)
        task = asyncio.ensure_future(rig.client.get(URL, out))
        assert await turns(opening.is_set)
        task.cancel()
        await asyncio.sleep(0)
        going_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await turns(opened.is_set)
        assert nameless_bytes(out.parent) == []
        assert os.listdir(out.parent) == []
