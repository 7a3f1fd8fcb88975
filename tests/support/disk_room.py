"""Whether the disk that tests write to has room for what they expect to stay cached."""

from __future__ import annotations

import os

from netcache._core.watermarks import Watermarks

NEEDED_BYTES = 4 << 30
"""What the tests have on the disk at the same time, where each one's files go when it passed."""


def lacking_room(folder: str) -> str | None:
    """Why tests cannot run in this folder, on one line; ``None`` when they can."""
    found = os.statvfs(folder)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    marks = Watermarks()
    left = free - NEEDED_BYTES
    if not marks.judge(left, total, found.f_favail, found.f_files, culling=True).culling:
        return None
    return (
        f"the tests need {NEEDED_BYTES >> 30} GiB of room, and {marks.run_percent} % of the disk"
        f" and of its files free besides (below that caches are culled): {folder} has"
        f" {free / 2**30:.1f} of {total / 2**30:.1f} GiB; name another disk's with TMPDIR"
    )
