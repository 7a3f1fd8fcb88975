"""T19: buffer queues that are filled, taken from and let go on several threads."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.segment_array import Arena, Disposal
from tests.support.bytemodel import pattern
from tests.support.queues import CountedArena, resizable


@pytest.mark.parametrize("seed", range(4))
def test_t19_loading_dispatching_and_collecting_at_the_same_time(seed: int) -> None:
    """T19: nothing is lost or seen twice, by either stream, while all go on."""
    arena = CountedArena()
    queue = BufferQueue(arena, streams=2, slots=4)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        race = Race(queue, random.Random(seed))
        race.run()
    finally:
        sys.setswitchinterval(before)
    assert race.errors == []
    for stream in (0, 1):
        assert joined(race.seen[stream]) == joined(race.loaded)
        assert sum(run.length for run in race.seen[stream]) == sum(
            run.length for run in race.loaded
        )
    queue.close()
    assert arena.alive == 0
    assert all(map(resizable, race.pinned))


def joined(runs: list[Extent]) -> list[Extent]:
    """Adjoining runs made one, in the order that they come in."""
    found: list[Extent] = []
    for run in runs:
        if found and found[-1].end == run.start:
            run = Extent(found.pop().start, run.end)
        found.append(run)
    return found


class Race:
    """A loader, two dispatchers and a collector on one queue; ``changed`` wakes who waits."""

    def __init__(self, queue: BufferQueue, rng: random.Random) -> None:
        self.queue = queue
        self.rng = rng
        self.changed = threading.Condition()
        self.news = 0
        self.done = [False, False, False]
        self.loaded: list[Extent] = []
        self.seen: list[list[Extent]] = [[], []]
        self.pinned: list[bytearray] = []
        self.errors: list[BaseException] = []

    def run(self) -> None:
        """All four, to the end."""
        bodies: list[Callable[[], None]] = [
            self.load,
            lambda: self.dispatch(0, 37),
            lambda: self.dispatch(1, 111),
            self.collect,
        ]
        threads = [threading.Thread(target=self.guarded, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)

    def guarded(self, body: Callable[[], None]) -> None:
        """Keep what goes wrong, and let nobody wait for ever."""
        try:
            body()
        except BaseException as error:
            self.errors.append(error)
            self.done = [True, True, True]
            self.tell()

    def tell(self, done: int | None = None) -> None:
        """Something has changed."""
        with self.changed:
            if done is not None:
                self.done[done] = True
            self.news += 1
            self.changed.notify_all()

    def wait(self, known: int) -> int:
        """Wait for news; returns how many there were."""
        with self.changed:
            self.changed.wait_for(lambda: self.news > known, timeout=60)
            return self.news

    def load(self) -> None:
        """Six hundred segments of both kinds, some behind gaps."""
        position = 0
        for _ in range(600):
            position += self.rng.choice([0, 0, 0, 7])
            length = self.rng.randrange(1, 100)
            if self.rng.random() < 0.5:
                buffer = bytearray(pattern(position, position + length))
                self.pinned.append(buffer)
                self.queue.append([memoryview(buffer)], Disposal.PINNED, at=position)
            else:
                view = memoryview(pattern(position, position + length))
                self.queue.append([view], Disposal.ALLOCATED, at=position)
            self.loaded.append(Extent(position, position + length))
            position += length
            self.tell()
        self.tell(done=0)

    def dispatch(self, stream: int, length: int) -> None:
        """Take parts and check them; some are kept for a while."""
        kept: list[BufferQueue] = []
        while True:
            ended, known = self.done[0], self.news
            part = self.queue.take(stream, length)
            if part is None:
                if ended:
                    break
                self.wait(known)
                continue
            kept.append(part)
            self.tell()
            if len(kept) > 5:
                self.check(stream, kept.pop(0))
        for part in kept:
            self.check(stream, part)
        self.tell(done=1 + stream)

    def check(self, stream: int, part: BufferQueue) -> None:
        """The bytes of a part are right, whatever was collected meanwhile."""
        with part:
            for run in part.runs():
                assert part.tobytes(*run) == pattern(*run)
                self.seen[stream].append(run)

    def collect(self) -> None:
        """Let go of what both streams have been given."""
        while True:
            ended, known = all(self.done), self.news
            position = min(self.queue.dispatched(stream) for stream in (0, 1))
            self.queue.collect_to(position)
            assert self.queue.start >= position
            if ended:
                break
            self.wait(known)


def test_t19_parts_let_go_on_many_threads_are_counted_right() -> None:
    """T19: slices of one queue, closed anywhere; arenas that count in the same statistics."""
    arena = CountedArena()
    other = Arena(arena.stats)
    queue = BufferQueue(arena)
    buffer = bytearray(1000)
    queue.append([memoryview(buffer)], Disposal.PINNED)
    errors: list[BaseException] = []

    def use() -> None:
        try:
            for n in range(300):
                with queue.slice(n, n + 500) as part, BufferQueue(other) as mine:
                    part.lend(n + 1, n + 2, mine)
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert errors == []
    assert arena.alive == 1
    assert not resizable(buffer)
    queue.close()
    assert arena.alive == 0
    assert resizable(buffer)
