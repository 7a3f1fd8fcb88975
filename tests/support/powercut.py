"""A ``FileOps`` that knows what a power cut would leave, and can make it so.

It keeps an image of every regular file as it was when the file was last synced.  ``cut`` then
puts the files into a state that a filesystem may leave behind: synced bytes are as they were,
what was written since is there, gone, or torn, block by block, and a label is the newest one or
the last durable one.  Inodes stay, so that the store's binding of labels to files is not what
saves it.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.intercept import Intercept
from tests.support.labels import ATTRIBUTE

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

_STEP = 4096


class PowerLost(BaseException):
    """The machine stops here; no code of the store may handle it."""


class PowerCut(Intercept):
    """Remembers, per inode, the bytes and the label that are surely on the disk.

    ``stop_at`` makes the n-th call from then on, and all later ones, raise ``PowerLost`` instead
    of being performed.
    """

    def __init__(self, inner: FileOps) -> None:
        super().__init__(inner)
        self.calls_left: int | None = None
        self.off = False
        self.descriptors: set[int] = set()
        self.data: dict[int, bytes] = {}
        self.labels: dict[int, bytes] = {}

    def stop_at(self, number: int) -> None:
        """Perform ``number - 1`` more calls and no other."""
        self.calls_left = number - 1

    @property
    def stopped(self) -> bool:
        """Whether a call was refused."""
        return self.calls_left is not None and self.calls_left < 0

    def around(self, name: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Take an image before a sync, and believe it once the sync is done."""
        if self.calls_left is not None and name != "close":
            self.calls_left -= 1
            if self.calls_left < 0:
                if threading.current_thread() is not threading.main_thread():
                    raise OSError(errno.EIO, os.strerror(errno.EIO), name)
                raise PowerLost(name)
        if name == "close":
            self.descriptors.discard(args[0])
            return None if self.off else call()
        if "sync" not in name or not args or not isinstance(args[0], int):
            result = call()
            if name.startswith("open_"):
                self.descriptors.add(result)
            return result
        status = os.fstat(args[0])
        if not stat.S_ISREG(status.st_mode):
            return call()
        path = f"/proc/self/fd/{args[0]}"
        data, label = Path(path).read_bytes(), _label(path)
        result = call()
        self.data[status.st_ino] = data
        if "data" not in name:
            self.labels[status.st_ino] = label
        return result

    def cut(self, directory: Path, *, seed: int, newest_labels: bool, hole: bool = True) -> None:
        """Lose what was not synced; the same seed loses the same.

        The machine is off then: descriptors and locks are gone, and every later call is refused.
        """
        self.off = True
        self.stop_at(1)
        while self.descriptors:
            os.close(self.descriptors.pop())
        chance = random.Random(seed)
        for path in sorted((directory / "cache").rglob("*")):
            if path.is_file() and not path.is_symlink():
                inode = path.stat().st_ino
                if not newest_labels:
                    _put_label(path, self.labels.get(inode, b""))
                self._lose(path, self.data.get(inode, b""), chance, hole)

    def _lose(self, path: Path, old: bytes, chance: random.Random, hole: bool) -> None:
        new = path.read_bytes()
        mode = chance.choice(["none of it", "some of it", "all of it"])
        if mode == "none of it":
            length = len(old)
        else:
            length = max(len(old), len(new)) if mode == "all of it" else len(new)
        with path.open("r+b") as file:
            for start in range(0, len(new), _STEP):
                piece, before = new[start : start + _STEP], old[start : start + _STEP]
                if piece == before or mode == "all of it":
                    continue
                if mode == "some of it" and chance.random() < 0.5:
                    continue
                if before.strip(b"\0") or not hole:
                    os.pwrite(file.fileno(), before.ljust(len(piece), b"\0"), start)
                else:
                    _punch(file.fileno(), start, len(piece))
            os.ftruncate(file.fileno(), length)


def _label(path: str | Path) -> bytes:
    try:
        return os.getxattr(path, ATTRIBUTE)
    except OSError:
        return b""


def _put_label(path: Path, label: bytes) -> None:
    if label:
        os.setxattr(path, ATTRIBUTE, label)
    elif _label(path):
        os.removexattr(path, ATTRIBUTE)


def _punch(descriptor: int, start: int, length: int) -> None:
    """Make a hole; zeros where there is no such call."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    keep_size_and_punch = 3
    done = libc.fallocate(
        ctypes.c_int(descriptor),
        ctypes.c_int(keep_size_and_punch),
        ctypes.c_int64(start),
        ctypes.c_int64(length),
    )
    if done != 0:
        os.pwrite(descriptor, bytes(length), start)
