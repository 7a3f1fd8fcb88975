"""A complete backend whose resources live in memory: for tests and experiments.

It passes the same conformance suite as the HTTP backend.  Several backends may share one
``MemoryServer``, as several clients share a server.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.extent import Extent
from netcache._core.invariant import invariant
from netcache._core.urls import Resource, as_file, as_folder, parse
from netcache.backends.http_fields import http_date_s
from netcache.errors import (
    ClosedError,
    ConflictError,
    NotFoundError,
    NotOfferedError,
    RemoteError,
    StaleError,
    UsageError,
)
from netcache.spi import (
    UNCONDITIONAL,
    BodySink,
    OriginCapabilities,
    ReadReply,
    ResourceInfo,
    UpdateData,
    UploadBody,
    UploadCondition,
    UploadReply,
)

__all__ = ["MemoryBackend", "MemoryServer"]

PIECE_BYTES = 1 << 20


class _File(NamedTuple):
    data: bytes
    version: Version


class MemoryServer:
    """What the backends share: files and folders by canonical URL, and a log of requests.

    ``updates`` tells whether parts of files can be changed.
    """

    def __init__(self, *, updates: bool = True) -> None:
        self.updates = updates
        self.files: dict[str, _File] = {}
        self.folders: set[str] = set()
        self.requests: list[str] = []
        self._versions = 0

    def store(self, url: str, data: bytes, mtime_s: float | None = None) -> Version:
        """Make ``data`` the resource ``url``, in a new version; its folders come with it."""
        resource = parse(url)
        self._versions += 1
        validator = Validator(ValidatorKind.STRONG_ETAG, f'"{self._versions}"')
        version = Version(validator, len(data), None if mtime_s is None else int(mtime_s))
        self.make_folder(_folder_of(resource))
        self.files[resource.url] = _File(data, version)
        return version

    def make_folder(self, folder: Resource) -> None:
        """Make a folder and its parents."""
        while folder.path != "/":
            if as_file(folder).url in self.files:
                raise RemoteError(f"making {folder.url} failed: it is a file", url=folder.url)
            self.folders.add(folder.url)
            folder = _folder_of(folder)

    def is_folder(self, folder: Resource) -> bool:
        """Whether there is such a folder; the root of any origin always is."""
        return folder.path == "/" or folder.url in self.folders

    def children(self, folder: Resource) -> Iterator[Resource]:
        """The files and folders directly inside ``folder``."""
        for url in [*self.files, *self.folders]:
            resource = parse(url)
            if resource.path != "/" and _folder_of(resource).url == folder.url:
                yield resource


class MemoryReply:
    """A ``ReadReply`` over bytes."""

    def __init__(
        self, data: bytes, version: Version | None, extent: Extent, *, not_modified: bool = False
    ) -> None:
        self.not_modified = not_modified
        self.version = version
        self.extent = extent
        self.whole = version is not None and extent == (0, version.size)
        self.ranges_supported: bool | None = True
        self._data = memoryview(data)
        self._taken = False

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> int:
        """Hand the body over in pieces."""
        invariant(not self._taken, "a body is taken once")
        self._taken = True
        position, end = self.extent
        step = max(PIECE_BYTES, notice_bytes)
        while position < end:
            piece_end = min(end, (position & -notice_bytes) + step)
            sink(position, self._data[position:piece_end])
            position = piece_end
            await asyncio.sleep(0)
        return self.extent.length

    async def close(self) -> None:
        """Nothing is held."""
        self._taken = True


class MemoryBackend:
    """A ``Backend`` over a ``MemoryServer``."""

    def __init__(self, server: MemoryServer | None = None) -> None:
        self.server = server or MemoryServer()
        self._closed = False
        self._learnt = False

    async def open_read(
        self,
        url: str,
        extent: Extent | None = None,
        *,
        expected: Version | None = None,
        unless: Validator | None = None,
    ) -> ReadReply:
        """See the port."""
        file = await self._file("read", url)
        if expected is not None and not file.version.same_as(expected):
            raise StaleError(f"read of {url} failed: it changed", url=url)
        if unless is not None and unless == file.version.validator:
            return MemoryReply(b"", None, Extent(0, 0), not_modified=True)
        start, end = extent if extent is not None else (0, -1)
        size = len(file.data)
        end = size if end < 0 else min(end, size)
        return MemoryReply(file.data, file.version, Extent(start, max(start, end)))

    async def stat(
        self, url: str, *, unless: Validator | None = None, want_digest: bool = False
    ) -> ResourceInfo | None:
        """See the port."""
        resource = parse(url)
        await self._arrive("stat", resource)
        folder = as_folder(resource)
        if self.server.is_folder(folder):
            return ResourceInfo(folder.url, folder.name, "directory", None, None, None)
        file = await self._file("stat", url)
        if unless is not None and unless == file.version.validator:
            return None
        return _info(resource, file, want_digest=want_digest)

    async def list(self, url: str) -> list[ResourceInfo]:
        """See the port."""
        folder = as_folder(parse(url))
        await self._arrive("list", folder)
        if not self.server.is_folder(folder):
            raise NotFoundError(f"listing of {url} failed: no such folder", url=url)
        found = [
            ResourceInfo(child.url, child.name, "directory", None, None, None)
            if child.is_folder
            else _info(child, self.server.files[child.url])
            for child in self.server.children(folder)
        ]
        return sorted(found, key=lambda info: info.name)

    async def put(
        self,
        url: str,
        body: UploadBody,
        *,
        condition: UploadCondition = UNCONDITIONAL,
        mtime_s: float | None = None,
    ) -> UploadReply:
        """See the port."""
        resource = parse(url)
        await self._arrive("put", resource)
        self._check("upload", resource, condition)
        data = bytearray()
        async for chunk in body.chunks():
            data += chunk
        if body.size is not None and body.size != len(data):
            raise UsageError(
                f"upload of {url} failed: {len(data)} bytes came, {body.size} were announced",
                url=url,
            )
        self._check("upload", resource, condition)
        created = resource.url not in self.server.files
        version = self.server.store(resource.url, bytes(data), mtime_s)
        return UploadReply(created, version, mtime_s is not None)

    async def learn(self, url: str) -> OriginCapabilities:
        """See the port."""
        if not self._learnt:
            await self._arrive("learn", parse(url))
            self._learnt = True
        return self.capabilities(url)

    async def update(
        self, url: str, start: int, data: UpdateData, *, size: int, condition: UploadCondition
    ) -> UploadReply:
        """See the port."""
        resource = parse(url)
        await self.learn(url)
        await self._arrive("update", resource)
        if not self.server.updates:
            raise NotOfferedError(f"update of {url} failed: only whole files are taken", url=url)
        invariant(condition.names_one_version, "an update names a version", named=condition)
        self._check("update", resource, condition)
        former = self.server.files[resource.url].data
        if len(former) != size:
            raise ConflictError(f"update of {url} failed: its size is {len(former)}", url=url)
        new = b"".join([data] if isinstance(data, bytes | memoryview) else data)
        invariant(bool(new) and start >= 0, "an update has bytes and a place", start=start)
        changed = former[:start].ljust(start, b"\0") + new + former[start + len(new) :]
        version = self.server.store(resource.url, changed)
        return UploadReply(False, version, False)

    async def delete(self, url: str, *, condition: UploadCondition = UNCONDITIONAL) -> None:
        """See the port."""
        resource = parse(url)
        await self._arrive("delete", resource)
        if resource.is_folder and self.server.is_folder(resource):
            if any(self.server.children(resource)):
                raise RemoteError(f"deletion of {url} failed: it is not empty", url=url)
            self.server.folders.discard(resource.url)
            return
        if resource.url not in self.server.files:
            raise NotFoundError(f"deletion of {url} failed: no such resource", url=url)
        self._check("deletion", resource, condition)
        del self.server.files[resource.url]

    async def make_folder(self, url: str) -> None:
        """See the port."""
        folder = as_folder(parse(url))
        await self._arrive("make_folder", folder)
        self.server.make_folder(folder)

    def capabilities(self, url: str) -> OriginCapabilities:
        """Ranges and digests always work; updates are known when they were asked for."""
        patch = self.server.updates if self._learnt else None
        partial_put = False if self._learnt else None
        return OriginCapabilities(ranges=True, digests=True, partial_put=partial_put, patch=patch)

    async def close(self) -> None:
        """See the port."""
        self._closed = True

    async def _arrive(self, what: str, resource: Resource) -> None:
        if self._closed:
            raise ClosedError("this backend is closed", url=resource.url)
        self.server.requests.append(f"{what} {resource.url}")
        await asyncio.sleep(0)

    async def _file(self, what: str, url: str) -> _File:
        resource = parse(url)
        await self._arrive(what, resource)
        file = self.server.files.get(resource.url)
        if file is None:
            raise NotFoundError(f"{what} of {url} failed: no such resource", url=url)
        return file

    def _check(self, what: str, resource: Resource, condition: UploadCondition) -> None:
        file = self.server.files.get(resource.url)
        failed = condition.if_absent and file is not None
        if condition.if_match is not None:
            failed |= file is None
            failed |= file is not None and condition.if_match not in (
                "*",
                file.version.validator.value,
            )
        limit_s = http_date_s(condition.unmodified_since)
        if limit_s is not None:
            failed |= file is None or (file.version.mtime_s or 0) > limit_s
        if failed:
            raise ConflictError(
                f"{what} of {resource.url} failed: the precondition does not hold",
                url=resource.url,
            )


def _folder_of(resource: Resource) -> Resource:
    path = as_file(resource).path.rpartition("/")[0] + "/"
    return parse(resource.origin + path)


def _info(resource: Resource, file: _File, *, want_digest: bool = False) -> ResourceInfo:
    return ResourceInfo(
        resource.url,
        resource.name,
        "file",
        file.version.size,
        file.version.mtime_s,
        file.version.validator.value,
        file.version,
        hashlib.sha256(file.data).digest() if want_digest else None,
    )
