"""A bound cache directory: what the store and its objects share."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from netcache._cachefiles.fan_out import Folders
from netcache._cachefiles.label_file import USE_BYTE, LabelFile
from netcache._cachefiles.layout import GRAVEYARD, STORE
from netcache._cachefiles.memory import CacheMemory
from netcache._cachefiles.room import Room
from netcache._cachefiles.sum_table import table_going
from netcache._core.content import Content
from netcache._core.keys import PLACES_MAX, ObjectKey, folder_and_file
from netcache._core.label import Binding, Epoch, Label, LabelError, Why
from netcache._core.misses import Cause

if TYPE_CHECKING:
    from netcache._cachefiles.committer import Committer
    from netcache._cachefiles.file_port import FileOps
    from netcache._cachefiles.mapping_table import MappingTable
    from netcache._cachefiles.open_object import OpenObject
    from netcache._cachefiles.questions import Questions
    from netcache._core.coherency import Version
    from netcache._core.extent import Extent
    from netcache._core.verifying import Verify
    from netcache._fscache.ports import OnDamage, OnTrouble
    from netcache.errors import CacheError

PRIVATE_PREFIX = "."
"""Names of files that are being published begin with it; no object's name does."""

_NO_BINDING = Binding(0, 0)


class Bound:
    """Descriptors, epoch, policies; where objects are named and replaced.

    ``dead`` after an I/O error, and when the directory was removed; ``death`` says why.
    """

    def __init__(
        self,
        ops: FileOps,
        root: int,
        *,
        epoch: Epoch,
        block_size: int,
        sync_each: bool,
        clock: Callable[[], float],
        verify: Verify,
        on_damage: OnDamage,
        on_trouble: OnTrouble,
        sums_in_label: int,
    ) -> None:
        self.ops = ops
        self.root = root
        self.epoch = epoch
        self.block_size = block_size
        self.sync_each = sync_each
        self.clock = clock
        self.verify = verify
        self._on_damage = on_damage
        self._on_trouble = on_trouble
        # Objects with more blocks have a table of sums.
        self.sums_in_label = sums_in_label
        self.dead = False
        self.death: CacheError | None = None
        self.committer: Committer | None = None
        self._mappings: MappingTable | None = None
        self._questions: Questions | None = None
        self._closed = False
        self._making = threading.Lock()
        self.room = Room(ops, root, epoch, block_size, clock)
        self.memory = CacheMemory(self)
        # All open objects, also those that nobody refers to any more: they hold descriptors.
        self.objects: set[OpenObject] = set()
        # Those that are being written, and have no name yet.
        self.nameless: set[object] = set()
        self.folders = Folders(ops, root)
        self.graveyard = ops.open_folder(GRAVEYARD, at=root)

    @property
    def mappings(self) -> MappingTable:
        """The table of shared mappings.  (Made when needed: a cached read does not pay for it.)"""
        with self._making:
            if self._mappings is None:
                from netcache._cachefiles.mapping_table import MappingTable

                self._mappings = MappingTable(self.ops, self.root)
            return self._mappings

    @property
    def questions(self) -> Questions:
        """Who asks the server first, of all processes.  (Made when needed, as above.)"""
        with self._making:
            if self._questions is None:
                from netcache._cachefiles.questions import Questions

                self._questions = Questions(self.ops, self.root)
                if self._closed:
                    # The descriptors may be somebody else's by now.
                    self._questions.close()
            return self._questions

    @staticmethod
    @lru_cache(maxsize=PLACES_MAX)
    def place(key: ObjectKey) -> str:
        """Where the object of ``key`` is, from the cache directory on."""
        return "/".join((STORE, *folder_and_file(*key)))

    # Files.

    def open_object(self, key: ObjectKey) -> tuple[LabelFile, Label]:
        """Open and check; ``FileNotFoundError``, ``LabelError``, or what the system says."""
        fd = self._open_file(key)
        try:
            file = LabelFile(self.ops, fd, self.epoch, self.block_size)
            # First in use, then the label: whoever means to change the file sees us, or we him.
            if not file.use():
                raise LabelError(Why.DIRTY)
            label = file.load(key.name)
            file.tidy(label)
            return file, label
        except BaseException:
            self.ops.close(fd)
            raise

    def _open_file(self, key: ObjectKey) -> int:
        path, name = folder_and_file(*key)
        held = self.folders.held(path)
        if held is None:
            return self.ops.open_file(name, self.folders.open(key, make=False))
        try:
            return self.ops.open_file(name, held)
        except FileNotFoundError:
            # What is missing may be the folder.
            if self.ops.stat(held).st_nlink:
                raise
            return self.ops.open_file(name, self.folders.open(key, make=False))

    def new_file(self, key: ObjectKey) -> tuple[int, str | None]:
        """A private file for an object: its descriptor, and its name in the graveyard, if any."""
        try:
            return self.ops.open_tmpfile(self.folders.open(key, make=True)), None
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
        name = self._private_name()
        fd = self.ops.open_new(name, self.graveyard)
        # In use: nobody takes it for one that a killed process left.
        self.ops.lock_range(fd, USE_BYTE, 1, shared=True)
        return fd, name

    def publish(
        self,
        key: ObjectKey,
        fd: int,
        private: str | None,
        label: Label,
        *,
        instead_of: int | None = None,
        superseding: bool = False,
    ) -> Label:
        """Give a private file its label and its name, in place of whatever has the name.

        There is never a moment without either the old object or the new one.  With ``instead_of``
        the name is taken only from the file with that inode number: when it has gone to another
        object, or to none, the file stays private.  A label that tells no file yet gets this one.
        ``superseding``: what had the name is remembered as lost.
        """
        file = LabelFile(self.ops, fd, self.epoch, self.block_size)
        if label.binding == _NO_BINDING:
            label = label._replace(binding=file.binding())
        label = file.write(label._replace(epoch=self.epoch))
        # In use before it has a name: who finds it then does not change it in place.
        file.use()
        if self.sync_each:
            self.ops.fsync(fd)
        folder = self.folders.open(key, make=True)
        name = folder_and_file(*key)[1]
        with self.folders.naming(folder):
            if instead_of is None or self.inode_of(name, folder) == instead_of:
                with self.mappings.changing(self.place(key)):
                    self._name(fd, private, folder, name, key if superseding else None)
            elif private is not None:
                self.ops.unlink(private, self.graveyard)
        self.room.changed(self.place(key))
        if self.sync_each:
            self.ops.fsync(folder)
        return label

    def _name(
        self, fd: int, private: str | None, folder: int, name: str, superseded: ObjectKey | None
    ) -> None:
        at = self.graveyard
        if private is None:
            try:
                # Where nothing has the name, one step gives it.
                self.ops.link(fd, name, folder)
            except FileExistsError:
                private, at = self._private_name(), folder
                self.ops.link(fd, private, folder)
            else:
                return
        if superseded is not None:
            self.memory.superseded(superseded)
        try:
            replaced = self._bury_if_weird(folder, name)
            with table_going(self.ops, self.root, replaced, name, folder):
                self.ops.rename(private, at, name, folder)
        except BaseException:
            # What failed is told, not that the name cannot go as well.
            with contextlib.suppress(OSError):
                self.ops.unlink(private, at)
            raise

    def inode_of(self, name: str, folder: int) -> int:
        """The inode number of the file with this name; 0 when there is none."""
        try:
            return self.ops.stat_name(name, folder).st_ino
        except FileNotFoundError:
            return 0

    def _bury_if_weird(self, folder: int, name: str) -> int:
        """A folder that has an object's name cannot be renamed over: it goes to the graveyard.

        Returns the inode number of the file that has the name; 0 when none has.
        """
        try:
            found = self.ops.stat_name(name, folder)
        except FileNotFoundError:
            return 0
        if stat.S_ISDIR(found.st_mode):
            self.ops.rename(name, folder, self._private_name(), self.graveyard)
            return 0
        return found.st_ino

    @staticmethod
    def _private_name() -> str:
        return PRIVATE_PREFIX + os.urandom(8).hex()

    def discard_private(self, fd: int, private: str | None) -> None:
        """Throw a private file away; a name that stays, or is gone already, is no failure."""
        self.ops.close(fd)
        if private is not None:
            # (What stays in the graveyard is reaped.)
            with contextlib.suppress(OSError):
                self.ops.unlink(private, self.graveyard)

    def empty_label(self, key: ObjectKey, version: Version, checked_s: float) -> Label:
        """The label of an object without data; the binding is filled in by ``publish``."""
        return Label(
            version=version,
            content=Content.NO_DATA,
            generation=0,
            stored_end=0,
            committed=0,
            epoch=self.epoch,
            binding=_NO_BINDING,
            checked_ms=int(checked_s * 1000),
            key=key.name,
            unit=self.block_size,
        )

    def replace(self, cache_object: OpenObject, version: Version) -> None:
        """Invalidate: a new empty inode takes the object's name and its place in memory.

        The old descriptor's file lives on, renamed over, for those who have it open.
        """
        key = cache_object.key
        self.memory.going(self.place(key), cache_object.fileno(), Cause.CHANGED)
        fd, private = self.new_file(key)
        try:
            label = self.empty_label(key, version, 0.0)
            inode = self.ops.stat(cache_object.fileno()).st_ino
            label = self.publish(key, fd, private, label, instead_of=inode)
        except BaseException:
            self.ops.close(fd)
            raise
        cache_object.swap(LabelFile(self.ops, fd, self.epoch, self.block_size), label)

    # What fails.

    def die(self, error: CacheError) -> None:
        """Be of no use from now on; what is open stays open."""
        first = not self.dead
        self.dead = True
        if first:
            self.death = error
            self._on_trouble(error)

    def tell(self, error: CacheError) -> None:
        """Say that an operation failed."""
        self._on_trouble(error)

    def is_removed(self) -> bool:
        """Whether the cache directory, or a part of it that is needed, is not there any more."""
        try:
            return not all(self.ops.stat(fd).st_nlink for fd in (self.root, self.graveyard))
        except OSError:
            return True

    # What objects tell.

    def filled(self, cache_object: OpenObject) -> None:
        """The object promises data that is not durable yet."""
        if self.committer is not None:
            self.committer.add(cache_object)

    def forget(self, cache_object: OpenObject) -> None:
        """Nothing of the object is worth making durable any more."""
        if self.committer is not None:
            self.committer.discard(cache_object)

    def damaged(self, key: ObjectKey, extent: Extent) -> None:
        """Blocks of the object were found damaged, and are not cached any more."""
        self.memory.left(key, Cause.CHECKSUM, [extent])
        self._on_damage(key, extent)

    def released(self, cache_object: OpenObject) -> None:
        """The object is about to be closed."""
        self.objects.discard(cache_object)
        if self.committer is not None:
            self.committer.discard(cache_object)

    def close(self) -> None:
        """Close all objects and descriptors; every later call is a ``CacheError``."""
        for cache_object in list(self.objects):
            cache_object.close()
        self.room.close()
        with self._making:
            self._closed = True
        if self._questions is not None:
            self._questions.close()
        self.memory.close()
        self.dead = True
        if self._mappings is not None:
            self._mappings.close()
        self.folders.close()
        self.ops.close(self.graveyard)
        self.ops.close(self.root)
        self.graveyard = self.root = -1  # The numbers may be other folders' before long.
