"""Uploads that are not complete: what has arrived of them, and for what it is meant.

::

    <served folder>/.netcache-part-uploads/<token>         the bytes so far
    <served folder>/.netcache-part-uploads/<token>.json    what they are (``UploadRecord``)

Rules:

1. A token cannot be guessed, and is the only way to an upload.  The folder's name is one that is
   never listed, served or accepted (``PART_PREFIX``).
2. What has arrived is the file's length, and nothing else says so: it is true after any crash of
   the server.  Who changes an upload holds the lock on its file (``flock``).
3. An upload that nobody has touched for ``MAX_AGE_S`` is gone; there are ``MAX_UPLOADS`` at most,
   and what they all still lack must find room on the disk when one begins.

Everything here blocks on the disk: it is called in threads.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from netcache_server.conditionals import Conditions
from netcache_server.partfile import PartFile
from netcache_server.paths import PART_PREFIX
from netcache_server.reply import HttpProblem
from netcache_server.tree import Tree

MAX_AGE_S = 24 * 3600
MAX_UPLOADS = 256
_FOLDER = PART_PREFIX + "uploads"
_RECORD = ".json"
_RECORD_BYTES_MAX = 256 * 1024
_TOKEN = re.compile("[0-9a-f]{32}")
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES = 10


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """What an upload was begun for.

    ``segments``: the path where it will appear.  ``length``: of the whole.  ``conditions``: the
    preconditions, which count when it appears.  ``digests``: what the whole must have, in hex.
    """

    segments: tuple[str, ...]
    length: int
    conditions: Conditions
    digests: dict[str, str]
    wants_sha256: bool
    mtime: float | None


class UploadFile(PartFile):
    """The file of one upload, locked by this process until it is closed; it then stays."""

    __slots__ = ("is_over", "record", "token")

    def __init__(self, folder: int, token: str, fd: int, record: UploadRecord) -> None:
        self._folder = os.dup(folder)
        self._name: str | None = token
        self.is_over = False
        self.fd = fd
        self.token = token
        self.record = record

    @property
    def size(self) -> int:
        """How much has arrived."""
        return os.fstat(self.fd).st_size

    def cut(self, size: int) -> None:
        """Forget what came after ``size``."""
        os.ftruncate(self.fd, size)

    def seek_end(self) -> None:
        """Write on where it ends."""
        os.lseek(self.fd, 0, os.SEEK_END)

    def publish(self, folder: int, name: str, *, replaces: bool) -> None:
        """Give the file its name; the upload is over then."""
        super().publish(folder, name, replaces=replaces)
        self.is_over = True

    def forget(self) -> None:
        """The upload is over: nothing stays when it is closed."""
        self.is_over = True

    def close(self) -> None:
        """Let it go for others to go on, or remove it when it is over; again does nothing."""
        if self._folder < 0:
            return
        with suppress(FileNotFoundError):
            if self.is_over:
                os.unlink(self.token + _RECORD, dir_fd=self._folder)
            else:
                self._name = None
                os.utime(self.token + _RECORD, dir_fd=self._folder)
        super().close()


class UploadStore:
    """The uploads of one served folder, shared with other servers of it."""

    def __init__(self, tree: Tree, *, fsync: bool) -> None:
        self._tree = tree
        self._fsync = fsync
        self.sweep_now_and_then()

    def begin(self, record: UploadRecord, folder: int) -> str:
        """Begin an upload that is to appear in ``folder`` or below; gives its token.

        Raises ``HttpProblem``: 501 where the file could not be moved there in one step, 503 when
        there are too many, 507 when there is no room.
        """
        self.sweep()
        for _ in range(_TRIES):
            with suppress(FileExistsError):
                os.mkdir(_FOLDER, 0o700, dir_fd=self._tree.fd)
            # Another request may have found it empty, and removed it.
            with suppress(FileNotFoundError), self._opened(alone=True) as uploads:
                if os.fstat(uploads).st_dev != os.fstat(folder).st_dev:
                    raise HttpProblem(501, "it lies on another filesystem")
                self._require_room(uploads, record.length)
                return self._make(uploads, record)
        raise HttpProblem(503, headers={"Retry-After": "1"})

    def open(self, token: str) -> UploadFile:
        """The upload of a token, locked.

        Raises ``HttpProblem`` 404 where there is none, and 423 while somebody else has it.
        """
        if not _TOKEN.fullmatch(token):
            raise HttpProblem(404)
        try:
            with self._opened() as folder:
                return _open(folder, token)
        except FileNotFoundError:
            raise HttpProblem(404, "there is no such upload (any more)") from None
        except BlockingIOError:
            raise busy() from None

    def close(self, file: UploadFile) -> None:
        """Let an upload go, on the disk if it is to go on; nothing is left of the last one."""
        if self._fsync and not file.is_over:
            os.fdatasync(file.fd)
        file.close()
        with suppress(OSError):
            os.rmdir(_FOLDER, dir_fd=self._tree.fd)

    def sweep_now_and_then(self) -> None:
        """``sweep``; what stands in the place of uploads concerns only those who begin one."""
        with suppress(OSError, HttpProblem):
            self.sweep()

    def sweep(self) -> None:
        """Remove what nobody has touched for too long, and what a crash left half."""
        with suppress(FileNotFoundError):
            with self._opened(alone=True) as folder:
                for name in os.listdir(folder):
                    _sweep(folder, name)
            with suppress(OSError):
                os.rmdir(_FOLDER, dir_fd=self._tree.fd)

    @contextmanager
    def _opened(self, *, alone: bool = False) -> Iterator[int]:
        """The folder; ``alone``: nobody else adds to it meanwhile, or tidies it up."""
        try:
            folder = os.open(_FOLDER, _OPEN_FOLDER, dir_fd=self._tree.fd)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise HttpProblem(501, "something else stands in the place of uploads") from None
            raise
        try:
            if alone:
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(folder)

    def _require_room(self, folder: int, length: int) -> None:
        count, lacking = 0, length
        for name in os.listdir(folder):
            if not _TOKEN.fullmatch(name):
                continue
            count += 1
            with suppress(OSError, ValueError):
                size = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
                lacking += max(0, _load(folder, name).length - size)
        if count >= MAX_UPLOADS:
            raise HttpProblem(503, "too many uploads are under way")
        room = os.fstatvfs(folder)
        if lacking > room.f_bavail * room.f_frsize:
            raise HttpProblem(507)

    def _make(self, folder: int, record: UploadRecord) -> str:
        token = secrets.token_hex(16)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(token + _RECORD, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(json.dumps(asdict(record)).encode("ascii"))
            file.flush()
            if self._fsync:
                os.fsync(file.fileno())
        os.close(os.open(token, flags, 0o666, dir_fd=folder))
        if self._fsync:
            os.fsync(folder)
        return token


def busy() -> HttpProblem:
    """The answer while another request adds to an upload."""
    return HttpProblem(423, "more of it is being received", {"Retry-After": "1"}, close=True)


def _open(folder: int, token: str) -> UploadFile:
    """Raises ``FileNotFoundError``, and ``BlockingIOError`` when somebody has it."""
    fd = os.open(token, os.O_RDWR | _OPEN_FILE, dir_fd=folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(fd)
        # Two links: it was published, and the server died before it could remove this name.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise FileNotFoundError(errno.ENOENT, "not an upload any more", token)
        if _age_s(folder, token + _RECORD) > MAX_AGE_S:
            raise FileNotFoundError(errno.ENOENT, "too old", token)
        try:
            return UploadFile(folder, token, fd, _load(folder, token))
        except ValueError:
            raise FileNotFoundError(errno.ENOENT, "its record is damaged", token) from None
    except BaseException:
        os.close(fd)
        raise


def _load(folder: int, token: str) -> UploadRecord:
    """Raises ``OSError`` and ``ValueError``."""
    fd = os.open(token + _RECORD, os.O_RDONLY | _OPEN_FILE, dir_fd=folder)
    try:
        document = json.loads(os.read(fd, _RECORD_BYTES_MAX))
        return UploadRecord(
            tuple(document["segments"]),
            document["length"],
            Conditions(*document["conditions"]),
            document["digests"],
            document["wants_sha256"],
            document["mtime"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from error
    finally:
        os.close(fd)


def _age_s(folder: int, name: str) -> float:
    return time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime


def _sweep(folder: int, name: str) -> None:
    """Remove ``name`` if it is of an upload that is too old, or the half of one."""
    token = name.removesuffix(_RECORD)
    if not _TOKEN.fullmatch(token):
        return
    with suppress(FileNotFoundError, BlockingIOError):
        try:
            _open(folder, token).close()
        except FileNotFoundError:
            os.unlink(name, dir_fd=folder)
