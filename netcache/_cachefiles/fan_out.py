"""The folders that objects lie in: held open, made, named, and locked for naming.

A cache has up to 256 of them for each volume.  Descriptors are kept, since finding a folder costs
as much as finding an object in it; not too many, since a process may open no more than about 1000
files as a rule.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netcache._cachefiles.layout import STORE
from netcache._core.keys import ObjectKey, folder_and_file, volume_folder
from netcache._core.label import ATTRIBUTE

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

VOLUME_KEY_BYTES_MAX = 2048

_LOCK_TRIES = 100
_LOCK_PAUSE_S = 0.002
_FOLDERS_MAX = 256
"""So many are held open: all of one volume."""
_RETIRED_MAX = 64
"""Who was given a descriptor is done with it long before so many others were let go."""


class Folders:
    """The fan-out folders of one bound cache.  Thread-safe; one thread names at a time."""

    def __init__(self, ops: FileOps, root: int) -> None:
        self._ops = ops
        self._root = root
        self._lock = threading.RLock()
        self._folders: dict[str, int] = {}
        self._retired: deque[int] = deque()

    def held(self, path: str) -> int | None:
        """The folder of that path, when it is open; it may have been removed since."""
        return self._folders.get(path)

    def open(self, key: ObjectKey, *, make: bool) -> int:
        """The fan-out folder of an object; ``FileNotFoundError`` when there is none to find."""
        path = folder_and_file(*key)[0]
        with self._lock:
            fd = self._folders.get(path)
            if fd is not None and self._ops.stat(fd).st_nlink:
                return fd
            if fd is not None:
                self._retire(path)
            if make:
                volume = f"{STORE}/{volume_folder(key.volume)}"
                self._ops.make_folder(STORE, at=self._root)
                self._ops.make_folder(volume, at=self._root)
                self._ops.make_folder(f"{STORE}/{path}", at=self._root)
                self._name_volume(volume, key.volume)
            if len(self._folders) >= _FOLDERS_MAX:
                self._retire(next(iter(self._folders)))
            fd = self._ops.open_folder(f"{STORE}/{path}", at=self._root)
            self._folders[path] = fd
            return fd

    def _retire(self, path: str) -> None:
        """Close a folder's descriptor, not yet: another thread may have been given it just now."""
        fd = self._folders.pop(path, None)
        if fd is not None:
            self._retired.append(fd)
        if len(self._retired) > _RETIRED_MAX:
            self._ops.close(self._retired.popleft())

    def _name_volume(self, folder: str, volume: str) -> None:
        """A folder whose name does not spell its volume's key bears it in its attribute.

        Four reserved bytes, then the coherency data of the volume, as with cachefiles.
        """
        if folder.endswith(f"/I{volume}"):
            return
        fd = self._ops.open_folder(folder, at=self._root)
        try:
            self._ops.setxattr(fd, ATTRIBUTE, bytes(4) + volume.encode()[:VOLUME_KEY_BYTES_MAX])
        finally:
            self._ops.close(fd)

    def volume_of(self, folder: str) -> str:
        """The volume key of a volume's folder."""
        name = folder.rsplit("/", 1)[-1].removeprefix("I")
        if not name.startswith("+"):
            return name
        fd = self._ops.open_folder(folder, at=self._root)
        try:
            return (self._ops.getxattr(fd, ATTRIBUTE) or b"")[4:].decode() or name
        finally:
            self._ops.close(fd)

    @contextmanager
    def naming(self, folder: int) -> Iterator[None]:
        """Keep other threads and processes from naming in ``folder``; the wait is bounded."""
        with self._lock:
            locked = False
            for _ in range(_LOCK_TRIES):
                locked = self._ops.lock_folder(folder)
                if locked:
                    break
                time.sleep(_LOCK_PAUSE_S)
            try:
                yield
            finally:
                if locked:
                    self._unlock(folder)

    def _unlock(self, folder: int) -> None:
        """Undo the lock; a descriptor that does not let go of it is closed, which does."""
        try:
            self._ops.unlock_folder(folder)
        except OSError:
            for path, fd in list(self._folders.items()):
                if fd == folder:
                    self._ops.close(self._folders.pop(path))

    def close(self) -> None:
        """Close all of them.  Idempotent."""
        with self._lock:
            for fd in [*self._folders.values(), *self._retired]:
                self._ops.close(fd)
            self._folders.clear()
            self._retired.clear()
