"""The two directions of a tree: down to local folders, and up to a server.

A direction knows where things lie on either side and which single operation does what; the walk
itself (``run``) is the same for both.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol

from netcache._client.trees.entries import Entry, Listing, joined, remote_entry
from netcache._client.trees.filters import Part
from netcache._client.trees.folders import DestState, Folder, Job, Removal
from netcache._client.trees.local import LocalTree
from netcache._client.trees.plan import FileStep, FolderStep
from netcache._client.trees.ports import OnBytes, TreeOps
from netcache._core.urls import as_folder, child, parse, why_not_local
from netcache.errors import (
    AccessDeniedError,
    NetCacheError,
    NotFoundError,
    RemoteProtocolError,
)
from netcache.spi import FolderListing, UploadCondition

REMOVAL_BATCH = 256
"""How many local names are removed in one hop to a thread."""

Failures = list[tuple[Removal, OSError]]


class Direction(Protocol):
    """What a walk needs to know of its two sides.  Everything async may suspend."""

    is_upload: bool

    async def list_source(self, folder: Folder) -> Listing:
        """The entries of a folder in the source."""

    async def list_dest(self, folder: Folder) -> Listing | None:
        """The entries of a folder in the destination; None: it is there, but gives no listing."""

    def enter(self, folder: Folder, step: FolderStep) -> Folder:
        """The folder inside ``folder`` that a step leads to."""

    def enter_doomed(self, folder: Folder, entry: Entry, part: Part) -> Folder:
        """A folder that is in the destination only."""

    def removal(self, folder: Folder, entry: Entry) -> Removal:
        """What removes an entry of the destination."""

    def job(self, folder: Folder, step: FileStep) -> Job:
        """What copies a file, or looks at it; ``UsageError`` when it cannot have its name."""

    async def exact(self, job: Job) -> Job:
        """The job with what the server says of its remote file."""

    async def same_digests(self, job: Job) -> bool:
        """Whether both files have the same SHA-256."""

    async def make_folder(self, folder: Folder) -> None:
        """Make a folder of the destination; its parent is there."""

    async def copy(self, job: Job, on_bytes: OnBytes) -> tuple[int, int, int | None]:
        """Copy a file; returns its size, the bytes from the server, and those sent (uploads)."""

    def batches(self, removals: Sequence[Removal]) -> Iterable[list[Removal]]:
        """Removals that are best done together."""

    async def remove(self, batch: list[Removal]) -> Failures:
        """Remove names; returns those that could not be, with the reasons."""


class Download:
    """From a server to local folders."""

    is_upload = False

    def __init__(self, ops: TreeOps, local: LocalTree) -> None:
        self._ops = ops
        self._local = local

    async def list_source(self, folder: Folder) -> Listing:
        """List at the server; names that cannot be local ones are broken."""
        infos = await self._ops.list(folder.resource.url)
        entries = [_local_ready(remote_entry(info)) for info in infos]
        if isinstance(infos, FolderListing):
            entries += [Entry(name, "special") for name in infos.left_out]
        return Listing(entries)

    async def list_dest(self, folder: Folder) -> Listing | None:
        """List locally."""
        return await asyncio.to_thread(self._local.scan, folder.name)

    def enter(self, folder: Folder, step: FolderStep) -> Folder:
        """Go into a folder that the server's listing named."""
        assert step.entry.info is not None
        name = joined(folder.name, step.entry.name)
        dest: DestState = "there" if step.exists else "absent"
        return Folder(name, folder, step.part, as_folder(parse(step.entry.info.url)), dest)

    def enter_doomed(self, folder: Folder, entry: Entry, part: Part) -> Folder:
        """Go into a local folder."""
        name = joined(folder.name, entry.name)
        return Folder(name, folder, part, folder.resource, "there", is_doomed=True)

    def removal(self, folder: Folder, entry: Entry) -> Removal:
        """Remove a local name; of a link, only the link."""
        is_folder = entry.kind == "folder" and not entry.is_link
        return Removal(joined(folder.name, entry.name), is_folder, "")

    def job(self, folder: Folder, step: FileStep) -> Job:
        """Bring a file to its place."""
        assert step.entry.info is not None
        name = joined(folder.name, step.entry.name)
        path = self._local.path(name)
        if step.there is not None and step.there.kind == "file" and step.there.is_link:
            path = os.path.realpath(path)
        url = step.entry.info.url
        return Job(folder, name, step.entry, step.there, step.verdict, path, url)

    async def exact(self, job: Job) -> Job:
        """Ask the server about the source."""
        info = await self._ops.stat(job.url)
        if info.type != "file":
            raise NetCacheError(f"{job.url} was listed as a file and is a folder", url=job.url)
        return job._replace(entry=remote_entry(info))

    async def same_digests(self, job: Job) -> bool:
        """Compare digests, the local one first."""
        assert job.entry.info is not None
        local = await self._ops.local_sha256(job.path)
        return local == await self._ops.remote_sha256(job.entry.info)

    async def make_folder(self, folder: Folder) -> None:
        """Make a local folder, in place of a link if need be."""
        await asyncio.to_thread(self._local.make_folder, folder.name)

    async def copy(self, job: Job, on_bytes: OnBytes) -> tuple[int, int, int | None]:
        """Bring the file through the cache."""
        assert job.entry.info is not None
        result = await self._ops.get_file(job.entry.info, job.path, on_bytes)
        return result.size, result.fetched_bytes, None

    def batches(self, removals: Sequence[Removal]) -> Iterable[list[Removal]]:
        """By folder, so that each folder is opened once."""
        for _, group in groupby(sorted(removals, key=_parent), key=_parent):
            together = list(group)
            for start in range(0, len(together), REMOVAL_BATCH):
                yield together[start : start + REMOVAL_BATCH]

    async def remove(self, batch: list[Removal]) -> Failures:
        """Remove names of one local folder."""
        parent = _parent(batch[0])
        by_name = {removal.name.rpartition("/")[2]: removal for removal in batch}
        names = [(last, removal.is_folder) for last, removal in by_name.items()]
        try:
            failures = await asyncio.to_thread(self._local.remove, parent, names)
        except OSError as error:
            return [(removal, error) for removal in batch]
        return [(by_name[last], error) for last, error in failures]


class Upload:
    """From local folders to a server."""

    is_upload = True

    def __init__(self, ops: TreeOps, local: LocalTree) -> None:
        self._ops = ops
        self._local = local

    async def list_source(self, folder: Folder) -> Listing:
        """List locally."""
        return await asyncio.to_thread(self._local.scan, folder.name)

    async def list_dest(self, folder: Folder) -> Listing | None:
        """List at the server.  One that gives no listings can be uploaded to all the same."""
        try:
            infos = await self._ops.list(folder.resource.url)
        except NotFoundError:
            folder.is_made = False
            return None if folder.dest == "unknown" else Listing([])
        except (AccessDeniedError, RemoteProtocolError):
            return None
        return Listing([remote_entry(info) for info in infos])

    def enter(self, folder: Folder, step: FolderStep) -> Folder:
        """Go into a local folder."""
        name = joined(folder.name, step.entry.name)
        if step.there is not None and step.there.info is not None:
            resource = as_folder(parse(step.there.info.url))
        else:
            resource = child(folder.resource, step.entry.name, is_folder=True)
        dest: DestState = "there" if step.exists else "absent"
        if folder.dest == "unknown":
            dest = "unknown"
        return Folder(name, folder, step.part, resource, dest)

    def enter_doomed(self, folder: Folder, entry: Entry, part: Part) -> Folder:
        """Go into a folder that the server's listing named."""
        return doomed_remote(folder, entry, part)

    def removal(self, folder: Folder, entry: Entry) -> Removal:
        """Delete at the server."""
        return remote_removal(folder, entry)

    def job(self, folder: Folder, step: FileStep) -> Job:
        """Upload a file to its place."""
        name = joined(folder.name, step.entry.name)
        if step.there is not None and step.there.info is not None:
            url = step.there.info.url
        else:
            url = child(folder.resource, step.entry.name).url
        path = self._local.path(name)
        is_known = folder.dest != "unknown"
        return Job(folder, name, step.entry, step.there, step.verdict, path, url, is_known)

    async def exact(self, job: Job) -> Job:
        """Ask the server about the destination."""
        try:
            info = await self._ops.stat(job.url)
        except NotFoundError:
            return job._replace(there=None, is_known=True)
        if info.type != "file":
            raise NetCacheError(f"{job.url} is a folder, where a file must be", url=job.url)
        return job._replace(there=remote_entry(info), is_known=True)

    async def same_digests(self, job: Job) -> bool:
        """Compare digests, the local one first."""
        assert job.there is not None
        assert job.there.info is not None
        local = await self._ops.local_sha256(job.path)
        return local == await self._ops.remote_sha256(job.there.info)

    async def make_folder(self, folder: Folder) -> None:
        """Make a folder at the server."""
        await self._ops.make_folder(folder.resource.url)

    async def copy(self, job: Job, on_bytes: OnBytes) -> tuple[int, int, int | None]:
        """Upload the file, on the condition that the server still has what was compared."""
        reply = await self._ops.put_file(job.path, job.url, _condition(job), on_bytes)
        size = (job.entry.size if reply.version is None else reply.version.size) or 0
        return size, 0, size if reply.sent_bytes is None else reply.sent_bytes

    def batches(self, removals: Sequence[Removal]) -> Iterable[list[Removal]]:
        """One exchange each."""
        return ([removal] for removal in removals)

    async def remove(self, batch: list[Removal]) -> Failures:
        """Delete at the server; what is gone already is fine."""
        return await remove_remote(self._ops, batch)


def doomed_remote(folder: Folder, entry: Entry, part: Part) -> Folder:
    """A folder that a server's listing named, and that is to go."""
    assert entry.info is not None
    resource = as_folder(parse(entry.info.url))
    return Folder(joined(folder.name, entry.name), folder, part, resource, "there", is_doomed=True)


def remote_removal(folder: Folder, entry: Entry) -> Removal:
    """What deletes an entry of a server's listing."""
    assert entry.info is not None
    is_folder = entry.kind == "folder"
    resource = parse(entry.info.url)
    url = as_folder(resource).url if is_folder else resource.url
    return Removal(joined(folder.name, entry.name), is_folder, url)


async def remove_remote(ops: TreeOps, batch: list[Removal]) -> Failures:
    """Delete names at a server, one after the other."""
    failures: Failures = []
    for removal in batch:
        try:
            await ops.delete(removal.url)
        except NotFoundError:
            continue
        except OSError as error:
            failures.append((removal, error))
    return failures


def _parent(removal: Removal) -> str:
    return removal.name.rpartition("/")[0]


def _local_ready(entry: Entry) -> Entry:
    why = why_not_local(entry.name)
    return entry if why is None else entry._replace(kind="broken", error=NetCacheError(why))


def _condition(job: Job) -> UploadCondition | None:
    """What the comparison saw; None leaves it to the upload to look again."""
    if job.there is None:
        return UploadCondition(if_absent=True) if job.is_known else None
    etag = job.there.info.etag if job.there.info is not None else None
    # Weak ones cannot be used with If-Match (RFC 9110 13.1.1).
    return UploadCondition(if_match=etag) if etag is not None and etag[:1] == '"' else None
