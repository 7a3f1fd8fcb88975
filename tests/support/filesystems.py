"""Real filesystems on loop devices, for tests of what a cache store rests on.

``LoopFilesystems`` makes an image, formats and mounts it when a test first asks for it, and
unmounts everything at the end of the session.  A filesystem that cannot be mounted here raises
``Unavailable`` with the reason; the fixtures turn that into a skip that bears its name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

_IMAGE_BYTES = 384 << 20
_SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "netcache-images-"


class Filesystem(NamedTuple):
    """A filesystem to format, and the block size that a store on it is bound with.

    ``block_size`` None means: whatever the store chooses by itself.
    """

    image: str
    mkfs: tuple[str, ...]
    block_size: int | None
    own_block_size: int

    @property
    def effective_block_size(self) -> int:
        """The ``B`` that a store bound on it must have."""
        return self.block_size or self.own_block_size


_EXT4 = ("mkfs.ext4", "-q", "-F", "-b")
_XFS = ("mkfs.xfs", "-q", "-f", "-b")

FILESYSTEMS: dict[str, Filesystem] = {
    "ext4-1024": Filesystem("ext4-1024", (*_EXT4, "1024"), None, 1024),
    "ext4-4096": Filesystem("ext4-4096", (*_EXT4, "4096"), None, 4096),
    "ext4-65536": Filesystem("ext4-4096", (*_EXT4, "4096"), 65536, 4096),
    "xfs-512": Filesystem("xfs-512", (*_XFS, "size=512", "-m", "crc=0"), None, 512),
    "xfs-1024": Filesystem("xfs-1024", (*_XFS, "size=1024"), None, 1024),
    "xfs-4096": Filesystem("xfs-4096", (*_XFS, "size=4096"), None, 4096),
    "xfs-16384": Filesystem("xfs-16384", (*_XFS, "size=16384"), None, 16384),
    "btrfs-4096": Filesystem("btrfs-4096", ("mkfs.btrfs", "-q", "-f"), None, 4096),
}


class Unavailable(Exception):
    """The filesystem cannot be had on this machine, and why."""


class LoopFilesystems:
    """Mounted images, one a ``Filesystem.image``, made on first use."""

    def __init__(self) -> None:
        parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
        parent = parent or Path(tempfile.gettempdir())
        _sweep(parent)
        self._root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        self._mounted: dict[str, Path] = {}
        self._refused: dict[str, str] = {}

    def directory(self, name: str) -> Path:
        """A new empty directory on the filesystem called ``name``."""
        filesystem = FILESYSTEMS[name]
        if filesystem.image in self._refused:
            raise Unavailable(self._refused[filesystem.image])
        if filesystem.image not in self._mounted:
            try:
                self._mounted[filesystem.image] = self._mount(filesystem)
            except Unavailable as error:
                self._refused[filesystem.image] = str(error)
                raise
        return Path(tempfile.mkdtemp(prefix="store-", dir=self._mounted[filesystem.image]))

    def close(self) -> None:
        """Unmount everything and remove the images."""
        try:
            while self._mounted:
                _unmount(self._mounted.popitem()[1])
        finally:
            shutil.rmtree(self._root, ignore_errors=True)

    def _mount(self, filesystem: Filesystem) -> Path:
        if os.geteuid() != 0:
            raise Unavailable("mounting an image needs root")
        image = self._root / f"{filesystem.image}.img"
        point = self._root / filesystem.image
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(_IMAGE_BYTES)
        _run(*filesystem.mkfs, str(image))
        _run("mount", "-o", "loop", str(image), str(point))
        return point


def _unmount(point: Path) -> None:
    if subprocess.run(["umount", point], check=False, capture_output=True).returncode:
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def _sweep(parent: Path) -> None:
    """Unmount and remove what sessions left that were killed."""
    for left in parent.glob(f"{_PREFIX}*-*"):
        owner = left.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            for point in left.iterdir():
                if point.is_mount():
                    _unmount(point)
            shutil.rmtree(left, ignore_errors=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(f"{command[0]} refused: {lines[0] if lines else done.returncode}")


def discard(directory: Path) -> None:
    """Remove a directory that ``LoopFilesystems.directory`` gave."""
    shutil.rmtree(directory, ignore_errors=True)
