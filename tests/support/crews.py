"""Crews under watch: a run begins in earnest when its hands are ready, so there is work left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from netcache._client.crew.hand import Hand
from netcache._client.remote import Remote
from netcache._client.trees.folders import Job
from netcache._client.trees.ports import FetchResult, OnBytes
from netcache.backends.http import HttpBackend
from netcache.spi import ResourceInfo
from tests.support.served import Served, random_bytes

FOLDERS, FILES = 3, 40
KIB = 1024


def _nothing() -> None:
    return


class CrewWatch:
    """The hands of the runs of one test.

    What this process brings itself waits until all hands of its run are ready, or cannot be.
    ``before_file`` is called before any file is brought, or given to a hand.  ``kill_at``: the hand
    that is given so many files gets the signal ``kill_by``.  ``limits`` is what this process was
    told to keep to, one after the other.
    """

    def __init__(self) -> None:
        self.hands: list[Hand] = []
        self.before_file: Callable[[], None] = _nothing
        self.kill_at: int | None = None
        self.kill_by = signal.SIGKILL
        self.given_up: list[Hand] = []
        self.limits: list[int] = []
        self._begun: list[Hand] = []
        self._all_begun = asyncio.Event()

    @property
    def ordered(self) -> int:
        """How many files were given to hands."""
        return sum(hand.ordered for hand in self.hands)

    def made(self, hand: Hand) -> None:
        """A hand exists."""
        self.hands.append(hand)
        if self._all_begun.is_set():
            # (The next run's, perhaps on another loop.)
            self._all_begun = asyncio.Event()

    def begun(self, hand: Hand) -> None:
        """A hand is ready, or gone."""
        self._begun.append(hand)
        if len(self._begun) == len(self.hands):
            self._all_begun.set()

    async def gate(self) -> None:
        """Wait until it is time to work."""
        if self.hands:
            await self._all_begun.wait()
        self.before_file()

    def given(self, hand: Hand) -> None:
        """A hand was given a file."""
        if hand.ordered == self.kill_at:
            process = hand._process
            assert process is not None
            os.kill(process.pid, self.kill_by)

    def nothing_is_left(self) -> bool:
        """Whether all hands have ended, and were waited for."""
        return all(
            hand._process is None or hand._process.returncode is not None for hand in self.hands
        )


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> CrewWatch:
    """Every tree is worth a hand, and the hands are watched."""
    watch = CrewWatch()
    make, start, order, get_file = Hand.__init__, Hand.start, Hand.order, Remote.get_file
    give_up, limit = Hand._give_up, HttpBackend.limit_small

    def made(hand: Hand, *args: object) -> None:
        make(hand, *args)  # type: ignore[arg-type]
        watch.made(hand)

    async def started(hand: Hand, credentials: dict[str, tuple[str, str]]) -> None:
        try:
            await start(hand, credentials)
        finally:
            watch.begun(hand)

    def ordered(hand: Hand, job: Job, info: ResourceInfo, path: str) -> None:
        watch.before_file()
        order(hand, job, info, path)
        watch.given(hand)

    def given_up(hand: Hand) -> None:
        watch.given_up.append(hand)
        give_up(hand)

    def limited(backend: HttpBackend, at_once: int) -> None:
        watch.limits.append(at_once)
        limit(backend, at_once)

    async def got(remote: Remote, info: ResourceInfo, path: str, on_bytes: OnBytes) -> FetchResult:
        await watch.gate()
        return await get_file(remote, info, path, on_bytes)

    monkeypatch.setattr(Remote, "hands_from", 1)
    monkeypatch.setattr(Hand, "__init__", made)
    monkeypatch.setattr(Hand, "start", started)
    monkeypatch.setattr(Hand, "order", ordered)
    monkeypatch.setattr(Hand, "_give_up", given_up)
    monkeypatch.setattr(HttpBackend, "limit_small", limited)
    monkeypatch.setattr(Remote, "get_file", got)
    return watch


@pytest.fixture
def tree(served: Served) -> dict[str, bytes]:
    """A tree of small files at the server."""
    return fill(served)


def fill(served: Served) -> dict[str, bytes]:
    """Files of several sizes in several folders, each with a time of its own.

    They are more than one process has on its way, so that some are left for hands.
    """
    files = {
        f"{folder}/{file}": random_bytes(
            1 + folder * KIB + file % (FILES // 2) * 3 * KIB, folder * FILES + file
        )
        for folder in range(FOLDERS)
        for file in range(FILES)
    }
    for age, (name, data) in enumerate(files.items()):
        served.put(f"tree/{name}", data)
        os.utime(served.root / "tree" / name, (1_000_000_000 + age, 1_000_000_000 + age))
    return files


def content(folder: Path) -> dict[str, tuple[bytes, float]]:
    """All files below a folder, with their times, hidden ones too."""
    return {
        str(place.relative_to(folder)): (place.read_bytes(), place.stat().st_mtime)
        for place in folder.rglob("*")
        if not place.is_dir()
    }


def children() -> list[psutil.Process]:
    """The processes of this one that run a hand, zombies included."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() == psutil.STATUS_ZOMBIE or any("crew" in arg for arg in child.cmdline())
    ]


@pytest.fixture(autouse=True)
def no_hand_is_left() -> Iterator[None]:
    """Nor a zombie."""
    yield
    assert children() == []
