"""The system as it shows itself after a reboot: another boot id, another mount identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.intercept import Override

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps
    from netcache._cachefiles.statx import Identity


def in_epoch(number: int) -> FileOps:
    """The real system, ``number`` reboots later (0: now)."""
    return _elsewhere(boots=number, mounts=number)


def on_another_mount() -> FileOps:
    """The real system as a process sees it that reaches the directory by another mount."""
    return _elsewhere(boots=0, mounts=1)


def _elsewhere(*, boots: int, mounts: int) -> FileOps:
    from netcache._cachefiles.fileops import PosixFileOps

    inner = PosixFileOps()

    def boot_id() -> bytes:
        return bytes((byte + boots) % 256 for byte in inner.boot_id())

    def identify(fd: int) -> Identity:
        found = inner.identify(fd)
        return found._replace(mount=found.mount + mounts)

    return Override(inner, boot_id=boot_id, identify=identify).fileops
