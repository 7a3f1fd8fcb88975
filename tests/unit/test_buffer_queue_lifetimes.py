"""T16, T30: buffer queues hold memory as long as somebody needs it, however much it is."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from pickle import PickleBuffer

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_extract import extract
from netcache._netfs.buffer_queue import SINK_BYTES, BufferQueue
from netcache._netfs.queue_io import read_into, write_from
from netcache._netfs.queue_rounding import rounded_out
from tests.support.bytemodel import pattern
from tests.support.queues import CountedArena

GIB = 1 << 30


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
