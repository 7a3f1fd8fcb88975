"""The moment at which something changes in the served folder.

Rules:

1. Preconditions are judged under the same lock under which the change is made, so of two changes
   that are conditional on one version exactly one is made.  The lock also holds against other
   servers of the same folder (``flock``); it is held for moments, never for the length of a body.
2. A file is durable before it gets its name, and the name is durable before the request is
   answered (``fsync``).
3. A file's tag is bound to it before it gets its name, so nobody ever sees it under another one.

Everything here blocks on the disk: it is called in threads.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from netcache_server.conditionals import Conditions, Outcome, Validators, evaluate
from netcache_server.distortion import judged_validators
from netcache_server.etag import new_etag, remember_etag, remember_sha256
from netcache_server.exchange import Exchange
from netcache_server.options import ServerOptions
from netcache_server.partfile import PartFile
from netcache_server.reply import HttpProblem
from netcache_server.tree import Place, Tree

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Sealed(NamedTuple):
    """What is bound to a file in progress when it is complete."""

    etag: str
    last_modified: int


Precondition = Callable[[Place], None]
"""Looks at what is there before a change; raises what is to be answered instead of changing it."""


def current_validators(place: Place) -> Validators | None:
    """The validators of what is at a place, or ``None`` if nothing is."""
    if place.status is None:
        return None
    if not place.is_file:
        return Validators(None, None)
    file = place.open_file()
    try:
        return Validators(file.etag, file.last_modified)
    finally:
        file.close()


def require_conditions(
    exchange: Exchange, place: Place, conditions: Conditions | None = None
) -> None:
    """Raise ``HttpProblem`` 412 unless preconditions hold for a place: the request's, or others."""
    current = current_validators(place)
    judged = None if current is None else judged_validators(current, exchange.effects)
    conditions = conditions or Conditions.of(exchange.headers)
    if evaluate(exchange.method, conditions, judged) is not Outcome.PROCEED:
        known = {} if current is None or current.etag is None else {"ETag": current.etag}
        raise HttpProblem(412, headers=known)


class Publisher:
    """Makes changes, one at a time.  ``_changing`` guards the names in the tree."""

    def __init__(self, options: ServerOptions, tree: Tree) -> None:
        self._fsync = options.fsync
        self.tree = tree
        self._changing = threading.Lock()
        self._lock_fd = os.open(".", _OPEN_FOLDER, dir_fd=tree.fd)

    def close(self) -> None:
        """Let the lock go."""
        os.close(self._lock_fd)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold off all other changes, of this server and of others of the same folder."""
        with self._changing:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def seal(self, part: PartFile, mtime: float | None, sha256: bytes | None) -> Sealed:
        """Bind time, tag and digest to a complete file and make it durable."""
        if mtime is not None:
            nanoseconds = int(mtime * 1_000_000_000)
            os.utime(part.fd, ns=(time.time_ns(), nanoseconds))
        etag = remember_etag(part.fd, new_etag())
        status = os.fstat(part.fd)
        if sha256 is not None:
            remember_sha256(part.fd, sha256, status)
        if self._fsync:
            os.fsync(part.fd)
        return Sealed(etag, status.st_mtime_ns // 1_000_000_000)

    def publish(
        self,
        exchange: Exchange,
        part: PartFile,
        check: Precondition,
        segments: Sequence[str] | None = None,
    ) -> bool:
        """Put a sealed file where the request's path, or another, leads; tells whether it is new.

        Missing folders are made.  Raises what ``check`` raises, and ``HttpProblem`` 409 where a
        folder is in the way.
        """
        with ExitStack() as stack:
            with self.exclusive():
                path = exchange.path.segments if segments is None else segments
                place = stack.enter_context(self.tree.locate(path))
                check(place)
                require_file_target(place)
                if place.status is not None:
                    with suppress(OSError):  # somebody else's file: the mode is not ours to give
                        os.fchmod(part.fd, stat.S_IMODE(place.status.st_mode) & 0o777)
                folder = self._make_folders(place, place.missing, stack)
                replaces = place.status is not None
                try:
                    part.publish(folder, place.name, replaces=replaces)
                except FileExistsError:
                    raise HttpProblem(412, "something has just come there") from None
            self.persist(folder)
            return not replaces

    def make_folder(self, exchange: Exchange, check: Precondition, *, parents: bool) -> None:
        """Make an empty folder.  Raises what ``check`` raises, and ``HttpProblem`` 409."""
        with ExitStack() as stack:
            with self.exclusive():
                place = stack.enter_context(self.tree.locate(exchange.path.segments))
                check(place)
                if place.missing and not parents:
                    raise HttpProblem(409, "its parent folder does not exist")
                folder = self._make_folders(place, place.missing, stack)
                os.mkdir(place.name, dir_fd=folder)
            self.persist(folder)

    def _make_folders(self, place: Place, names: tuple[str, ...], stack: ExitStack) -> int:
        """Make the folders below a place; gives a descriptor of the last one."""
        folder = place.folder
        for name in names:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
            parent, folder = folder, os.open(name, _OPEN_FOLDER, dir_fd=folder)
            stack.callback(os.close, folder)
            self.persist(parent)
        return folder

    def persist(self, folder: int) -> None:
        """Make the names in a folder durable."""
        if not self._fsync:
            return
        fd = os.open(".", _OPEN_FOLDER, dir_fd=folder)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def require_file_target(place: Place) -> None:
    """Raise ``HttpProblem`` unless a file may stand at a place."""
    place.require_known_kind()
    if place.is_folder:
        raise HttpProblem(409, "a folder stands there")
