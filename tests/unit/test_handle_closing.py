"""Reads on the caller's own thread, while another thread closes the client."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netcache._netfs.handle import ReadHandle
from netcache._netfs.inode import Inode
from tests.support.read_rig import B, cached, read_rig, whole


class ClosedMeanwhile(Inode):
    """Is closed as soon as a reader knows its descriptor, which ``other`` then gets."""

    other = -1

    def find_window(self, start: int, end: int, *, wait: bool = True) -> tuple[int, int]:
        """Tell the descriptor, and close it."""
        descriptor, end = super().find_window(start, end, wait=wait)
        assert descriptor >= 0
        self.close()
        os.dup2(self.other, descriptor)
        return descriptor, end


@pytest.mark.parametrize("way", ["hit", "hit_into", "hit_nowait"])
async def test_a_read_beside_a_close_never_shows_another_file(tmp_path: Path, way: str) -> None:
    """The number of the descriptor had gone to another file, whose bytes were returned."""
    async with read_rig(tmp_path / "cache", 100 * B) as rig:
        filled = rig.inode()
        await rig.issue(filled, whole(rig))
        inode = ClosedMeanwhile(filled.resource, filled.key, filled.version, cached(filled))
        (tmp_path / "other").write_bytes(b"x" * 100 * B)
        inode.other = os.open(tmp_path / "other", os.O_RDONLY)
        descriptor = cached(filled).fileno()
        handle = ReadHandle(
            filled.resource, rig.engine.inodes, rig.stats, readahead_bytes=0, check_each_read=False
        )
        handle.inode = inode
        if way == "hit":
            assert handle.hit(100, 0) is None
        else:
            buffer = bytearray(100)
            assert getattr(handle, way)(memoryview(buffer), 0) is None
        handle.inode = None
        os.close(descriptor)
        os.close(inode.other)
