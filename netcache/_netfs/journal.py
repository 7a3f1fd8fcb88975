"""The journal: edits that outlive the process that made them.

::

    <state>/uploads/<id>/data     the bytes, at their own offsets (sparse)
    <state>/uploads/<id>/record   what they are (``journal_record``), replaced by rename

Rules (what the server lacks is here, and nowhere else; the cache does not count):

1. The data is durable before the record that speaks of it, and the record before ``save`` returns.
2. A part is named in the record before it is sent, with the version that it is made from: whoever
   finds the record knows what the server may have.
3. The process that works on an entry holds a lock on its data; the kernel lets go of it when the
   process ends.  Locks are tried, never waited for.
4. What nobody recorded was promised to nobody, and is removed by the next process.

Nothing under ``uploads`` is ever removed to make room.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from typing import IO

from netcache._core.journal_record import (
    JournalError,
    JournalRecord,
    decode_record,
    encode_record,
)
from netcache._netfs.journal_folder import entry_names, journal_folder
from netcache.errors import CacheError

RECORD_BYTES_MAX = 16 << 20
_BEGIN_TRIES = 100
_DATA, _RECORD, _NEW_RECORD = "data", "record", "record.new"


class JournalEntry:
    """One edit in the journal, locked by this process.  Every method may block on the disk.

    Thread-safe; once it is removed, nothing is saved any more.
    """

    def __init__(self, path: str, data: IO[bytes]) -> None:
        self.path = path
        self.data = data
        self._changing = threading.RLock()
        self._removed = False
        self.saved = os.path.exists(os.path.join(path, _RECORD))

    @property
    def name(self) -> str:
        """Its name in the journal."""
        return os.path.basename(self.path)

    def save(self, record_now: Callable[[], JournalRecord | None], *, again: bool = False) -> None:
        """Make the data and then the record durable; ``again``: if there is one already.

        The record is asked for here: of two that save, the later one has the later record.  None:
        the server has everything, and nothing is to be done for it any more.
        """
        with self._changing:
            if self._removed or (again and not self.saved):
                return
            record = record_now()
            if record is not None:
                self._save(record)
            else:
                self._settle()

    def _save(self, record: JournalRecord) -> None:
        raw = encode_record(record)
        if len(raw) > RECORD_BYTES_MAX:
            raise OSError(errno.EFBIG, "the edit has too many parts")
        os.fdatasync(self.data.fileno())
        new = os.path.join(self.path, _NEW_RECORD)
        fd = open_own(new, os.O_WRONLY | os.O_CREAT)
        try:
            os.ftruncate(fd, 0)
            while raw:
                raw = raw[os.write(fd, raw) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(new, os.path.join(self.path, _RECORD))
        sync_folder(self.path)
        if not self.saved:
            sync_folder(os.path.dirname(self.path))
        self.saved = True

    def _settle(self) -> None:
        if self.saved:
            os.unlink(os.path.join(self.path, _RECORD))
            sync_folder(self.path)
            self.saved = False

    def load(self) -> JournalRecord:
        """The record; raises ``JournalError``."""
        return _load(self.path)

    def remove(self) -> None:
        """Forget the edit for good: the record first, then the data.

        Where the disk does not let go of it, the next process finds it, and compares what it holds
        with what the server has.
        """
        with self._changing:
            self._removed = True
            try:
                self._settle()
                for name in (_RECORD, _NEW_RECORD, _DATA):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(self.path, name))
                os.rmdir(self.path)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                    _warn(f"an edit cannot be removed: {self.path}: {error.strerror}")
            finally:
                self.data.close()

    def release(self) -> None:
        """Leave the entry to others."""
        self.data.close()


class Journal:
    """The entries under one state directory."""

    def __init__(self, state_dir: str) -> None:
        self.folder = journal_folder(state_dir)

    def begin(self) -> JournalEntry:
        """A new entry; raises ``CacheError`` when the directory cannot be used."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            for _ in range(_BEGIN_TRIES):
                path = os.path.join(self.folder, os.urandom(8).hex())
                os.mkdir(path, 0o700)
                # Another process that recovers edits may be quicker to lock it, and removes it.
                with contextlib.suppress(FileNotFoundError):
                    data = _open_locked(path, os.O_CREAT)
                    if data is not None:
                        return JournalEntry(path, data)
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        except OSError as error:
            raise CacheError(
                f"edits cannot be made to survive: {self.folder}: {error.strerror}"
            ) from error

    def names(self) -> list[str]:
        """All entries there are, of any process; cheap when there are none."""
        return entry_names(self.folder)

    def peek(self, name: str) -> JournalRecord | None:
        """The record of an entry as it is now, without taking it; None when there is none."""
        try:
            return _load(os.path.join(self.folder, name))
        except (OSError, JournalError):
            return None

    def has_orphans(self) -> bool:
        """Whether there is an edit to upload that nobody works on."""
        for name in self.names():
            record = self.peek(name)
            if record is None or record.conflict:
                continue
            entry = self.take(name)
            if entry is not None:
                entry.release()
                return True
        return False

    def take(self, name: str) -> JournalEntry | None:
        """Take an entry that nobody works on; None when somebody does, or it is gone."""
        path = os.path.join(self.folder, name)
        try:
            data = _open_locked(path, 0)
        except OSError:
            return None
        return JournalEntry(path, data) if data is not None else None

    def orphans(self) -> Iterator[JournalEntry]:
        """Take each entry that nobody works on; what was never recorded is removed."""
        for name in self.names():
            entry = self.take(name)
            if entry is None:
                continue
            try:
                entry.load()
            except FileNotFoundError:
                entry.remove()
            except (OSError, JournalError):
                entry.release()
            else:
                yield entry


def _warn(line: str) -> None:
    # Imported here: reading what is cached must not pay for it.
    import logging

    logging.getLogger("netcache.writeback").warning("%s", line)


def _load(path: str) -> JournalRecord:
    fd = open_own(os.path.join(path, _RECORD), os.O_RDONLY)
    with os.fdopen(fd, "rb") as file:
        return decode_record(file.read(RECORD_BYTES_MAX))


def open_own(name: str, flags: int) -> int:
    """Open a regular file of ours; ``OSError`` for links, FIFOs and what others have put there.

    An edit is uploaded with the user's credentials: only the user's own may be.
    """
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        found, folder = os.fstat(fd), os.lstat(os.path.dirname(name))
        is_file = stat.S_ISREG(found.st_mode) and stat.S_ISDIR(folder.st_mode)
        if not (is_file and found.st_uid == folder.st_uid == os.getuid()):
            raise OSError(errno.EPERM, "no file of ours", name)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_locked(path: str, flags: int) -> IO[bytes] | None:
    """The data of an entry, locked; None when another process has it.

    Raises ``OSError`` where locks do nothing: several would work on the same edit there.
    """
    name = os.path.join(path, _DATA)
    fd = open_own(name, os.O_RDWR | flags)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            need_locks(name)
            return os.fdopen(fd, "r+b", buffering=0)
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def need_locks(name: str) -> None:
    """Raise ``OSError`` when a lock that we have is given to somebody else too."""
    other = os.open(name, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(other)
    raise OSError(errno.ENOLCK, "locks do nothing on this filesystem")


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
