"""Objects that come whole, and are small: made in one step where nothing has their name.

The ordinary way (``new_object``, ``Bound.publish``) is ready for everything: more bytes to come, a
table of sums, a name that is taken, a filesystem without nameless files, readers that wait.  Of a
small file of a tree it took longer than its exchange with the server.  Here the same calls are made
in the same order, but for these:

* The folder's lock is not taken.  It keeps others from taking a name between a look and a rename;
  a link takes a name only when nobody has it.
* Nobody marks the object as in use: nobody goes on with it.
* The table of mappings is looked at without its lock: who maps an object makes sure, under that
  lock, that it has the name.

What finds anything else than it hopes for does nothing, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.label_file import LabelFile
from netcache._cachefiles.sums import kept_in_label
from netcache._core.checksums import block_sums
from netcache._core.content import Content
from netcache._core.extent import round_up
from netcache._core.keys import ObjectKey, folder_and_file

if TYPE_CHECKING:
    from netcache._cachefiles.binding import Bound
    from netcache._core.coherency import Version
    from netcache._core.label import Label


def keep_whole(
    bound: Bound, key: ObjectKey, version: Version, data: bytes, *, checked_s: float
) -> None:
    """Make ``data`` the object of ``version``, in one step or the ordinary way."""
    with told_as_cache_errors(bound):
        if make_whole(bound, key, version, data, checked_s=checked_s):
            return
        from netcache._cachefiles.new_object import publish_whole
    publish_whole(bound, key, version, data, checked_s=checked_s)


def make_whole(
    bound: Bound, key: ObjectKey, version: Version, data: bytes, *, checked_s: float
) -> bool:
    """Make ``data`` the object of ``version``; False when it has to be made the ordinary way.

    Raises ``OSError`` and ``NoSpaceError``; then there is no object, nor a private file.
    """
    end = round_up(len(data), bound.block_size)
    label = bound.empty_label(key, version, checked_s)._replace(
        content=Content.ALL, stored_end=end, sums=block_sums(data, bound.block_size)
    )
    if bound.sync_each or not data or version.size != len(data):
        return False
    if not kept_in_label(label, bound.sums_in_label):
        return False
    writer = bound.room.writer()
    try:
        with writer.writing(end):
            if _make(bound, key, label, data.ljust(end, b"\0")):
                writer.place = bound.place(key)
                return True
        return False
    finally:
        # (Without a place nothing was written, as it turned out.)
        bound.room.closed(writer)


def _make(bound: Bound, key: ObjectKey, label: Label, data: bytes) -> bool:
    ops = bound.ops
    path, name = folder_and_file(*key)
    folder = bound.folders.held(path)
    if folder is None:
        folder = bound.folders.open(key, make=True)
    try:
        fd = ops.open_tmpfile(folder)
    except OSError:
        # No nameless files here, or the folder was removed: the ordinary way knows what to do.
        return False
    bound.nameless.add(label)
    try:
        file = LabelFile(ops, fd, bound.epoch, bound.block_size)
        ops.write_all(fd, data, 0)
        file.write(label._replace(binding=file.binding()))
        if bound.mappings.is_shared(bound.place(key)):
            return False
        ops.link(fd, name, folder)
        return True
    except (FileExistsError, FileNotFoundError):
        return False
    finally:
        bound.nameless.discard(label)
        ops.close(fd)
