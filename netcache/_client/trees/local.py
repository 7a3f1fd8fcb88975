"""The local side of a tree: listing, making and removing, without leaving the tree.

Rules:

1. Every call reaches its folder from the root one name at a time, and refuses a symbolic link on
   the way (unless links are followed): what is swapped for a link while a tree is copied is not
   walked through, and no folder outside the tree is made, nothing there removed.  (Files are placed
   by their path: who may change the folders of a target meanwhile can divert them.)
2. The root itself was named by the caller; it may be a link to a folder.
3. Files that another download is just being written to (hidden names of ours) take no part.
4. Every method may block on the disk; a listing is one call for a folder, whatever its size.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable

from netcache._client.trees.entries import Entry, Kind, Listing
from netcache.errors import NetCacheError

_IN_FLIGHT = re.compile(r"\.netcache-[0-9a-f]{16}\.part")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class LocalTree:
    """A local folder, and what lies in it.  Used from any thread; holds nothing open."""

    def __init__(self, root: str, *, follow_links: bool) -> None:
        self.root = root
        self._follow = follow_links

    def path(self, name: str) -> str:
        """The path of a relative name."""
        return os.path.join(self.root, name) if name else self.root

    def open_folder(self, name: str) -> int:
        """A descriptor of the folder with the relative ``name``, for the caller to close."""
        descriptor = os.open(self.root, _FOLDER_FLAGS)
        flags = _FOLDER_FLAGS if self._follow else _FOLDER_FLAGS | os.O_NOFOLLOW
        for part in name.split("/") if name else ():
            try:
                inner = os.open(part, flags, dir_fd=descriptor)
            except OSError as error:
                error.filename = self.path(name)
                raise
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    def scan(self, name: str) -> Listing:
        """The entries of a folder, sorted by name.

        What vanishes meanwhile is left out; what cannot be looked at is ``broken``.
        """
        entries: list[Entry] = []
        descriptor = self.open_folder(name)
        try:
            status = os.fstat(descriptor)
            with os.scandir(descriptor) as found:
                for each in found:
                    entry = self._entry(each)
                    if entry is not None and not _IN_FLIGHT.fullmatch(entry.name):
                        entries.append(entry)
        finally:
            os.close(descriptor)
        entries.sort()
        complete = all(entry.kind != "broken" or entry.is_link for entry in entries)
        return Listing(entries, (status.st_dev, status.st_ino), complete)

    def _entry(self, each: os.DirEntry[str]) -> Entry | None:
        is_link = False
        try:
            is_link = each.is_symlink()
            if is_link and not self._follow:
                return Entry(each.name, "link")
            if each.is_dir():
                return Entry(each.name, "folder", is_link=is_link)
            status = each.stat()
        except FileNotFoundError as error:
            if not is_link:
                return None
            return Entry(each.name, "broken", is_link=True, error=_dangling(error))
        except OSError as error:
            return Entry(each.name, "broken", is_link=is_link, error=error)
        return _entry_of(each.name, status, is_link=is_link)

    def look(self, name: str) -> Entry | None:
        """What stands at the root (``name`` empty) or at a relative name; None: nothing.

        The root is followed if it is a link.
        """
        try:
            status = os.stat(self.path(name), follow_symlinks=self._follow or not name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _entry_of(name, status, is_link=False)

    def make_folder(self, name: str) -> None:
        """Make a folder; its parent is there.  One that is there is fine; a link is replaced."""
        if not name:
            os.makedirs(self.root, exist_ok=True)
            return
        parent, _, last = name.rpartition("/")
        descriptor = self.open_folder(parent)
        try:
            self._make_in(descriptor, last)
        except OSError as error:
            error.filename = self.path(name)
            raise
        finally:
            os.close(descriptor)

    def _make_in(self, descriptor: int, last: str) -> None:
        try:
            os.mkdir(last, dir_fd=descriptor)
            return
        except FileExistsError:
            status = os.stat(last, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode) and self._follow:
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(last, dir_fd=descriptor)
            if stat.S_ISDIR(status.st_mode):
                return
            if not stat.S_ISLNK(status.st_mode):
                raise
        os.unlink(last, dir_fd=descriptor)
        os.mkdir(last, dir_fd=descriptor)

    def remove(self, parent: str, names: Iterable[tuple[str, bool]]) -> list[tuple[str, OSError]]:
        """Remove names (each with: whether it is a folder) from one folder; returns the failures.

        Links are removed themselves; folders must be empty; what is gone already is fine.
        """
        failures: list[tuple[str, OSError]] = []
        descriptor = self.open_folder(parent)
        try:
            for name, is_folder in names:
                try:
                    if is_folder:
                        os.rmdir(name, dir_fd=descriptor)
                    else:
                        os.unlink(name, dir_fd=descriptor)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    failures.append((name, error))
        finally:
            os.close(descriptor)
        return failures


def _entry_of(name: str, status: os.stat_result, *, is_link: bool) -> Entry:
    kind: Kind = "special"
    if stat.S_ISDIR(status.st_mode):
        kind = "folder"
    elif stat.S_ISREG(status.st_mode):
        kind = "file"
    elif stat.S_ISLNK(status.st_mode):
        kind = "link"
    # Not st_mtime: a float rounds .9999999 s up to the next second.
    mtime_s = status.st_mtime_ns // 1_000_000_000
    return Entry(name, kind, status.st_size, mtime_s, is_link=is_link)


def _dangling(error: OSError) -> OSError:
    problem = NetCacheError("the symbolic link leads nowhere")
    problem.__cause__ = error
    return problem
