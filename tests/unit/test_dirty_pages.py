"""Dirty pages: what is valid, what is to be sent, what is on its way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netcache._core.extent import Extent
from netcache._netfs.dirty_pages import DirtyPages
from netcache._netfs.private_file import private_file

B = 4096


@pytest.fixture
def pages() -> Iterator[DirtyPages]:
    """No pages yet."""
    made = DirtyPages(private_file(None))
    yield made
    made.close()


def test_t12_a_cut_leaves_the_front_of_a_record(pages: DirtyPages) -> None:
    """Cut inside a written run: its front stays, valid and to be sent."""
    pages.write(100, memoryview(b"x" * 200))
    pages.truncate(150)
    assert list(pages.valid) == [Extent(100, 150)]
    assert list(pages.dirty) == [Extent(100, 150)]
    assert pages.dirty_bytes == 50


def test_t13_a_cut_of_all_of_a_record_leaves_nothing_to_send(pages: DirtyPages) -> None:
    """No byte of the run is left: nothing is dirty, nothing is sent."""
    pages.write(100, memoryview(b"x" * 200))
    pages.truncate(100)
    assert not pages.dirty
    assert pages.unsent_bytes == 0
    assert pages.take_dirty(B, 100) == []


def test_t14_a_filled_gap_leaves_one_valid_block(pages: DirtyPages) -> None:
    """The server's bytes go around what was written, never over it; all of it is sent."""
    pages.write(100, memoryview(b"new"))
    pages.fill(0, b"o" * B)
    assert list(pages.valid) == [Extent(0, B)]
    data = bytearray(B)
    pages.read_into(memoryview(data), 0)
    assert bytes(data) == b"o" * 100 + b"new" + b"o" * (B - 103)
    assert pages.take_dirty(B, B) == [Extent(0, B)]


def test_a_record_with_gaps_is_sent_as_it_is(pages: DirtyPages) -> None:
    """Without the bytes around it nothing is rounded: they would be inventions."""
    pages.write(100, memoryview(b"new"))
    assert pages.take_dirty(B, B) == [Extent(100, 103)]


def test_what_is_written_under_writeback_is_sent_again(pages: DirtyPages) -> None:
    """U-SP1: the copy taken at submission stays, and the write is not lost with its end."""
    pages.write(0, memoryview(b"a" * B))
    (run,) = pages.take_dirty(B, B)
    copy = pages.snapshot(run)
    pages.write(10, memoryview(b"b"))
    assert copy == b"a" * B
    pages.landed([run])
    assert pages.flying_bytes == 0
    assert list(pages.dirty) == [Extent(10, 11)]


def test_a_failed_writeback_makes_it_dirty_again(pages: DirtyPages) -> None:
    """What landed before the failure is not sent again."""
    pages.write(0, memoryview(b"a" * 3 * B))
    pages.take_dirty(B, 3 * B)
    pages.landed([Extent(0, B)])
    pages.redirty()
    assert list(pages.dirty) == [Extent(B, 3 * B)]
    assert pages.unsent_bytes == 2 * B


def test_forgetting_keeps_what_is_to_be_sent(pages: DirtyPages) -> None:
    """Bytes that can be had elsewhere go, unsent ones stay."""
    pages.write(0, memoryview(b"a" * 4 * B))
    pages.take_dirty(B, 4 * B)
    pages.landed([Extent(0, 4 * B)])
    pages.write(B, memoryview(b"b" * B))
    pages.forget([Extent(0, 4 * B)])
    assert list(pages.valid) == [Extent(B, 2 * B)]
    data = bytearray(B)
    pages.read_into(memoryview(data), B)
    assert bytes(data) == b"b" * B


def test_zeros_go_only_where_nothing_is_known(pages: DirtyPages) -> None:
    """A block past the zero point: the new bytes, and zeros around them."""
    pages.write(0, memoryview(b"old"))
    pages.truncate(0)
    pages.write(5, memoryview(b"new"))
    pages.zero(0, B)
    data = bytearray(B)
    pages.read_into(memoryview(data), 0)
    assert bytes(data) == b"\0" * 5 + b"new" + b"\0" * (B - 8)


def test_an_upload_that_ends_after_its_file_was_thrown_away_forgets_in_peace(
    pages: DirtyPages,
) -> None:
    """The private file is closed by an abort on the way: there is nothing to be cut any more."""
    pages.write(0, memoryview(b"x" * B))
    pages.take_dirty(B, B)
    pages.close()
    pages.landed([Extent(0, B)])
    pages.forget([Extent(0, B)])
    assert not pages.valid
