"""A complete ``TreeOps`` whose server is a dictionary: files and folders in memory.

The server keeps the mtimes of uploads or stamps them with its own clock, as ``keeps`` says; its
listings may be told to leave figures out, as HTML ones do, or names (``hidden``, ``left_out``).
``fail`` makes one operation on one path raise; ``calls`` records what was asked; downloads wait
half-way while there is a ``gate``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
from typing import Literal, NamedTuple

from netcache._client.trees.ports import FetchResult, OnBytes
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.urls import Resource, as_folder, child, parse
from netcache.errors import ConflictError, NotFoundError, RemoteError, RemoteProtocolError
from netcache.spi import FolderListing, ResourceInfo, UploadCondition, UploadReply

ORIGIN = "http://mem.example"
Names = tuple[str, ...]
ListingStyle = Literal["full", "sizes", "names"]


class Stored(NamedTuple):
    """A file at the server."""

    data: bytes
    mtime_s: int
    etag: str


class MemoryTree:
    """The server and the client's operations on it."""

    def __init__(self, *, transfers: int = 3, keeps: bool = True) -> None:
        self.transfers = transfers
        self.keeps = keeps
        self.knows_keeping: bool | None = None
        self.files: dict[Names, Stored] = {}
        self.folders: set[Names] = {()}
        self.clock_s = 2_000_000_000
        self.listing_style: ListingStyle = "full"
        self.hidden: set[str] = set()
        self.left_out: tuple[str, ...] = ()
        self.fail: dict[tuple[str, Names], OSError] = {}
        self.calls: list[tuple[str, Names]] = []
        self.running = 0
        self.running_max = 0
        self.gate: asyncio.Event | None = None
        self.at_gate = asyncio.Event()
        self._serial = 0

    # The server's side, for tests.

    def store(self, path: str, data: bytes, mtime_s: int = 1_000_000_000) -> None:
        """Put a file there, with its folders."""
        names = tuple(path.split("/"))
        for length in range(len(names)):
            self.folders.add(names[:length])
        self._serial += 1
        self.files[names] = Stored(data, mtime_s, f'"{self._serial}"')

    def add_folder(self, path: str) -> None:
        """Make a folder there, with its parents."""
        names = tuple(path.split("/"))
        for length in range(len(names) + 1):
            self.folders.add(names[:length])

    def tree(self) -> dict[str, bytes | None]:
        """All names, relative to the root: files with their bytes, folders with None."""
        shown: dict[str, bytes | None] = {"/".join(each): None for each in self.folders if each}
        shown.update({"/".join(each): stored.data for each, stored in self.files.items()})
        return shown

    def count(self, operation: str) -> int:
        """How often an operation was called."""
        return sum(1 for name, _ in self.calls if name == operation)

    # The operations.

    async def list(self, url: str) -> list[ResourceInfo]:
        """The entries of a folder."""
        names = await self._begin("list", url)
        if names in self.files:
            raise RemoteProtocolError(f"{url} is not a listing", url=url)
        if names not in self.folders:
            raise NotFoundError(f"{url} not found", url=url)
        below = {each for each in (*self.folders, *self.files) if each[:-1] == names and each}
        below = {each for each in below if each[-1] not in self.hidden}
        folder = as_folder(parse(url))
        listing = FolderListing(self._listed(self._info(folder, each)) for each in sorted(below))
        listing.left_out = self.left_out
        return listing

    async def stat(self, url: str) -> ResourceInfo:
        """What is there."""
        names = await self._begin("stat", url)
        if names not in self.files and names not in self.folders:
            raise NotFoundError(f"{url} not found", url=url)
        if names in self.files and url.endswith("/"):
            raise NotFoundError(f"{url} not found", url=url)
        parent = parse(ORIGIN + "/")
        for name in names[:-1]:
            parent = child(parent, name, is_folder=True)
        return self._info(parent, names)

    async def get_file(self, info: ResourceInfo, path: str, on_bytes: OnBytes) -> FetchResult:
        """Write the file beside its place, then rename it: all or nothing."""
        names = await self._begin("get_file", info.url)
        stored = self._file(names, info.url)
        hidden = os.path.join(os.path.dirname(path), f".{secrets.token_hex(4)}.part")
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        try:
            _write(hidden, stored.data)
            if self.gate is not None:
                self.at_gate.set()
                await self.gate.wait()
            await asyncio.sleep(0)
            on_bytes(len(stored.data))
            os.utime(hidden, (stored.mtime_s, stored.mtime_s))
            os.replace(hidden, path)
        finally:
            self.running -= 1
            _remove(hidden)
        return FetchResult(len(stored.data), len(stored.data), None)

    def crew(self) -> contextlib.nullcontext[None]:
        """Nobody else sees this process's memory."""
        return contextlib.nullcontext()

    async def put_file(
        self, path: str, url: str, condition: UploadCondition | None, on_bytes: OnBytes
    ) -> UploadReply:
        """Store a local file, if the condition holds."""
        names = await self._begin("put_file", url)
        if names in self.folders or names[:-1] not in self.folders:
            raise ConflictError(f"{url} cannot be stored", url=url)
        found = self.files.get(names)
        if condition is not None:
            if condition.if_absent and found is not None:
                raise ConflictError(f"{url} is there already", url=url)
            if condition.if_match and (found is None or found.etag != condition.if_match):
                raise ConflictError(f"{url} has changed", url=url)
        data, mtime_ns = _read(path)
        on_bytes(len(data))
        self._serial += 1
        mtime_s = mtime_ns // 1_000_000_000 if self.keeps else self.clock_s
        self.files[names] = Stored(data, mtime_s, f'"{self._serial}"')
        return UploadReply(found is None, None, self.keeps)

    async def delete(self, url: str) -> None:
        """Delete a file or empty folder."""
        names = await self._begin("delete", url)
        if names in self.files and not url.endswith("/"):
            del self.files[names]
        elif names in self.folders and names and url.endswith("/"):
            if any(each[:-1] == names for each in (*self.folders, *self.files) if each):
                raise RemoteError(f"{url} is not empty", url=url)
            self.folders.remove(names)
        else:
            raise NotFoundError(f"{url} not found", url=url)

    async def make_folder(self, url: str) -> None:
        """Make a folder with its parents."""
        names = await self._begin("make_folder", url)
        for length in range(len(names) + 1):
            if names[:length] in self.files:
                raise ConflictError(f"{url}: a file is in the way", url=url)
        for length in range(len(names) + 1):
            self.folders.add(names[:length])

    async def local_sha256(self, path: str) -> bytes:
        """The digest of a local file."""
        return hashlib.sha256(_read(path)[0]).digest()

    async def remote_sha256(self, info: ResourceInfo) -> bytes:
        """The digest of a file there."""
        names = await self._begin("remote_sha256", info.url)
        return hashlib.sha256(self._file(names, info.url).data).digest()

    def keeps_mtime(self, url: str) -> bool | None:
        """What the test says that is known."""
        return self.knows_keeping

    # Inside.

    async def _begin(self, operation: str, url: str) -> Names:
        assert url.startswith(ORIGIN + "/")
        names = tuple(
            parse(ORIGIN + "/" + part).name for part in url[len(ORIGIN) :].split("/") if part
        )
        self.calls.append((operation, names))
        await asyncio.sleep(0)
        error = self.fail.get((operation, names))
        if error is not None:
            raise error
        return names

    def _file(self, names: Names, url: str) -> Stored:
        stored = self.files.get(names)
        if stored is None:
            raise NotFoundError(f"{url} not found", url=url)
        return stored

    def _info(self, parent: Resource, names: Names) -> ResourceInfo:
        if names in self.folders:
            where = child(parent, names[-1], is_folder=True) if names else parent
            return ResourceInfo(where.url, where.name, "directory", None, None, None)
        stored = self.files[names]
        version = Version(
            Validator(ValidatorKind.STRONG_ETAG, stored.etag), len(stored.data), stored.mtime_s
        )
        where = child(parent, names[-1])
        return ResourceInfo(
            where.url,
            names[-1],
            "file",
            len(stored.data),
            float(stored.mtime_s),
            stored.etag,
            version,
        )

    def _listed(self, info: ResourceInfo) -> ResourceInfo:
        if info.type == "directory" or self.listing_style == "full":
            return info
        info = info._replace(etag=None, version=None)
        if self.listing_style == "names":
            return info._replace(size=None, mtime_s=None)
        return info._replace(mtime_s=None)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _read(path: str) -> tuple[bytes, int]:
    with open(path, "rb") as file:
        return file.read(), os.fstat(file.fileno()).st_mtime_ns


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
