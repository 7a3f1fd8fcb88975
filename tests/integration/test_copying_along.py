"""What comes of a file that is downloaded goes to its target in the same pass."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from netcache._cachefiles.allocating import filesystem_of
from netcache._client import along
from netcache._client.along import AlongCopy
from netcache._client.target import TargetFile
from netcache._fscache.copying import may_share
from netcache.errors import TransientError
from tests.support.copies import CopiesCounted
from tests.support.memory_rig import URL, AsyncRig, async_rig
from tests.support.served import random_bytes

MIB = 1 << 20
DATA = random_bytes(24 * MIB + 12_345, 5)
BEFORE = 8 * MIB
"""What may have come before the target is there, at the very most."""


@pytest.fixture(autouse=True)
def local_and_unshared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Whatever the tests' own filesystem is called (in a container nothing may tell), it is local.

    Where it shares blocks, nothing is written along.
    """
    if "filesystem" in request.fixturenames:
        return
    with (tmp_path / "one").open("w+b") as one, (tmp_path / "two").open("w+b") as two:
        one.write(bytes(4096))
        one.flush()
        if may_share(one.fileno(), two.fileno(), 4096):
            pytest.skip("the filesystem of temporary files shares blocks")
        found = filesystem_of(one.fileno())
    monkeypatch.setattr(along, "LOCAL", along.LOCAL | {found})


def content(path: Path) -> bytes:
    """What is in a file."""
    return path.read_bytes()


async def got(rig: AsyncRig, path: Path) -> bytes:
    """What a download brings; everything comes once."""
    report = await rig.client.get(URL, path)
    assert report.bytes == report.fetched_bytes == len(DATA)
    return content(path)


class Watched:
    """Targets take so many bytes, and then no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int, after: int) -> None:
        self.refused = 0
        self._real, self._errno, self._left = TargetFile.write, error, after
        watched = self

        def write(target: TargetFile, start: int, view: memoryview) -> None:
            watched.write(target, start, view)

        monkeypatch.setattr(TargetFile, "write", write)

    def write(self, target: TargetFile, start: int, view: memoryview) -> None:
        """Write, or fail."""
        self._left -= len(view)
        if self._left < 0:
            self.refused += 1
            raise OSError(self._errno, os.strerror(self._errno))
        self._real(target, start, view)


async def test_what_comes_is_not_read_back_to_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what had come before the target was there is; and nothing at all of it twice."""
    copies = CopiesCounted(monkeypatch)
    async with async_rig(tmp_path / "cache", DATA) as rig:
        assert await got(rig, tmp_path / "out") == DATA
        assert copies.bytes <= BEFORE
        # What is cached does not come: it is copied, once.
        copies.bytes = 0
        (tmp_path / "out").unlink()
        report = await rig.client.get(URL, tmp_path / "out")
        assert (report.fetched_bytes, copies.bytes) == (0, len(DATA))
        assert content(tmp_path / "out") == DATA


async def test_only_what_is_missing_in_the_cache_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Islands of a map are copied, gaps come along, and together they are the file."""
    copies = CopiesCounted(monkeypatch)
    async with async_rig(tmp_path / "cache", DATA) as rig:
        for start in (3 * MIB, 11 * MIB, 20 * MIB):
            await rig.client.warm(URL, offset=start, count=MIB)
        report = await rig.client.get(URL, tmp_path / "out")
        assert report.fetched_bytes == len(DATA) - 3 * MIB
        assert content(tmp_path / "out") == DATA
        assert copies.bytes <= BEFORE + 3 * MIB


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
async def test_a_target_that_takes_nothing_for_a_moment_is_copied_to_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Copying along is a chance, and no more: its errors are nobody's."""
    watched = Watched(monkeypatch, error, 5 * MIB)
    async with async_rig(tmp_path / "cache", DATA) as rig:
        assert await got(rig, tmp_path / "out") == DATA
    assert watched.refused == 1


async def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along and afterwards; what came stays in the cache."""
    Watched(monkeypatch, errno.ENOSPC, 5 * MIB)

    def full(*_: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", full)
    folder = tmp_path / "out"
    folder.mkdir()
    async with async_rig(tmp_path / "cache", DATA) as rig:
        with pytest.raises(OSError, match="No space left"):
            await rig.client.get(URL, folder / "file")
        assert os.listdir(folder) == []
        monkeypatch.undo()
        report = await rig.client.get(URL, folder / "file")
        assert content(folder / "file") == DATA
        assert report.fetched_bytes < len(DATA)


async def test_a_body_that_breaks_off_is_gone_on_with(tmp_path: Path) -> None:
    """What had come along stays; the rest comes along with the next attempt."""
    async with async_rig(tmp_path / "cache", DATA, retries=2) as rig:
        rig.server.answers.fail("body", lambda: TransientError("broken"), count=1, skip=7)
        assert await got(rig, tmp_path / "out") == DATA


async def test_two_downloads_of_one_file_both_have_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One exchange, two targets."""
    copies = CopiesCounted(monkeypatch)
    async with async_rig(tmp_path / "cache", DATA) as rig:
        await asyncio.gather(*(rig.client.get(URL, tmp_path / name) for name in "ab"))
        assert (await rig.client.stats())["DownOps"]["bytes"] == len(DATA)
    assert content(tmp_path / "a") == content(tmp_path / "b") == DATA
    assert copies.bytes <= 2 * BEFORE


async def test_a_download_that_is_cancelled_takes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes on coming for others does not reach a file that is closed."""
    real, written = TargetFile.write, {True: 0, False: 0}

    def write(target: TargetFile, start: int, view: memoryview) -> None:
        written[target.fileno() >= 0] += len(view)
        real(target, start, view)

    monkeypatch.setattr(TargetFile, "write", write)
    async with async_rig(tmp_path / "cache", DATA) as rig:
        held = rig.server.answers.hold("body", skip=6)
        one, other = (asyncio.ensure_future(rig.client.get(URL, tmp_path / n)) for n in "ab")
        await held.arrived.wait()
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        held.release()
        await other
    assert content(tmp_path / "b") == DATA
    assert not (tmp_path / "a").exists()
    assert written[True] > 0
    assert written[False] == 0


class Clock:
    """Goes on by ``step_s`` whenever it is looked at."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        """The time."""
        self.now_s += self.step_s
        return self.now_s


@pytest.mark.parametrize("slow", [False, True])
def test_a_slow_disk_is_left_to_threads(tmp_path: Path, slow: bool) -> None:
    """One slow write may be by chance; when they are slow, the loop waits no more."""
    clock = Clock(2 * along.SLOW_S if slow else along.SLOW_S / 2)
    target = TargetFile(str(tmp_path / "out"))
    copy = AlongCopy(target, now=clock)
    for number in range(20):
        copy.take(number * MIB, memoryview(DATA)[number * MIB :][:MIB])
    taken = copy.missing(0, len(DATA)).start
    target.discard()
    assert (2 * MIB <= taken <= 8 * MIB) if slow else taken == 20 * MIB


async def test_a_network_filesystem_is_left_to_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs must not hold the loop; what is not known counts as such."""
    copies = CopiesCounted(monkeypatch)
    monkeypatch.setattr(along, "LOCAL", frozenset())
    async with async_rig(tmp_path / "cache", DATA) as rig:
        assert await got(rig, tmp_path / "out") == DATA
    assert copies.bytes == len(DATA)


@pytest.mark.parametrize("filesystem", ["xfs-4096", "btrfs-4096"], indirect=True)
async def test_where_blocks_can_be_shared_nothing_is_copied_along(
    filesystem: str, cache_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cache and target are one set of blocks then."""
    copies = CopiesCounted(monkeypatch)
    async with async_rig(cache_directory / "cache", DATA) as rig:
        assert await got(rig, cache_directory / "out") == DATA
    assert copies.bytes == len(DATA)
