"""A local file whose upload can go on where it stopped, and what a server has of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netcache._core.retry import RetryPolicy
from netcache._core.urls import parse
from netcache._netfs.resumable_body import ResumableFileBody
from netcache._netfs.saved_upload import SavedUpload
from netcache._netfs.tee import Tee
from netcache.backends.http import HttpBackend
from netcache.errors import NetCacheError
from netcache.spi import UploadCondition
from tests.conformance.peers import pattern
from tests.support import http_rig
from tests.support.http_rig import MIB, Rig

RESUMABLE_MIN = 4 * MIB
"""Less than by default: so much is sent again and again here."""
SIZE = RESUMABLE_MIN + MIB + 77
DATA = pattern(SIZE, 5)
ABSENT = UploadCondition(if_absent=True)
UPLOADS = "/.netcache/uploads/*"
PATIENT = RetryPolicy(attempts=12, first_pause_s=0.0)


class Source:
    """A local file, and the bodies of its uploads by one process after another."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.path = folder / "source"
        self.path.write_bytes(DATA)
        self.fd = os.open(self.path, os.O_RDONLY)
        self.saved: list[SavedUpload] = []
        self.shown = 0

    def body(self, url: str) -> ResumableFileBody:
        """The body, as a new process would have it; the one before it has ended."""
        self.close_saved()
        status = os.fstat(self.fd)
        self.saved.append(SavedUpload(str(self.state), url, str(self.path), status))
        self.saved[-1].open()
        tee = Tee(None, parse(url), hashing=False)
        return ResumableFileBody(self.fd, status, tee, self._show, self.saved[-1])

    def _show(self, count: int) -> None:
        self.shown += count

    def close_saved(self) -> None:
        """The processes end."""
        for saved in self.saved:
            saved.close()

    @property
    def records(self) -> list[str]:
        """What is kept for later processes."""
        folder = self.state / "resumable"
        return os.listdir(folder) if folder.exists() else []


@pytest.fixture
def source(tmp_path: Path, both_ways: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """A local file of more than the size from which uploads can go on."""
    del both_ways  # Comes first: it says what is common.
    common = http_rig.COMMON | {"resumable_bytes_min": RESUMABLE_MIN}
    monkeypatch.setattr(http_rig, "COMMON", common)
    made = Source(tmp_path)
    try:
        yield made
    finally:
        made.close_saved()
        os.close(made.fd)


def up(rig: Rig) -> str:
    """The URL of the target."""
    return rig.server.url + "up"


def stored(rig: Rig) -> bytes | None:
    """What is at the target."""
    path = rig.root / "up"
    return path.read_bytes() if path.exists() else None


def received(rig: Rig) -> int:
    """How many bytes of bodies the server has received."""
    return sum(record["bytes_received"] for record in rig.log())


def left(rig: Rig) -> list[str]:
    """What lies at the server beside what was asked for."""
    return sorted(set(os.listdir(rig.root)) - {"a.bin", "up"})


async def interrupted(rig: Rig, source: Source, after: int, **effects: Any) -> None:
    """An upload that is given up when the server has about ``after`` bytes."""
    rig.faults(**({"method": ("PATCH",), "upload_cut_after": after} | effects))
    with pytest.raises(NetCacheError):
        await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    await logged(rig, 1)
    rig.faults()
    rig.server.clear_log()
    assert len(source.records) == 1


async def logged(rig: Rig, count: int) -> None:
    """Wait until the server has done with so many requests that brought bytes."""
    async with asyncio.timeout(20):
        while len(rig.log("PATCH")) < count:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)


def once(rig: Rig) -> HttpBackend:
    """A backend that tries once."""
    return rig.client(retry=RetryPolicy(attempts=1))
