"""Runs that are kept and sent from the same memory: what is kept is what was given, and no more."""

from __future__ import annotations

import os
import random
import threading
from contextlib import closing
from pathlib import Path

import pytest

from netcache._cachefiles.store import bind
from netcache._core.urls import parse
from netcache._netfs.bodies import RUN_BYTES, FileBody
from netcache._netfs.inodes import key_of
from netcache._netfs.kept_run import PIECE_BYTES, PIECES, kept_run
from netcache._netfs.tee import Tee

SIZE = 9 * PIECE_BYTES + 5


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of a few pieces, the last of them short."""
    path = tmp_path / "source"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


def test_each_piece_is_kept_before_it_is_given(source: Path) -> None:
    """In order, all of the run and nothing else; no more are in memory than there may be."""
    kept: list[bytes] = []
    given: list[bytes] = []
    with source.open("rb") as file:
        run = kept_run(lambda piece: kept.append(bytes(piece)), file.fileno(), 7, SIZE - 1)
        assert run.pieces is not None
        with closing(run.pieces()) as pieces:
            for piece in pieces:
                given.append(bytes(piece))
                assert given == kept[: len(given)]
                assert len(kept) <= len(given) + PIECES
    assert b"".join(given) == b"".join(kept) == source.read_bytes()[7 : SIZE - 1]


def test_a_file_that_is_shorter_ends_the_run(source: Path) -> None:
    """Who sends sees how far it went."""
    with source.open("rb") as file:
        run = kept_run(lambda _: None, file.fileno(), 0, 2 * SIZE)
        assert run.pieces is not None
        assert sum(len(piece) for piece in run.pieces()) == SIZE


def test_what_fails_is_told_after_what_came_before_it(source: Path) -> None:
    """To the thread that sends, as it was."""
    kept: list[int] = []

    def take(piece: memoryview) -> None:
        if len(kept) == 2:
            raise OSError(5, "the disk")
        kept.append(len(piece))

    with source.open("rb") as file:
        run = kept_run(take, file.fileno(), 0, SIZE)
        assert run.pieces is not None
        pieces = run.pieces()
        assert [len(next(pieces)) for _ in range(2)] == kept == [PIECE_BYTES] * 2
        with pytest.raises(OSError, match="the disk"):
            next(pieces)


def test_nothing_is_kept_after_the_run_was_closed(source: Path) -> None:
    """The thread that keeps has ended then."""
    kept: list[int] = []
    with source.open("rb") as file:
        run = kept_run(lambda piece: kept.append(len(piece)), file.fileno(), 0, SIZE)
        assert run.pieces is not None
        pieces = run.pieces()
        next(pieces)
        pieces.close()
        assert 1 <= len(kept) <= PIECES
        assert "netcache-keeper" not in {thread.name for thread in threading.enumerate()}


async def test_a_tee_keeps_nothing_of_a_pass_that_has_ended(tmp_path: Path) -> None:
    """A thread of the pass before may still have a chunk in its hand."""
    store = bind(tmp_path / "cache")
    try:
        tee = Tee(store, parse("http://x/a"), hashing=False)
        tee.restart()
        take = tee.taking()
        take(memoryview(b"a" * 4096))
        assert tee.size == 4096
        await tee.drain()
        take(memoryview(b"b" * 4096))
        assert tee.size == 4096
        tee.discard()
    finally:
        store.close()


async def test_an_upload_reads_what_it_keeps_once(tmp_path: Path) -> None:
    """The first run shows that this filesystem shares no blocks: it alone is sent from the copy."""
    size = 2 * RUN_BYTES + SIZE
    path = tmp_path / "large"
    path.write_bytes(random.Random(2).randbytes(size))
    store = bind(tmp_path / "cache")
    fd = os.open(path, os.O_RDONLY)
    try:
        new = store.begin(key_of(parse("http://x/probe")))
        new.copy_from(fd, 4096)
        shares = new.shares
        new.discard()
        tee, told = Tee(store, parse("http://x/a"), hashing=False), list[int]()
        sent, from_memory = b"", 0
        async for run in FileBody(fd, size, tee, told.append).runs():
            assert run.pieces is None or run.start >= RUN_BYTES
            if run.pieces is None:
                sent += os.pread(run.fd, run.end - run.start, run.start)
            else:
                sent += b"".join(bytes(piece) for piece in run.pieces())
                from_memory += run.end - run.start
        assert sent == path.read_bytes()
        assert sum(told) == tee.size == tee.copied_bytes == size
        assert from_memory == (0 if shares else size - RUN_BYTES)
        await tee.drain()
        tee.discard()
    finally:
        os.close(fd)
        store.close()
