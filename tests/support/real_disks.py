"""Real disks that are full, broken, read-only, or lack something; all need root.

Each is a context manager that gives a directory, and raises ``Unavailable`` with the reason.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.filesystems import Unavailable

_MIB = 1 << 20
_EXT4_IOC_SHUTDOWN = 0x8004587D
_GOING_WITHOUT_LOG = 2


class Disk:
    """A mounted filesystem of its own; ``path`` is where."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no block free."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (_MIB, 4096, 512, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
            with contextlib.suppress(OSError):
                os.fsync(file.fileno())

    def empty(self) -> None:
        """Give the room free."""
        self._ballast.unlink()
        os.sync()

    def remount(self, *options: str) -> None:
        """Mount it with other options while it is in use."""
        _run("mount", "-o", ",".join(("remount", *options)), str(self.path))

    def shut_down(self) -> None:
        """From now on everything is an I/O error, as when the device is pulled out."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, struct.pack("I", _GOING_WITHOUT_LOG))
        finally:
            os.close(fd)


@contextlib.contextmanager
def ext4(size: int = 24 * _MIB) -> Iterator[Disk]:
    """A small ext4, without blocks that only root may have."""
    with _image(size, "mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096") as disk:
        yield disk


@contextlib.contextmanager
def quota(limit: int = 6 * _MIB) -> Iterator[Disk]:
    """A btrfs with a quota on the part that it is about."""
    with _image(200 * _MIB, "mkfs.btrfs", "-q", "-f") as disk:
        part = disk.path / "part"
        _run("btrfs", "subvolume", "create", str(part))
        _run("btrfs", "quota", "enable", str(disk.path))
        _run("btrfs", "qgroup", "limit", str(limit), str(part))
        yield Disk(part)


@contextlib.contextmanager
def ramfs() -> Iterator[Disk]:
    """A filesystem without extended attributes for users."""
    with _place() as point:
        _run("mount", "-t", "ramfs", "none", str(point))
        try:
            yield Disk(point)
        finally:
            _unmount(point)


@contextlib.contextmanager
def _image(size: int, *mkfs: str) -> Iterator[Disk]:
    with _place() as point, tempfile.NamedTemporaryFile(prefix="netcache-image-") as image:
        image.truncate(size)
        _run(*mkfs, image.name)
        _run("mount", "-o", "loop", image.name, str(point))
        try:
            yield Disk(point)
        finally:
            _unmount(point)


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    if os.geteuid() != 0:
        raise Unavailable("mounting needs root")
    point = Path(tempfile.mkdtemp(prefix="netcache-mount-"))
    try:
        yield point
    finally:
        shutil.rmtree(point, ignore_errors=True)


def _unmount(point: Path) -> None:
    if subprocess.run(["umount", point], check=False, capture_output=True).returncode:
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(f"{command[0]} refused: {lines[0] if lines else done.returncode}")
