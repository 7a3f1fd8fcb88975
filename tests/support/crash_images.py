"""Images of mounted filesystems, copied while in use: what a disk holds when the power goes.

The image of the filesystem under test lies on an outer xfs, which copies it by reference: in no
time, between two writes of the loop device, without asking the filesystem under test for anything.
That is a disk that lost its power, with all that the disk had acknowledged by then.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.filesystems import Unavailable

_CLONE = 0x40049409
_OUTER_BYTES = 2 << 30
_INNER_BYTES = 320 << 20

MKFS: dict[str, tuple[str, ...]] = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "ext4-writeback": ("mkfs.ext4", "-q", "-F"),
    "ext4-1k": ("mkfs.ext4", "-q", "-F", "-b", "1024"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "xfs-1k": ("mkfs.xfs", "-q", "-f", "-b", "size=1024"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
OPTIONS = {"ext4-writeback": ",data=writeback,commit=1", "xfs": ",nouuid", "xfs-1k": ",nouuid"}


def run(*command: str | Path) -> None:
    """Run a command; ``Unavailable`` says what it said."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed") from error
    if done.returncode:
        raise Unavailable(f"{' '.join(map(str, command))}: {done.stderr.strip()[:300]}")


@contextmanager
def mounted(image: Path, point: Path, options: str = "") -> Iterator[Path]:
    """Mount an image for a while."""
    point.mkdir(exist_ok=True)
    run("mount", "-o", f"loop{options}", image, point)
    try:
        yield point
    finally:
        unmount(point)


def unmount(point: Path) -> None:
    """Unmount; what is still in use goes when it is not any more."""
    if subprocess.run(["umount", point], check=False, capture_output=True).returncode:
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


class Laboratory:
    """An outer filesystem that copies by reference, with a filesystem under test on it."""

    def __init__(self, outer: Path, name: str) -> None:
        self.name = name
        self.outer = outer
        self.image = outer / "image"
        self.copies: list[Path] = []
        self._options = OPTIONS.get(name, "")
        with self.image.open("wb") as file:
            file.truncate(_INNER_BYTES)
        run(*MKFS[name], self.image)

    @contextmanager
    def in_use(self) -> Iterator[Path]:
        """The filesystem under test, mounted."""
        with mounted(self.image, self.outer / "in use", self._options) as point:
            yield point

    def copy(self) -> Path:
        """A copy of the disk as it is at this moment."""
        target = self.outer / f"copy {len(self.copies)}"
        with self.image.open("rb") as source, target.open("wb") as copied:
            fcntl.ioctl(copied.fileno(), _CLONE, source.fileno())
        self.copies.append(target)
        return target

    @contextmanager
    def after_power_cut(self, copy: Path) -> Iterator[Path]:
        """A copy, mounted: the filesystem recovers by itself."""
        with mounted(copy, self.outer / "afterwards", self._options) as point:
            yield point


@contextmanager
def laboratory(name: str) -> Iterator[Laboratory]:
    """All of it, for a while; ``Unavailable`` where it cannot be had."""
    if os.geteuid() != 0:
        raise Unavailable("mounting an image needs root")
    shared = Path("/dev/shm")
    parent = shared if os.access(shared, os.W_OK) else None
    root = Path(tempfile.mkdtemp(prefix="netcache-crash-", dir=parent))
    try:
        outer = root / "outer.img"
        with outer.open("wb") as file:
            file.truncate(_OUTER_BYTES)
        run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", outer)
        with mounted(outer, root / "outer", ",nouuid") as point:
            yield Laboratory(point, name)
    finally:
        shutil.rmtree(root, ignore_errors=True)
