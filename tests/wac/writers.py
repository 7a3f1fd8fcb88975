"""Writers that rewrite the same pages while these are on their way to the server.

A page under writeback must not change, or the digest made of it is wrong.  The
profiles are those of the kernel's tester: ``a`` writers that write and sync; ``b`` writers whose
bytes come straight from shared memory that somebody goes on changing, and who hold views while
they write; ``c`` half of each; ``d``, ``e``, ``f`` are ``c``, ``a``, ``b`` with direct writes
(``atomic``: one exchange each).

What is checked here: nothing raises, so no digest was refused; what an ``a`` writer wrote is whole
wherever it is seen; a view that is held does not change; what was sent from a file that changes
meanwhile is one consistent copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import netcache
from netcache._netfs.bodies import SourceChangedError
from tests.wac.pages import PAGE, page, torn_pages


class Profile(NamedTuple):
    """Of ten writers so many write from shared memory; ``direct``: each write is one exchange."""

    shared: int
    direct: bool


PROFILES = {
    "a": Profile(0, False),
    "b": Profile(10, False),
    "c": Profile(5, False),
    "d": Profile(5, True),
    "e": Profile(0, True),
    "f": Profile(10, True),
}
PAGES = 16
"""As in the kernel's test: a file of 64 KiB, so that all meet on the same pages."""


class Task(NamedTuple):
    """What one process does: ``writers`` threads, ``turns`` writes each or ``seconds`` of them."""

    url: str
    cache: str
    profile: str
    writers: int
    seed: int
    turns: int = 1 << 62
    seconds: float = float("inf")
    sync_every: int = 5

    @property
    def plain_pages(self) -> int:
        """How many pages, from the first on, only plain writers write."""
        return PAGES * (10 - PROFILES[self.profile].shared) // 10


class Outcome(NamedTuple):
    """How much was done, and what was wrong."""

    counts: Counter[str]
    wrong: list[str]


def work(task: Task) -> Outcome:
    """Do a task in this process."""
    with netcache.Client(cache_dir=task.cache, write_mode="back", flush_interval=0.02) as client:
        run = _Run(client, task)
        run.run()
        with client.open(task.url) as file:
            run.check_plain("the cache", file.pread(task.plain_pages * PAGE, 0), 0)
        return Outcome(run.counts, run.wrong)


class _Run:
    def __init__(self, client: netcache.Client, task: Task) -> None:
        self.client, self.task = client, task
        self.profile = PROFILES[task.profile]
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.shared = mmap.mmap(-1, PAGES * PAGE)
        self.end_s = time.monotonic() + task.seconds

    def run(self) -> None:
        """Start all writers, and who changes the shared memory; wait for the writers."""
        stop = threading.Event()
        plain = self.task.writers * (10 - self.profile.shared) // 10
        threads = [
            threading.Thread(target=self._guarded, args=(self._plain, number))
            for number in range(1, plain + 1)
        ]
        threads += [
            threading.Thread(target=self._guarded, args=(self._shared, number))
            for number in range(plain + 1, self.task.writers + 1)
        ]
        others = [threading.Thread(target=self._disturb, args=(stop,))]
        if self.profile.shared:
            others.append(threading.Thread(target=self._put_changing, args=(stop,)))
        for thread in threads + others:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        for thread in others:
            thread.join()
        self.shared.close()

    def check_plain(self, where: str, data: bytes, first: int) -> None:
        """Pages of plain writers are whole."""
        if torn := torn_pages(data, first):
            self.wrong.append(f"{where}: torn pages {torn}")

    def _guarded(
        self, write: Callable[[netcache.File, random.Random, int, int], None], number: int
    ) -> None:
        picks = random.Random(self.task.seed * 1000 + number)
        turn = 0
        try:
            with self.client.open(self.task.url, "r+b") as file:
                while turn < self.task.turns and time.monotonic() < self.end_s:
                    turn += 1
                    write(file, picks, number, turn)
                    self.counts["writes"] += 1
                    if turn % self.task.sync_every == 0:
                        file.fsync()
                        self.counts["syncs"] += 1
        except Exception as error:
            self.wrong.append(f"writer {number}, turn {turn}: {type(error).__name__}: {error}")

    def _plain(self, file: netcache.File, picks: random.Random, number: int, turn: int) -> None:
        first = picks.randrange(self.task.plain_pages)
        end = min(self.task.plain_pages, first + picks.randint(1, 4))
        data = b"".join(page(number, place, turn) for place in range(first, end))
        file.pwrite(data, first * PAGE, atomic=self.profile.direct)
        seen = file.pread((end - first) * PAGE, first * PAGE)
        self.check_plain(f"writer {number}, turn {turn}, reading", seen, first)

    def _shared(self, file: netcache.File, picks: random.Random, number: int, turn: int) -> None:
        first = picks.randrange(self.task.plain_pages, PAGES)
        end = min(PAGES, first + picks.randint(1, 4))
        held = file.view(first * PAGE, (end - first) * PAGE)
        before = hashlib.sha256(held).digest()
        with memoryview(self.shared)[first * PAGE : end * PAGE] as source:
            file.pwrite(source, first * PAGE, atomic=self.profile.direct)
        if hashlib.sha256(held).digest() != before:
            self.wrong.append(f"writer {number}, turn {turn}: a view changed while it was held")

    def _disturb(self, stop: threading.Event) -> None:
        """Change the shared memory again and again, a strip of each page."""
        turn = 0
        while not stop.wait(0.0002):
            turn += 1
            at = turn * 96 % (PAGE - 96)
            for start in range(0, len(self.shared), PAGE):
                self.shared[start + at : start + at + 96] = bytes([turn % 256]) * 96

    def _put_changing(self, stop: threading.Event) -> None:
        """Upload a mapped file that changes while it is sent: the copy is taken once."""
        path = Path(self.task.cache).with_suffix(f".{os.getpid()}.mapped")
        path.write_bytes(bytes(len(self.shared)))
        turn = 0
        with path.open("r+b") as local, mmap.mmap(local.fileno(), 0) as mapped:
            changer = threading.Thread(target=_change, args=(mapped, stop))
            changer.start()
            try:
                while not stop.is_set() and turn < self.task.turns:
                    turn += 1
                    # One consistent copy, or it is told that the file changed meanwhile.
                    with contextlib.suppress(SourceChangedError):
                        self.client.put(path, f"{self.task.url}.put")
                    self.counts["puts"] += 1
            except netcache.NetCacheError as error:
                self.wrong.append(f"put {turn}: {type(error).__name__}: {error}")
            finally:
                stop.wait()
                changer.join()


def _change(mapped: mmap.mmap, stop: threading.Event) -> None:
    turn = 0
    while not stop.wait(0.0002):
        turn += 1
        mapped[turn * 97 % len(mapped)] = turn % 256
