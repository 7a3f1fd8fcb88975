"""T16, T19, T22, T30: who holds memory, threads, failures, sizes."""

from __future__ import annotations

import mmap
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from pickle import PickleBuffer

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_extract import extract
from netcache._netfs.buffer_queue import SINK_BYTES, BufferQueue
from netcache._netfs.queue_io import read_into, write_from
from netcache._netfs.queue_rounding import rounded_out
from netcache._netfs.segment_array import Arena, Disposal
from tests.support.bytemodel import pattern
from tests.support.queues import CountedArena, CountedPosition, resizable

GIB = 1 << 30


# T16


def test_t16_a_sink_is_little_memory_however_much_goes_into_it(tmp_path: Path) -> None:
    """T16: the two ends are kept, what is read in between goes to one piece of memory."""
    arena = CountedArena()
    middle = 10 * SINK_BYTES + 5
    end = 200 + middle
    (tmp_path / "file").write_bytes(pattern(0, end))
    with open(tmp_path / "file", "rb") as file, BufferQueue(arena) as queue:
        queue.allocate(100)
        queue.append_sink(middle)
        queue.allocate(100)
        assert read_into(queue, file.fileno(), 0, end) == end
        assert queue.tobytes(0, 100) == pattern(0, 100)
        assert queue.tobytes(end - 100, end) == pattern(end - 100, end)
        assert arena.memory_allocations == 3
    assert arena.alive == 0


def test_t16_a_sink_lives_until_the_last_subrequest_is_complete() -> None:
    """T16: a request that ended with an error does not take it from a reply still coming in."""
    arena = CountedArena()
    queue = BufferQueue(arena)
    queue.append_sink(3 * SINK_BYTES)
    part = queue.slice(SINK_BYTES - 5, 2 * SINK_BYTES + 5)

    def fail() -> None:
        with queue:
            raise ConnectionError("another subrequest failed")

    with pytest.raises(ConnectionError):
        fail()
    read, write = os.pipe()
    os.write(write, b"late")
    assert os.readv(read, part.buffers(part.start, part.start + 4)) == 4
    assert part.tobytes(part.start, part.start + 4) == b"late"
    os.close(read)
    os.close(write)
    assert arena.alive == 1 + 1
    part.close()
    assert arena.alive == 0


def test_t16_a_sink_that_is_shortened_keeps_the_memory_of_what_stays() -> None:
    """T16: the view that its segments share is not released with those that are cut off."""
    arena = CountedArena()
    with BufferQueue(arena) as queue:
        queue.append_sink(3 * SINK_BYTES + 5)
        for end in (3 * SINK_BYTES, 2 * SINK_BYTES, SINK_BYTES + 10, SINK_BYTES, 10):
            queue.shorten(end)
            queue.copy_in(end - 5, b"hello")
            assert queue.tobytes(end - 5, end) == b"hello"
    assert arena.alive == 0


@pytest.mark.parametrize("length", [100, 1 << 16])
def test_t16_memory_that_something_else_was_built_upon_stays_its_own(length: int) -> None:
    """T16: closing under a running system call, as it were: nothing is pulled away from it."""
    arena = CountedArena()
    queue = BufferQueue(arena)
    queue.allocate(length)
    queue.copy_in(0, b"hello")
    (view,) = queue.buffers(0, length)
    user = PickleBuffer(view)
    queue.close()
    assert arena.alive == 0
    assert bytes(user)[:5] == b"hello"


# T19


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


# T22


def everything(arena: CountedArena, buffers: list[bytearray], fd: int) -> None:
    """What a request does with queues, everything closed in the end whatever fails."""
    with extract(arena, list(buffers), 10, streams=1) as queue:
        queue.allocate(100)
        queue.allocate(5000, segment_bytes=1000)
        queue.append_sink(300)
        queue.append_zeros(5000, at=20_000)
        queue.copy_in(queue.start, b"abc")
        while (part := queue.take(0, 2000)) is not None:
            with part, rounded_out(part, 512).queue as blocks:
                write_from(blocks, fd, blocks.start, blocks.end)
                with part.slice(part.start + 1, part.end) as again:
                    again.tobytes()
        with rounded_out(queue, 4096, 15, 9000).queue as blocks:
            blocks.tobytes(0, 4096)
        queue.collect_to(6000)
        queue.allocate(200)
        queue.shorten(queue.end - 100)


def test_t22_every_allocation_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T22: fail the n-th for all n: the error comes through, nothing is left, all is free."""
    monkeypatch.setattr("netcache._netfs.queue_chain.Position", CountedPosition)
    failed = 0
    with open(tmp_path / "file", "w+b") as file:
        while True:
            arena = CountedArena(fail_at=failed + 1)
            buffers = [bytearray(100) for _ in range(10)]
            try:
                everything(arena, buffers, file.fileno())
            except MemoryError:
                failed += 1
                # The frames of the error must not be what keeps views alive.
                assert arena.alive == 0
                assert all(map(resizable, buffers))
                assert all(one.closed for one in arena.maps)
                continue
            break
    assert arena.alive == 0
    assert all(map(resizable, buffers))
    assert failed > 100


CHANGES: dict[str, Callable[[BufferQueue], object]] = {
    "allocate": lambda queue: queue.allocate(50, segment_bytes=10),
    "allocate behind a gap": lambda queue: queue.allocate(50, at=1000),
    "sink": lambda queue: queue.append_sink(SINK_BYTES + 1),
    "zeros": lambda queue: queue.append_zeros(10),
    "slice": lambda queue: queue.slice(5, 150).close(),
    "shorten": lambda queue: queue.shorten(130),
    "collect": lambda queue: queue.collect_to(100),
    "buffers": lambda queue: queue.buffers(5, 195),
    "chunks": lambda queue: list(queue.chunks(limit=30)),
    "clear": lambda queue: queue.clear(110, 195),
    "copy in": lambda queue: queue.copy_in(110, b"abc"),
    "round out": lambda queue: rounded_out(queue, 64).queue.close(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_t22_a_change_that_failed_can_be_made_again(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T22: it has changed nothing; made again it has the effect that it should have had."""
    monkeypatch.setattr("netcache._netfs.queue_chain.Position", CountedPosition)
    plain: list[tuple[list[Extent], int, bytes]] = []
    n = 0
    while True:
        arena = CountedArena()
        first, second = bytearray(pattern(0, 100)), bytearray(pattern(100, 200))
        with BufferQueue(arena, slots=2) as queue:
            for buffer in (first, second):
                queue.append([memoryview(buffer)], Disposal.PINNED)
            before = state(queue)
            arena.fail_at = arena.allocations + n if n else 0
            try:
                CHANGES[change](queue)
            except MemoryError:
                assert state(queue) == before
                CHANGES[change](queue)
                failed = True
            else:
                failed = False
            plain.append(state(queue))
        assert arena.alive == 0
        assert resizable(first)
        assert resizable(second)
        if n and not failed:
            break
        n += 1
    assert n > 1
    assert all(one == plain[0] for one in plain)


def state(queue: BufferQueue) -> tuple[list[Extent], int, bytes]:
    """What can be seen of a queue."""
    runs = queue.runs()
    return runs, queue.start, b"".join(queue.tobytes(*run) for run in runs)


# T30


def test_t30_a_map_of_more_than_2_gib_is_taken_whole(tmp_path: Path) -> None:
    """T30: no length or position is cut at 31 or 32 bits, in any function."""
    arena = CountedArena()
    size = 5 * GIB + 12_345
    with open(tmp_path / "sparse", "w+b") as file:
        os.ftruncate(file.fileno(), size)
        for position in (2 * GIB - 5, 4 * GIB - 5, size - 10):
            os.pwrite(file.fileno(), b"0123456789", position)
        whole = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
    queue = extract(arena, whole, 7, streams=1)
    assert (queue.length, queue.end) == (size, size + 7)
    assert sum(map(len, queue.buffers(7, size + 7))) == size
    with open(os.devnull, "wb", buffering=0) as null:
        assert os.writev(null.fileno(), queue.buffers(7, size + 7)) < size
        write_from(queue, null.fileno(), 7, size + 7)
    for position in (2 * GIB - 5, 4 * GIB - 5, size - 10):
        assert queue.tobytes(position + 7, position + 17) == b"0123456789"
    part = queue.take(0, 3 * GIB)
    assert part is not None
    assert part.length == 3 * GIB
    assert queue.dispatched(0) == 3 * GIB + 7
    with part.slice(2 * GIB, 3 * GIB) as tail:
        assert tail.tobytes(2 * GIB + 2, 2 * GIB + 12) == b"0123456789"
    blocks, made_up = rounded_out(queue, 65536, 4 * GIB, 4 * GIB + 1)
    assert blocks.runs() == [Extent(4 * GIB, 4 * GIB + 65536)]
    assert made_up == []
    assert blocks.tobytes(4 * GIB + 2, 4 * GIB + 12) == b"0123456789"
    for one in (part, blocks, queue):
        one.close()
    whole.close()
    assert arena.alive == 0


def test_t30_more_than_2_gib_go_through_in_as_many_calls_as_it_takes() -> None:
    """T30: one call takes so many buffers only; the rest follows."""
    arena = CountedArena()
    size = 2 * GIB + 54_321
    with (
        open(os.devnull, "wb", buffering=0) as null,
        open("/dev/zero", "rb", buffering=0) as zero,
        BufferQueue(arena) as queue,
    ):
        queue.append_sink(size)
        write_from(queue, null.fileno(), 0, size)
        assert read_into(queue, zero.fileno(), 0, size) == size
        assert arena.memory_allocations == 1
    assert arena.alive == 0
