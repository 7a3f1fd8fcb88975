"""The cache directory: its folders, its tag, its format, and who may use it.

::

    CACHEDIR.TAG   format   probe   stats
    cache/I<volume>/@xx/<object>
    cache/+sums/@xx/<inode number>
    graveyard/

The directory is 0700 and its files 0600.  One of another user, one that others could write to, one
that is a symbolic link where a folder is expected, and one of a newer format are refused and left
alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from netcache._core.label import FORMAT
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

STORE, GRAVEYARD, SUMS = "cache", "graveyard", "+sums"
_TAG_NAME, _FORMAT_NAME = "CACHEDIR.TAG", "format"
_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This file marks a cache directory of netcache; backups may leave it out.\n"
    b"# See https://bford.info/cachedir/\n"
)


def prepare(ops: FileOps, directory: str) -> int:
    """Make what is missing; returns a descriptor of the directory.

    Raises ``CacheError`` when the directory cannot be a cache of ours, ``OSError`` as it comes.
    """
    _make_parents(ops, directory)
    try:
        root = ops.open_folder(directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise CacheError(
                f"{directory} is not a folder (name another with --cache-dir)"
            ) from error
        raise
    try:
        _check_owner(ops, root, directory)
        _check_format(ops, root, directory)
        for name in (STORE, GRAVEYARD):
            ops.make_folder(name, at=root)
            ops.close(ops.open_folder(name, at=root))
    except BaseException:
        ops.close(root)
        raise
    return root


def _make_parents(ops: FileOps, directory: str) -> None:
    missing = []
    path = directory
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for path in reversed(missing):
        ops.make_folder(path)


def _check_owner(ops: FileOps, root: int, directory: str) -> None:
    owner = ops.stat(root).st_uid
    if owner != os.getuid():
        raise CacheError(
            f"{directory} belongs to user {owner}, not to {os.getuid()} (use one of your own)"
        )
    mode = ops.stat(root).st_mode & 0o777
    if mode & 0o022 and STORE in ops.list_folder(root):
        raise CacheError(
            f"{directory} could be written to by others (mode {mode:o}), so what is in it cannot "
            "be believed (delete it, or set its mode to 700 if you know that nobody did)"
        )
    if mode & 0o077:
        ops.chmod(root, 0o700)


def _check_format(ops: FileOps, root: int, directory: str) -> None:
    """Write the format and the tag of a new directory; refuse a newer format."""
    text = read_small(ops, root, _FORMAT_NAME)
    if text is None:
        write_small(ops, root, _TAG_NAME, _TAG)
        write_small(ops, root, _FORMAT_NAME, b"%d\n" % FORMAT)
        return
    try:
        found = int(text)
    except ValueError:
        found = 0
    if found > FORMAT:
        raise CacheError(
            f"{directory} has cache format {found}, this version knows up to {FORMAT} "
            "(use a newer netcache, or another directory)"
        )
    if found < FORMAT:
        write_small(ops, root, _FORMAT_NAME, b"%d\n" % FORMAT)


def read_small(ops: FileOps, root: int, name: str) -> bytes | None:
    """The content of a small file; None when there is none."""
    try:
        fd = ops.open_file(name, root)
    except FileNotFoundError:
        return None
    try:
        buffer = bytearray(4096)
        return bytes(buffer[: ops.read_into(fd, buffer, 0)])
    finally:
        ops.close(fd)


def write_small(
    ops: FileOps, folder: int, name: str, data: bytes, *, durable: bool = False
) -> None:
    """Write a small file whole, by rename; when it fails nothing is left of it."""
    private = f".{name}.{os.urandom(8).hex()}"
    fd = ops.open_new(private, folder)
    try:
        ops.write_all(fd, data, 0)
        if durable:
            ops.fsync(fd)
        ops.rename(private, folder, name, folder)
    except BaseException:
        # Nobody tidies up here.
        with contextlib.suppress(OSError):
            ops.unlink(private, folder)
        raise
    finally:
        ops.close(fd)
    if durable:
        ops.fsync(folder)
