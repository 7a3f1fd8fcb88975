"""What memory backends share, as clients share a server: files and folders by canonical URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.urls import Resource, as_file, parse
from netcache.backends.memory_answers import Answers
from netcache.errors import RemoteError

__all__ = ["MemoryFile", "MemoryServer", "folder_of"]


class MemoryFile(NamedTuple):
    """The bytes of a file, and their version."""

    data: bytes
    version: Version


class MemoryServer:
    """Files and folders, a log of requests, and orders how to answer (``answers``).

    ``updates`` tells whether parts of files can be changed, ``multi_ranges`` whether several
    ranges can be had at once, ``moves`` whether resources get new names, ``tells_versions``
    whether the reply to an upload says which version it made.
    """

    def __init__(
        self,
        *,
        updates: bool = True,
        multi_ranges: bool = True,
        moves: bool = True,
        tells_versions: bool = True,
    ) -> None:
        self.tells_versions = tells_versions
        self.moves = moves
        self.updates = updates
        self.multi_ranges = multi_ranges
        self.answers = Answers()
        self.files: dict[str, MemoryFile] = {}
        self.folders: set[str] = set()
        self.requests: list[str] = []
        self._versions = 0

    def store(self, url: str, data: bytes, mtime_s: float | None = None) -> Version:
        """Make ``data`` the resource ``url``, in a new version; its folders come with it."""
        resource = parse(url)
        self._versions += 1
        validator = Validator(ValidatorKind.STRONG_ETAG, f'"{self._versions}"')
        version = Version(validator, len(data), None if mtime_s is None else int(mtime_s))
        self.make_folder(folder_of(resource))
        self.files[resource.url] = MemoryFile(data, version)
        return version

    def make_folder(self, folder: Resource) -> None:
        """Make a folder and its parents."""
        while folder.path != "/":
            if as_file(folder).url in self.files:
                raise RemoteError(f"making {folder.url} failed: it is a file", url=folder.url)
            self.folders.add(folder.url)
            folder = folder_of(folder)

    def rename(self, source: Resource, target: Resource) -> None:
        """Give a file, or a folder with all that lies in it, another name; versions stay."""
        self.make_folder(folder_of(target))
        if not source.is_folder:
            self.files[target.url] = self.files.pop(source.url)
            return
        for url in [url for url in self.files if url.startswith(source.url)]:
            self.files[target.url + url.removeprefix(source.url)] = self.files.pop(url)
        inside = {url for url in self.folders if url.startswith(source.url)}
        self.folders -= inside
        self.folders |= {target.url + url.removeprefix(source.url) for url in inside}

    def is_folder(self, folder: Resource) -> bool:
        """Whether there is such a folder; the root of any origin always is."""
        return folder.path == "/" or folder.url in self.folders

    def children(self, folder: Resource) -> Iterator[Resource]:
        """The files and folders directly inside ``folder``."""
        for url in [*self.files, *self.folders]:
            resource = parse(url)
            if resource.path != "/" and folder_of(resource).url == folder.url:
                yield resource


def folder_of(resource: Resource) -> Resource:
    """The folder that a file or folder lies in."""
    path = as_file(resource).path.rpartition("/")[0] + "/"
    return parse(resource.origin + path)
