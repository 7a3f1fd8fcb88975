"""What the filesystem under a cache can do, tried out once and remembered.

A name in a table would not do: block sizes, mount options and kernels change the answers (see
``docs/on-disk-format.md``).  What is missing is told in the status; what the store cannot do
without refuses the binding.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from netcache._cachefiles.label_file import USE_BYTE
from netcache._cachefiles.layout import GRAVEYARD, read_small, write_small
from netcache._core.label import ATTRIBUTE, FORMAT, LABEL_BYTES_MAX, Epoch
from netcache.errors import CacheError, UsageError

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

BLOCK_SIZE_MIN, BLOCK_SIZE_MAX = 512, 65536
LOCKS = "locks"
"""How the status names locks that do nothing."""

_NAME = "probe"
_TRIES = 10


class Probed(NamedTuple):
    """The block size to use, and the names of what is missing."""

    block_size: int
    missing: tuple[str, ...]


def probe(ops: FileOps, root: int, epoch: Epoch, wanted: int | None) -> Probed:
    """Try, or remember.  ``CacheError`` when the filesystem cannot bear a cache."""
    block_size = _block_size(ops, root, wanted)
    device = ops.stat(root).st_dev
    key = f"{FORMAT}.1 {epoch.boot.hex()} {epoch.mount} {device} {block_size}"
    text = (read_small(ops, root, _NAME) or b"").decode("utf-8", "replace")
    if epoch.mount and text.startswith(key + "|") and text.endswith("\n"):
        return Probed(block_size, tuple(filter(None, text[len(key) + 1 : -1].split(","))))
    missing = _try_again(ops, root, block_size)
    write_small(ops, root, _NAME, f"{key}|{','.join(missing)}\n".encode())
    return Probed(block_size, missing)


def _block_size(ops: FileOps, root: int, wanted: int | None) -> int:
    own = ops.statvfs(root).f_bsize
    if wanted is None:
        if own < 1 or own > BLOCK_SIZE_MAX or own & (own - 1):
            raise CacheError(
                f"the filesystem says that its block size is {own}, which cannot be used "
                "(name another directory, or a block size)"
            )
        return max(own, BLOCK_SIZE_MIN)
    if not BLOCK_SIZE_MIN <= wanted <= BLOCK_SIZE_MAX or wanted & (wanted - 1):
        raise UsageError(
            f"block_size={wanted}: a power of two, {BLOCK_SIZE_MIN} to {BLOCK_SIZE_MAX}, is needed"
        )
    if 0 < own <= BLOCK_SIZE_MAX and wanted < own:
        raise CacheError(
            f"block_size={wanted}: the filesystem's own blocks have {own} bytes, and it tells "
            f"holes only in those (use {own} or more)"
        )
    return wanted


def _try_again(ops: FileOps, root: int, block_size: int) -> tuple[str, ...]:
    """Try until nobody takes our file for one that a killed process left."""
    for _ in range(_TRIES - 1):
        try:
            return _try(ops, root, block_size)
        except FileNotFoundError:
            continue
    return _try(ops, root, block_size)


def _try(ops: FileOps, root: int, block_size: int) -> tuple[str, ...]:
    from netcache._cachefiles.lockless import locks_work

    missing: list[str] = []
    grave = ops.open_folder(GRAVEYARD, at=root)
    name = f"probe-{os.urandom(8).hex()}"
    try:
        try:
            ops.close(ops.open_tmpfile(grave))
        except OSError:
            missing.append("O_TMPFILE")
        fd = ops.open_new(name, grave)
        try:
            ops.lock_range(fd, USE_BYTE, 1, shared=True)
            _try_attributes(ops, fd)
            missing += _try_holes(ops, fd, block_size)
            if not ops.identify(fd).born_ns:
                missing.append("birth time")
            if not locks_work(ops, name, grave):
                missing.append(LOCKS)
        finally:
            ops.close(fd)
            # Where locks do nothing another process may have taken it for a leftover.
            with contextlib.suppress(FileNotFoundError):
                ops.unlink(name, grave)
        if not ops.identify(root).mount:
            missing.append("unique mount id")
    finally:
        ops.close(grave)
    return tuple(missing)


def _try_attributes(ops: FileOps, fd: int) -> None:
    value = b"\xa5" * min(LABEL_BYTES_MAX, 512)
    try:
        ops.setxattr(fd, ATTRIBUTE, value)
        kept = ops.getxattr(fd, ATTRIBUTE)
    except OSError as error:
        raise CacheError(
            f"the filesystem has no extended attributes for users ({error.strerror}), which the "
            "cache needs (name a directory on another filesystem)"
        ) from error
    if kept != value:
        raise CacheError("the filesystem changes extended attributes, which the cache needs")


def _try_holes(ops: FileOps, fd: int, block_size: int) -> list[str]:
    """Write one block into a sparse file and ask; take it away and ask; sync and ask."""
    start, end = 2 * block_size, 3 * block_size
    ops.write_all(fd, b"\xa5" * block_size, start)
    ops.truncate(fd, 2 * end)
    ops.fdatasync(fd)
    try:
        seen = ops.seek_data(fd, 0), ops.seek_hole(fd, start)
    except OSError:
        seen = (-1, -1)
    if seen != (start, end):
        raise CacheError(
            "the filesystem does not tell holes from data (SEEK_DATA), which the cache needs "
            "(name a directory on another filesystem)"
        )
    try:
        ops.punch_hole(fd, start, block_size)
    except OSError:
        return ["punch hole"]
    ops.fdatasync(fd)
    return [] if ops.seek_data(fd, 0) == -1 else ["punch hole"]
