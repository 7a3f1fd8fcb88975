"""A disk that fails: every system call of this process on one folder, whoever makes it.

Wraps the functions of ``os`` (and ``open``) that take a path or a descriptor, so that it sees the
store, the journal, private files, maps and the hot path of cached reads alike.  What lies outside
the folder is untouched.  Calls are performed for real unless they are to fail.
"""

from __future__ import annotations

import builtins
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netcache._cachefiles.fileops import PosixFileOps

_BY_PATH = ("open", "mkdir", "mkfifo", "rmdir", "unlink", "stat", "lstat", "chmod", "statvfs")
_BY_DESCRIPTOR = (
    *("read", "write", "pread", "preadv", "pwrite", "pwritev", "lseek", "ftruncate"),
    *("fstat", "fstatvfs", "fsync", "fdatasync", "fchmod", "utime", "listdir"),
    *("getxattr", "setxattr", "removexattr"),
)
_TWO_NAMES = ("rename", "replace", "link")

_TAKES_ROOM = frozenset(
    {"mkdir", "mkfifo", "write", "pwrite", "pwritev", "setxattr", "fsync", "fdatasync", "link"}
    | {"rename", "replace", "copy_file_range", "punch_hole", "make"}
)
_CHANGES = _TAKES_ROOM | {"open_to_write", "rmdir", "unlink", "chmod", "fchmod", "ftruncate"}
_CHANGES |= {"utime", "removexattr"}

FAILS: dict[int, frozenset[str] | None] = {
    errno.ENOSPC: _TAKES_ROOM,
    errno.EDQUOT: _TAKES_ROOM,
    errno.EROFS: _CHANGES,
    errno.EIO: None,
}
"""Which calls can fail with an error; None: all of them."""


class DiskFaults:
    """Fails the ``fail_at``-th call on ``folder`` that can fail that way, or all from then on.

    Calls of all threads count, in the order in which they come.  Nothing fails before ``arm``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = os.fspath(folder)
        self.failed: list[str] = []
        self.calls = 0
        self._lock = threading.Lock()
        self._fail_at = 0
        self._errno = 0
        self._lasting = False
        self._saved: list[tuple[Any, str, Any]] = []
        self._readlink = os.readlink

    def arm(self, code: int, fail_at: int, *, lasting: bool = False) -> None:
        """Count from now; fail call number ``fail_at`` (1 is the next)."""
        self.calls, self.failed = 0, []
        self._errno, self._fail_at, self._lasting = code, fail_at, lasting

    def disarm(self) -> None:
        """The disk is well again."""
        self._fail_at = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Neither count nor fail what a test looks at meanwhile."""
        fail_at, self._fail_at = self._fail_at, 0
        try:
            yield
        finally:
            self._fail_at = fail_at

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        """Fail a call on the folder if it is its turn, or perform it."""
        if self._is_due(name):
            raise OSError(self._errno, os.strerror(self._errno))
        return call()

    def _is_due(self, name: str) -> bool:
        with self._lock:
            if not self._fail_at:
                return False
            kinds = FAILS[self._errno]
            if kinds is not None and name not in kinds:
                return False
            self.calls += 1
            due = self.calls >= self._fail_at if self._lasting else self.calls == self._fail_at
            if due:
                self.failed.append(name)
            return due

    # Whether a call is ours.

    def _holds(self, place: Any, at: int | None = None) -> bool:
        if isinstance(place, int):
            try:
                return self._readlink(f"/proc/self/fd/{place}").startswith(self.folder)
            except OSError:
                return False
        path = os.fsdecode(place)
        if path.startswith("/proc/self/fd/") and path[14:].isdigit():
            return self._holds(int(path[14:]))
        if path.startswith("/"):
            return path.startswith(self.folder)
        return at is not None and self._holds(at)

    # Installing.

    def __enter__(self) -> DiskFaults:
        for name in _BY_PATH:
            self._wrap(os, name, self._by_path(name, getattr(os, name)))
        for name in _BY_DESCRIPTOR:
            self._wrap(os, name, self._by_descriptor(name, getattr(os, name)))
        for name in _TWO_NAMES:
            self._wrap(os, name, self._two_names(name, getattr(os, name)))
        self._wrap(os, "copy_file_range", self._copying(os.copy_file_range))
        self._wrap(builtins, "open", self._opening(builtins.open))
        punch = PosixFileOps.punch_hole
        self._wrap(
            PosixFileOps,
            "punch_hole",
            lambda ops, fd, start, length: self.around(
                "punch_hole", lambda: punch(ops, fd, start, length)
            ),
        )
        return self

    def __exit__(self, *error: object) -> None:
        while self._saved:
            setattr(*self._saved.pop())

    def _wrap(self, owner: Any, name: str, wrapped: Any) -> None:
        self._saved.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, wrapped)

    def _by_path(self, name: str, real: Any) -> Any:
        def call(path: Any, *args: Any, **more: Any) -> Any:
            if not self._fail_at or not self._holds(path, more.get("dir_fd")):
                return real(path, *args, **more)
            kind = name
            if name == "open":
                flags = args[0]
                kind = "make" if flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY) else name
                if kind == name and flags & (os.O_WRONLY | os.O_RDWR):
                    kind = "open_to_write"
            return self.around(kind, lambda: real(path, *args, **more))

        return call

    def _by_descriptor(self, name: str, real: Any) -> Any:
        def call(place: Any = ".", *args: Any, **more: Any) -> Any:
            if not self._fail_at or not self._holds(place):
                return real(place, *args, **more)
            return self.around(name, lambda: real(place, *args, **more))

        return call

    def _two_names(self, name: str, real: Any) -> Any:
        def call(old: Any, new: Any, **more: Any) -> Any:
            if not self._fail_at or not self._holds(new, more.get("dst_dir_fd")):
                return real(old, new, **more)
            return self.around(name, lambda: real(old, new, **more))

        return call

    def _copying(self, real: Any) -> Any:
        def call(source: int, target: int, *args: Any) -> Any:
            if not self._fail_at:
                return real(source, target, *args)
            if self._holds(target):
                return self.around("copy_file_range", lambda: real(source, target, *args))
            if self._holds(source):
                return self.around("copy_from", lambda: real(source, target, *args))
            return real(source, target, *args)

        return call

    def _opening(self, real: Any) -> Any:
        def call(path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
            if not self._fail_at or isinstance(path, int) or not self._holds(path):
                return real(path, mode, *args, **more)
            kind = "make" if set(mode) & set("wax") else "open"
            return self.around(kind, lambda: real(path, mode, *args, **more))

        return call
