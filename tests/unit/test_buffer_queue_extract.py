"""T2 and T4: whatever a caller passes for a buffer, through every function; what cannot be had."""

from __future__ import annotations

import array
import ctypes
import hashlib
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_extract import extract
from netcache._netfs.byte_view import byte_view
from netcache._netfs.queue_io import read_into, write_from
from netcache._netfs.queue_rounding import rounded_out
from tests.support.bytemodel import pattern
from tests.support.queues import CountedArena, resizable

LENGTH = 9600
TEXT = pattern(0, LENGTH)
CHARACTERS = "w" if sys.version_info >= (3, 13) else "u"
"""The type code of an array of characters."""
START = 5000


def _mmap(data: bytes) -> mmap.mmap:
    made = mmap.mmap(-1, len(data))
    made[:] = data
    return made


def _struct(data: bytes) -> ctypes.Array[Any]:
    class Pair(ctypes.Structure):
        _fields_ = (("small", ctypes.c_uint8), ("large", ctypes.c_uint64))

    size = ctypes.sizeof(Pair)
    return (Pair * (len(data) // size)).from_buffer_copy(data)


class Exporter(bytearray):
    """A buffer of somebody's own class."""


WRITABLE: dict[str, Callable[[], Any]] = {
    "bytearray": lambda: bytearray(TEXT),
    "subclass": lambda: Exporter(TEXT),
    "memoryview": lambda: memoryview(bytearray(b"xx" + TEXT + b"yy"))[2:-2],
    "memoryview of doubles": lambda: memoryview(bytearray(TEXT)).cast("d"),
    "memoryview of chars": lambda: memoryview(bytearray(TEXT)).cast("c"),
    "memoryview in three dimensions": lambda: memoryview(bytearray(TEXT)).cast("I", (4, 6, 100)),
    "memoryview in one column": lambda: memoryview(bytearray(TEXT)).cast("B", (LENGTH, 1)),
    "mmap": lambda: _mmap(TEXT),
    "array of bytes": lambda: array.array("B", TEXT),
    "array of longs": lambda: array.array("q", TEXT),
    "array of characters": lambda: array.array(
        CHARACTERS, str(TEXT, "utf-32-le", "replace")[:1] * 2400
    ),
    "ctypes array": lambda: (ctypes.c_int32 * (LENGTH // 4)).from_buffer_copy(TEXT),
    "ctypes structures": lambda: _struct(TEXT),
    "list": lambda: [bytearray(TEXT[:100]), array.array("I", TEXT[100:5000]), _mmap(TEXT[5000:])],
    "tuple": lambda: (bytearray(TEXT[:1]), bytearray(), bytearray(TEXT[1:])),
}
CONSTANT: dict[str, Callable[[], Any]] = {
    "bytes": lambda: TEXT,
    "memoryview of bytes": lambda: memoryview(TEXT),
    "read-only memoryview": lambda: memoryview(bytearray(TEXT)).toreadonly(),
    "read-only doubles": lambda: memoryview(TEXT).cast("d"),
    "list of bytes": lambda: [TEXT[:7], TEXT[7:4096], TEXT[4096:]],
}
EVERY = WRITABLE | CONSTANT


@pytest.fixture
def arena() -> Iterator[CountedArena]:
    """An arena of which nothing may be alive in the end."""
    arena = CountedArena()
    yield arena
    assert arena.alive == 0
    assert arena.memory_allocations == 0


def plain(source: Any) -> bytes:
    """The bytes of a source, by other means."""
    parts = source if isinstance(source, list | tuple) else [source]
    return b"".join(memoryview(part).tobytes() for part in parts)


def free_again(source: Any) -> bool:
    """Whether every part may be resized, or closed, that can be."""
    parts = source if isinstance(source, list | tuple) else [source]
    try:
        for part in parts:
            if isinstance(part, bytearray):
                part.append(0)
            elif isinstance(part, array.array):
                part.frombytes(bytes(part.itemsize))
            elif isinstance(part, mmap.mmap):
                part.close()
            elif isinstance(part, memoryview):
                part.release()
    except BufferError:
        return False
    return True


@pytest.mark.parametrize("kind", EVERY)
def test_t2_every_buffer_is_taken_as_it_is(arena: CountedArena, kind: str) -> None:
    """T2: looked at, sliced, copied out, hashed, chunked; no memory is allocated for any."""
    source = EVERY[kind]()
    text = plain(source)
    end = START + len(text)
    with extract(arena, source, START) as queue:
        assert queue.runs() == [Extent(START, end)]
        assert arena.memory_allocations == 0
        assert queue.tobytes() == text
        assert queue.tobytes(START + 10, START + 4100) == text[10:4100]
        with queue.slice(START + 50, end - 5) as part:
            assert part.tobytes() == text[50:-5]
            target = array.array("I", bytes(4000))
            part.copy_out(START + 60, target)
            assert target.tobytes() == text[60:4060]
        digest = hashlib.sha256()
        queue.update(digest)
        assert digest.digest() == hashlib.sha256(text).digest()
        assert b"".join(queue.chunks(limit=1000)) == text
        with rounded_out(queue, 4096, START + 1, START + 2).queue as blocks:
            assert blocks.runs() == [Extent(4096, 8192)]
            assert blocks.tobytes() == bytes(START - 4096) + text[: 8192 - START]
        if isinstance(source, bytearray | array.array | mmap.mmap | list | tuple):
            assert free_again(source) is (kind == "list of bytes")
    assert free_again(source)


@pytest.mark.parametrize("kind", EVERY)
def test_t2_every_buffer_is_written_to_a_file(
    arena: CountedArena, kind: str, tmp_path: Path
) -> None:
    """T2: by pwritev of its own memory."""
    source = EVERY[kind]()
    text = plain(source)
    with open(tmp_path / "file", "w+b") as file, extract(arena, source, START) as queue:
        write_from(queue, file.fileno(), START, queue.end, shift=-START)
        assert os.pread(file.fileno(), 2 * LENGTH, 0) == text


@pytest.mark.parametrize("kind", WRITABLE)
def test_t2_every_buffer_is_read_into(arena: CountedArena, kind: str, tmp_path: Path) -> None:
    """T2: by preadv, copying in, and clearing; the caller sees it in his buffer."""
    source = WRITABLE[kind]()
    length = len(plain(source))
    (tmp_path / "file").write_bytes(pattern(0, length, seed=2))
    with (
        open(tmp_path / "file", "rb") as file,
        extract(arena, source, START, writable=True) as queue,
    ):
        assert read_into(queue, file.fileno(), START, queue.end, shift=-START) == length
        assert plain(source) == pattern(0, length, seed=2)
        queue.copy_in(START + 90, array.array("H", [0x4142] * 10))
        assert plain(source)[90:110] == b"BA" * 10
        queue.clear(START + 50, START + 200)
        assert plain(source)[50:200] == bytes(150)
        assert plain(source)[200:] == pattern(200, length, seed=2)
    assert free_again(source)


@pytest.mark.parametrize("kind", CONSTANT)
def test_t2_a_constant_is_not_read_into(arena: CountedArena, kind: str) -> None:
    """T2: nothing could be pinned, so it is an error."""
    with pytest.raises(TypeError, match="cannot be written"):
        extract(arena, CONSTANT[kind](), writable=True)


def _released() -> memoryview:
    view = memoryview(bytearray(10))
    view.release()
    return view


def _closed() -> mmap.mmap:
    made = mmap.mmap(-1, 10)
    made.close()
    return made


UNUSABLE: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "text": (lambda: "text", TypeError),
    "number": (lambda: 5, TypeError),
    "nothing": (lambda: None, TypeError),
    "nested list": (lambda: [b"abc"], TypeError),
    "every second byte": (lambda: memoryview(bytes(10))[::2], BufferError),
    "backwards": (lambda: memoryview(bytes(10))[::-1], BufferError),
    "released view": (_released, ValueError),
    "closed map": (_closed, ValueError),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_t4_what_cannot_be_pinned_is_an_error_only_when_nothing_was(
    arena: CountedArena, kind: str
) -> None:
    """T4: behind something usable it makes a short queue; empty buffers in front do not count."""
    make, error = UNUSABLE[kind]
    for sources in ([make()], (bytearray(), b"", make()), [make(), b"abc"]):
        with pytest.raises(error):
            extract(arena, sources)
    if kind != "nested list":
        with pytest.raises(error):
            extract(arena, make())
    usable = bytearray(b"abc")
    with extract(arena, [usable, b"", b"def", make(), b"never"], 7) as queue:
        assert queue.runs() == [Extent(7, 13)]
        assert queue.tobytes() == b"abcdef"
    assert resizable(usable)


def test_t4_memory_in_another_order_than_its_elements_cannot_be_pinned(
    arena: CountedArena,
) -> None:
    """T4: column by column it is contiguous, but its bytes would come out in the wrong order."""
    testbuffer = pytest.importorskip("_testbuffer", reason="this Python comes without its tests")
    columns = testbuffer.ndarray(
        list(range(6)), shape=[2, 3], format="B", flags=testbuffer.ND_FORTRAN
    )
    assert memoryview(columns).contiguous
    with pytest.raises(BufferError, match="not contiguous"):
        extract(arena, columns)
    rows = testbuffer.ndarray(list(range(6)), shape=[2, 3], format="B")
    with extract(arena, rows) as queue:
        assert queue.tobytes() == bytes(range(6))


def test_t4_what_may_not_be_written_ends_a_read(arena: CountedArena) -> None:
    """T4: a constant among the buffers of a read: a short one."""
    with extract(arena, [bytearray(5), bytes(5), bytearray(5)], writable=True) as queue:
        assert queue.length == 5


class OutOfMemory(bytearray):
    """A buffer that cannot be had, for want of memory."""


def test_t4_no_memory_is_always_an_error(
    arena: CountedArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T4: also behind something usable, which is let go."""

    def view_of(source: Any, *, writable: bool = False) -> memoryview:
        if isinstance(source, OutOfMemory):
            raise MemoryError("as ordered")
        return byte_view(source, writable=writable)

    monkeypatch.setattr("netcache._netfs.buffer_extract.byte_view", view_of)
    usable = bytearray(5)
    with pytest.raises(MemoryError):
        extract(arena, [usable, OutOfMemory(5)])
    assert resizable(usable)


def test_a_limit_cuts_the_last_buffer(arena: CountedArena) -> None:
    """What is behind the limit is not pinned, nor looked at."""
    buffers = [bytearray(5), bytearray(5), bytearray(5)]
    with extract(arena, [*buffers, "unusable"], limit=7) as queue:  # type: ignore[list-item]
        assert queue.length == 7
        assert [resizable(buffer) for buffer in buffers] == [False, False, True]
    with extract(arena, "unusable", limit=0) as queue:  # type: ignore[arg-type]
        assert queue.length == 0
    assert all(map(resizable, buffers))


def test_the_callers_own_view_stays_usable(arena: CountedArena) -> None:
    """Only what the queue made is released."""
    view = memoryview(bytearray(b"abc"))
    extract(arena, view).close()
    assert view[0] == ord("a")
    view.release()


def test_many_buffers_are_split_at_what_one_call_takes(arena: CountedArena, tmp_path: Path) -> None:
    """Five thousand buffers go to a file and come back."""
    sources = [bytearray(pattern(n * 3, n * 3 + 3)) for n in range(5000)]
    targets = [bytearray(5) for _ in range(3000)]
    with (
        open(tmp_path / "file", "w+b") as file,
        extract(arena, list(sources)) as queue,
        extract(arena, list(targets), writable=True) as wanted,
    ):
        assert len(queue.buffers(0, 15_000)) == os.sysconf("SC_IOV_MAX")
        assert len(queue.buffers(1, 15_000, limit=2)) == 2
        write_from(queue, file.fileno(), 0, 15_000)
        assert read_into(wanted, file.fileno(), 0, 15_000) == 15_000
        assert b"".join(targets) == pattern(0, 15_000)
        os.ftruncate(file.fileno(), 14_000)
        assert read_into(wanted, file.fileno(), 0, 15_000) == 14_000
