"""A complete backend whose resources live in memory: for tests and experiments.

It passes the same conformance suite as the HTTP backend.  Several backends may share one
``MemoryServer``, as several clients share a server.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Literal

from netcache._core.coherency import Validator, Version
from netcache._core.extent import Extent, ExtentSet
from netcache._core.invariant import invariant
from netcache._core.urls import Resource, as_file, as_folder, parse
from netcache.backends.http_fields import http_date_s
from netcache.backends.memory_reply import MemoryRangesReply, MemoryReply
from netcache.backends.memory_server import MemoryFile, MemoryServer
from netcache.backends.names import check_new_name
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
    OriginCapabilities,
    RangesReply,
    ReadReply,
    ResourceInfo,
    UpdateData,
    UploadBody,
    UploadCondition,
    UploadReply,
)

__all__ = ["MemoryBackend", "MemoryServer"]


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
        answers = self.server.answers
        file = await self._read(url)
        if expected is not None and not file.version.same_as(expected):
            raise StaleError(f"read of {url} failed: it changed", url=url)
        if unless is not None and unless == file.version.validator:
            return MemoryReply(answers, b"", None, Extent(0, 0), not_modified=True)
        start, end = extent if extent is not None else (0, -1)
        size = len(file.data)
        end = size if end < 0 else min(end, size)
        return MemoryReply(answers, file.data, file.version, Extent(start, max(start, end)))

    async def open_ranges(
        self, url: str, extents: Sequence[Extent], *, expected: Version
    ) -> RangesReply:
        """See the port."""
        invariant(
            bool(extents) and all(0 <= start < end <= expected.size for start, end in extents),
            "extents to read are not empty and lie within the version",
            extents=extents,
        )
        if not self.server.multi_ranges and len(ExtentSet(extents)) > 1:
            raise NotOfferedError(f"read of {url} in several ranges failed", url=url)
        file = await self._read(url)
        if not file.version.same_as(expected):
            raise StaleError(f"read of {url} failed: it changed", url=url)
        return MemoryRangesReply(self.server.answers, file.data, file.version, extents)

    async def stat(
        self, url: str, *, unless: Validator | None = None, want_digest: bool = False
    ) -> ResourceInfo | None:
        """See the port."""
        resource = parse(url)
        await self._arrive("stat", resource)
        folder = as_folder(resource)
        if self.server.is_folder(folder):
            return ResourceInfo(folder.url, folder.name, "directory", None, None, None)
        file = self._file("stat", resource)
        await self._leave("stat")
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
        await self._leave("list")
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
        await self._leave("put")
        return UploadReply(created, self._told(version), mtime_s is not None)

    async def learn(self, url: str) -> OriginCapabilities:
        """See the port."""
        if not self._learnt:
            try:
                await self._arrive("learn", parse(url))
            except RemoteError:
                return self.capabilities(url)._replace(partial_put=False, patch=False)
            self._learnt = True
        return self.capabilities(url)

    async def update(
        self, url: str, start: int, data: UpdateData, *, size: int, condition: UploadCondition
    ) -> UploadReply:
        """See the port."""
        resource = parse(url)
        new = b"".join([data] if isinstance(data, bytes | memoryview) else data)
        invariant(bool(new) and start >= 0, "an update has bytes and a place", start=start)
        invariant(condition.names_one_version, "an update names a version", named=condition)
        if not (await self.learn(url)).patch:
            raise NotOfferedError(f"update of {url} failed: only whole files are taken", url=url)
        await self._arrive("update", resource)
        self._check("update", resource, condition)
        former = self.server.files[resource.url].data
        if len(former) != size:
            raise ConflictError(f"update of {url} failed: its size is {len(former)}", url=url)
        changed = former[:start].ljust(start, b"\0") + new + former[start + len(new) :]
        version = self.server.store(resource.url, changed)
        await self._leave("update")
        return UploadReply(False, self._told(version), False)

    async def delete(self, url: str, *, condition: UploadCondition = UNCONDITIONAL) -> None:
        """See the port."""
        resource = parse(url)
        await self._arrive("delete", resource)
        if resource.is_folder and self.server.is_folder(resource):
            if any(self.server.children(resource)):
                raise RemoteError(f"deletion of {url} failed: it is not empty", url=url)
            self.server.folders.discard(resource.url)
            await self._leave("delete")
            return
        if resource.url not in self.server.files:
            raise NotFoundError(f"deletion of {url} failed: no such resource", url=url)
        self._check("deletion", resource, condition)
        del self.server.files[resource.url]
        await self._leave("delete")

    async def move(
        self,
        url: str,
        to_url: str,
        *,
        condition: UploadCondition = UNCONDITIONAL,
        overwrite: bool = False,
    ) -> Literal["file", "directory"]:
        """See the port."""
        source, target = parse(url), parse(to_url)
        check_new_name(source, target)
        await self._arrive("move", source)
        if not self.server.moves:
            raise NotOfferedError(f"move of {url} failed: names stay here", url=url)
        is_folder = self.server.is_folder(as_folder(source))
        spelled = as_folder if is_folder else as_file
        source, target = spelled(source), spelled(target)
        if not is_folder:
            self._file("move", source)
        self._check("move", source, condition)
        in_the_way = self.server.is_folder(as_folder(target)) or (
            as_file(target).url in self.server.files and (is_folder or not overwrite)
        )
        if in_the_way:
            raise ConflictError(f"move to {to_url} failed: something stands there", url=to_url)
        self.server.rename(source, target)
        await self._leave("move")
        return "directory" if is_folder else "file"

    async def make_folder(self, url: str) -> None:
        """See the port."""
        folder = as_folder(parse(url))
        await self._arrive("make_folder", folder)
        self.server.make_folder(folder)
        await self._leave("make_folder")

    def capabilities(self, url: str) -> OriginCapabilities:
        """Updates are known when they were asked for, and the rest always."""
        patch = self.server.updates if self._learnt else None
        partial_put = False if self._learnt else None
        server = self.server
        known = OriginCapabilities(
            True, True, partial_put, patch, server.multi_ranges, server.tells_versions, True
        )
        return known._replace(keeps_mtime=True)

    async def close(self) -> None:
        """See the port."""
        self._closed = True

    def _told(self, version: Version) -> Version | None:
        return version if self.server.tells_versions else None

    async def _arrive(self, what: str, resource: Resource) -> None:
        if self._closed:
            raise ClosedError("this backend is closed", url=resource.url)
        self.server.requests.append(f"{what} {resource.url}")
        await asyncio.sleep(0)
        await self.server.answers.act(what)

    async def _leave(self, what: str) -> None:
        """The request is done: its reply may be late, or lost."""
        await self.server.answers.act(what, after=True)

    async def _read(self, url: str) -> MemoryFile:
        resource = parse(url)
        await self._arrive("read", resource)
        file = self._file("read", resource)
        await self._leave("read")
        return file

    def _file(self, what: str, resource: Resource) -> MemoryFile:
        file = self.server.files.get(resource.url)
        if file is None:
            raise NotFoundError(
                f"{what} of {resource.url} failed: no such resource", url=resource.url
            )
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
        expected_s = http_date_s(condition.unmodified_since)
        if expected_s is not None:
            failed |= file is None or file.version.mtime_s != expected_s
        if failed:
            raise ConflictError(
                f"{what} of {resource.url} failed: the precondition does not hold",
                url=resource.url,
            )


def _info(resource: Resource, file: MemoryFile, *, want_digest: bool = False) -> ResourceInfo:
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
