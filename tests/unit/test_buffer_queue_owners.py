"""Buffer queues: whose memory it is, and who is told when it is let go."""

from __future__ import annotations

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.segment_array import Disposal
from tests.support.queues import CountedArena, filled, resizable


def test_lent_views_end_with_their_array(arena: CountedArena) -> None:
    """Views handed out, whole or in part, are released on disposal, so the owner is free again."""
    buffer = bytearray(100)
    queue = BufferQueue(arena)
    queue.append([memoryview(buffer)], Disposal.PINNED)
    views = [*queue.buffers(0, 100), *queue.buffers(10, 20), *queue.chunks(0, 100, limit=30)]
    assert not resizable(buffer)
    queue.close()
    assert resizable(buffer)
    for view in views:
        with pytest.raises(ValueError, match="released"):
            view[0]


def test_what_was_lent_and_dropped_is_not_remembered_for_ever(arena: CountedArena) -> None:
    """Ten thousand short looks leave a short list."""
    with filled(arena, (0, 100)) as queue:
        for _ in range(10_000):
            queue.buffers(1, 2)
        array = queue._collect.array
        assert len(array._lent) < 200


def test_external_views_stay_their_owners(arena: CountedArena) -> None:
    """The queue forgets them; what it cut from them itself it releases."""
    buffer = bytearray(100)
    view = memoryview(buffer)
    with BufferQueue(arena) as queue:
        queue.append([view], Disposal.EXTERNAL)
        queue.buffers(10, 20)
        queue.slice(10, 20).close()
        queue.shorten(50)
        lent = queue.buffers(0, 50)
    assert len(view) == 100
    with pytest.raises(ValueError, match="released"):
        lent[0][0]
    view.release()
    assert resizable(buffer)


def test_the_owner_of_pages_is_told_when_they_are_let_go(arena: CountedArena) -> None:
    """``then`` comes once, after the last slice, with the views released."""
    buffer = bytearray(100)
    told: list[bool] = []
    queue = BufferQueue(arena)
    queue.append(
        [memoryview(buffer)],
        Disposal.PAGE_CACHE,
        then=lambda: told.append(resizable(buffer)),
    )
    part = queue.slice(10, 20)
    queue.close()
    assert told == []
    part.close()
    assert told == [True]


def test_empty_views_are_let_go_at_once(arena: CountedArena) -> None:
    """They take no slot, and pin nothing."""
    buffer = bytearray()
    told: list[int] = []
    with BufferQueue(arena) as queue:
        view = memoryview(buffer)
        queue.append([view], Disposal.PINNED, then=lambda: told.append(1))
        assert queue.runs() == []
        assert resizable(buffer)
        assert told == [1]


def test_an_owner_that_fails_does_not_hold_up_the_others(
    arena: CountedArena, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything else is let go; the failure is in the log."""
    told: list[int] = []

    def fail() -> None:
        raise RuntimeError("cannot take it back")

    queue = BufferQueue(arena)
    queue.append([memoryview(bytes(1))], Disposal.PAGE_CACHE, then=fail)
    queue.append([memoryview(bytes(1))], Disposal.PAGE_CACHE, then=lambda: told.append(1))
    queue.close()
    assert told == [1]
    assert "cannot take it back" in caplog.text


def test_memory_of_different_kinds_is_let_go_each_in_its_way(arena: CountedArena) -> None:
    """Next to each other in the file, they are in different arrays."""
    buffers = [bytearray(10) for _ in range(4)]
    views = [memoryview(buffer) for buffer in buffers]
    kinds = [Disposal.PINNED, Disposal.EXTERNAL, Disposal.ALLOCATED, Disposal.EXTERNAL]
    with BufferQueue(arena) as queue:
        for view, kind in zip(views, kinds, strict=True):
            queue.append([view], kind)
        assert queue.runs() == [Extent(0, 40)]
    assert [resizable(buffer) for buffer in buffers] == [True, False, True, False]
