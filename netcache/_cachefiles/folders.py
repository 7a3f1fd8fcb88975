"""Folders by path, without following a symbolic link; a part of ``PosixFileOps``."""

from __future__ import annotations

import os

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def open_folder(path: str, at: int | None) -> int:
    """Open a folder.  Below ``at`` no component may be a link; without it, not the last one."""
    if at is None or "/" not in path:
        return os.open(path, _FLAGS, dir_fd=at)
    parent, _, name = path.rpartition("/")
    folder = open_folder(parent, at)
    try:
        return os.open(name, _FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def make_folder(path: str, at: int | None) -> None:
    """Make a private folder; one that is there is fine.  Links as in ``open_folder``."""
    parent, _, name = path.rpartition("/")
    if at is not None and parent:
        folder = open_folder(parent, at)
        try:
            make_folder(name, folder)
        finally:
            os.close(folder)
        return
    try:
        os.mkdir(path, 0o700, dir_fd=at)
    except FileExistsError:
        return
