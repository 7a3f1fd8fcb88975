"""Uploads that can go on in another process: where the server keeps what has arrived.

::

    <state>/resumable/<digest of URL and path>     one ``UploadRecord``

Rules:

1. The process that sends a file holds a lock on the record; another one that sends the same file to
   the same place goes without one.  The kernel lets go of the lock when the process ends.
2. A record is a hint: without it, or when it cannot be kept, everything is sent again.
3. It is gone when its upload is over; what nobody came back to for a week is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time

from netcache._core.upload_record import Source, UploadRecord, decode_upload, encode_upload
from netcache._netfs.journal import need_locks, open_own, sync_folder
from netcache.spi import UploadCondition
from netcache.spi_resumable import UploadTicket

FOLDER = "resumable"
KEPT_S = 7 * 24 * 3600
_RECORD_BYTES_MAX = 64 << 10


class SavedUpload:
    """The record of one upload, of a file ``path`` in the state ``status`` to ``url``.

    Every method may block on the disk; one at a time.  ``open`` it first, and ``close`` it: what is
    kept then stays.
    """

    def __init__(self, state_dir: str, url: str, path: str, status: os.stat_result) -> None:
        self._folder = os.path.join(state_dir, FOLDER)
        name = hashlib.sha256(os.fsencode(f"{url}\0{os.path.abspath(path)}")).hexdigest()[:32]
        self._name = os.path.join(self._folder, name)
        self._url = url
        self._source = _source_of(status)
        self._fd = -1
        self._is_ours = True
        self.ticket: UploadTicket | None = None

    def open(self) -> None:
        """Take what is kept, if nobody else has it."""
        with contextlib.suppress(FileNotFoundError):
            try:
                self._take(0)
                self.ticket = self._read()
            except OSError as error:
                self._is_ours = isinstance(error, FileNotFoundError)

    def keep(self, ticket: UploadTicket | None) -> None:
        """Keep a ticket, over a power cut too; None: forget what is kept."""
        self.ticket = ticket
        with contextlib.suppress(OSError):
            if ticket is None:
                self._remove()
            elif self._is_ours:
                self._write(ticket)

    def close(self) -> None:
        """Let others have it.  Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _take(self, flags: int) -> None:
        """Open and lock the record; ``OSError`` where that cannot be."""
        fd = open_own(self._name, os.O_RDWR | flags)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(fd).st_nlink:
                raise FileNotFoundError
            need_locks(self._name)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _read(self) -> UploadTicket | None:
        record = decode_upload(os.pread(self._fd, _RECORD_BYTES_MAX, 0))
        if record is None or record.url != self._url:
            return None
        condition = UploadCondition(record.if_match, record.if_absent, record.unmodified_since)
        return UploadTicket(record.location, condition, record.source == self._source)

    def _write(self, ticket: UploadTicket) -> None:
        if self._fd < 0:
            for folder in (os.path.dirname(self._folder), self._folder):
                os.makedirs(folder, mode=0o700, exist_ok=True)
            self._tidy()
            self._take(os.O_CREAT | os.O_EXCL)
        record = UploadRecord(self._url, ticket.location, self._source, *ticket.condition)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, encode_upload(record), 0)
        os.fsync(self._fd)
        sync_folder(self._folder)

    def _remove(self) -> None:
        if self._fd >= 0:
            os.unlink(self._name)
            self.close()

    def _tidy(self) -> None:
        """Remove what nobody came back to."""
        for name in os.listdir(self._folder):
            old = os.path.join(self._folder, name)
            with contextlib.suppress(OSError):
                if time.time() - os.lstat(old).st_mtime > KEPT_S:
                    fd = open_own(old, os.O_RDWR)
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        os.unlink(old)
                    finally:
                        os.close(fd)


def _source_of(status: os.stat_result) -> Source:
    return Source(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
