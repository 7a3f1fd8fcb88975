"""The served folder: names to files, and never a step outside.

Rules:

1. A path is walked one component at a time by descriptors (``openat`` with ``O_NOFOLLOW``), so what
   was checked is what is opened, whatever others do to the tree meanwhile.
2. A symbolic link is followed only by this walk itself: its target is read and walked like the
   rest, ``..`` takes back a step of the walk, and one step too many is an escape (403).
3. Only regular files and folders exist.  A FIFO, socket or device is 403 and never opened, since
   opening one may block or act.

Everything here blocks on the disk.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from netcache_server.etag import read_etag

_OPEN_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_LINKS = 40


class ForbiddenPathError(PermissionError):
    """The path leaves the served folder, or names what is neither file nor folder (403)."""


class NotAFolderError(NotADirectoryError):
    """A file stands where the path needs a folder."""


class Place:
    """Where a path leads: a folder that is held open, and a name in it.

    ``folder``: descriptor of the folder that is (or would be) the parent; with ``missing`` it is
    the nearest ancestor that exists.
    ``name``: the last component, ``"."`` for ``folder`` itself.
    ``missing``: the components between ``folder`` and ``name`` that do not exist.
    ``status``: of what is there, not following a link; ``None`` if nothing is there.
    """

    __slots__ = ("folder", "missing", "name", "status")

    def __init__(
        self, folder: int, name: str, missing: tuple[str, ...], status: os.stat_result | None
    ) -> None:
        self.folder = folder
        self.name = name
        self.missing = missing
        self.status = status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_file(self) -> bool:
        """Whether a regular file is there."""
        return self.status is not None and stat.S_ISREG(self.status.st_mode)

    @property
    def is_folder(self) -> bool:
        """Whether a folder is there."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def close(self) -> None:
        """Let the folder go; calling it again does nothing."""
        if self.folder >= 0:
            os.close(self.folder)
            self.folder = -1

    def require_known_kind(self) -> None:
        """Raise ``ForbiddenPathError`` for what is neither file nor folder."""
        if self.status is not None and not (self.is_file or self.is_folder):
            raise ForbiddenPathError("neither a file nor a folder")

    def open_file(self) -> OpenFile:
        """Open the regular file that is there for reading."""
        fd = os.open(self.name, _OPEN_FILE, dir_fd=self.folder)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise ForbiddenPathError("not a regular file")
        return OpenFile(fd, status)

    def open_folder(self) -> int:
        """Open the folder that is there for listing; the caller closes the descriptor."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.name, flags, dir_fd=self.folder)


class OpenFile:
    """One version of a file: its descriptor, and what was true of it when it was opened."""

    __slots__ = ("etag", "fd", "status")

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self.fd = fd
        self.status = status
        self.etag = read_etag(fd, status)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.status.st_size

    @property
    def last_modified(self) -> int:
        """Its modification time in whole seconds."""
        return self.status.st_mtime_ns // 1_000_000_000

    def unchanged(self) -> bool:
        """Whether the open file still is the version that it was when opened."""
        now = os.fstat(self.fd)
        return (now.st_mtime_ns, now.st_size) == (self.status.st_mtime_ns, self.status.st_size)

    def close(self) -> None:
        """Close it; calling it again does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Tree:
    """The served folder.  Holds its descriptor open, so renaming the folder does not matter."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.realpath(root)
        self.fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let the folder go."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def locate(self, segments: Sequence[str], *, follow_last: bool = True) -> Place:
        """Walk to where a path leads.

        Raises ``ForbiddenPathError`` for an escape, ``NotAFolderError`` for a file in the middle,
        ``FileNotFoundError`` for a link whose target cannot be named.
        """
        with ExitStack() as stack:
            walk = _Walk(self, stack)
            walk.push(segments)
            place = walk.run(follow_last)
        return place


class _Walk:
    """One walk: the folders passed, as descriptors, and the components still to go."""

    def __init__(self, tree: Tree, stack: ExitStack) -> None:
        self._tree = tree
        self._folders = [os.dup(tree.fd)]
        self._todo: list[str] = []
        self._links = 0
        stack.callback(self._close)

    def push(self, components: Iterable[str]) -> None:
        """Put components before those still to go."""
        self._todo.extend(reversed([name for name in components if name not in ("", ".")]))

    def run(self, follow_last: bool) -> Place:
        while self._todo:
            name = self._todo.pop()
            if name == "..":
                self._back()
                continue
            try:
                status = os.stat(name, dir_fd=self._folders[-1], follow_symlinks=False)
            except FileNotFoundError:
                return self._absent(name)
            if stat.S_ISLNK(status.st_mode) and (self._todo or follow_last):
                self._follow(name)
            elif not self._todo:
                return Place(self._folders.pop(), name, (), status)
            elif not stat.S_ISDIR(status.st_mode):
                raise NotAFolderError(name)
            else:
                self._folders.append(os.open(name, _OPEN_FOLDER, dir_fd=self._folders[-1]))
        folder = self._folders.pop()
        return Place(folder, ".", (), os.fstat(folder))

    def _absent(self, name: str) -> Place:
        rest = [name, *reversed(self._todo)]
        if ".." in rest:
            raise FileNotFoundError(name)
        return Place(self._folders.pop(), rest[-1], tuple(rest[:-1]), None)

    def _back(self) -> None:
        if len(self._folders) == 1:
            raise ForbiddenPathError("a link leads out of the served folder")
        os.close(self._folders.pop())

    def _follow(self, name: str) -> None:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise ForbiddenPathError("too many links")
        target = os.readlink(name, dir_fd=self._folders[-1])
        if target.startswith("/"):
            inside = target == self._tree.root or target.startswith(self._tree.root + "/")
            if not inside:
                raise ForbiddenPathError("a link leads out of the served folder")
            target = target[len(self._tree.root) :]
            while len(self._folders) > 1:
                os.close(self._folders.pop())
        self.push(target.split("/"))

    def _close(self) -> None:
        while self._folders:
            with suppress(OSError):
                os.close(self._folders.pop())
