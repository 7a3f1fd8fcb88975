"""Whole operations, as both faces of the client offer them: get, put, sync, ls, rm, warm, cat."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from netcache._client.items import Item, ItemProgress, local_place, own_descriptor, refuse_namesakes
from netcache._client.report import Report
from netcache._core.urls import Resource, as_file, child, is_url
from netcache.errors import UsageError
from netcache.spi import ResourceInfo, UploadCondition

if TYPE_CHECKING:
    from netcache._client.ahead import AheadCopy
    from netcache._client.core import ClientCore
    from netcache._client.trees.options import TreeOptions
    from netcache._core.progress import ProgressSink

PathLike = str | os.PathLike[str]
Source = PathLike | BinaryIO

CAT_BYTES = 1 << 20

AHEAD_BYTES_MIN = 4 << 20
"""From this size on a cached file is copied while the server is asked about it."""

# The code for trees is imported where one is asked for: most commands are about a file.


class Operations:
    """The operations of one client.  On its loop."""

    def __init__(self, core: ClientCore) -> None:
        self._core = core

    # Bringing.

    async def get(
        self,
        url: str | Sequence[str],
        path: PathLike,
        *,
        recursive: bool,
        follow_links: bool,
        progress: ProgressSink | None,
    ) -> Report:
        """Bring one or several resources, or trees, to local files or folders."""
        resources = [self._core.parse(one) for one in ([url] if isinstance(url, str) else url)]
        dest = os.fspath(path)
        several = len(resources) > 1
        report = Report()
        if several:
            files = [as_file(resource) for resource in resources]
            refuse_namesakes([(file.name, file.url) for file in files], dest)
            os.makedirs(dest, exist_ok=True)
        for resource in resources:
            item = None if recursive else ItemProgress(progress, resource.url, None)
            with Item(report, resource.url, item, only=not several):
                place = local_place(resource, dest, several=several, tree=recursive)
                if item is None:
                    from netcache._client.trees.api import get_tree
                    from netcache._client.trees.options import TreeOptions

                    tree = await get_tree(
                        self._core.remote(),
                        resource.url,
                        place,
                        options=TreeOptions(follow_links=follow_links),
                        progress=progress,
                    )
                    report.add(tree)
                else:
                    await self._get_one(report, resource, place, item)
        return report

    async def _get_one(
        self, report: Report, resource: Resource, place: str, item: ItemProgress
    ) -> None:
        ahead = await self._begin_ahead(resource, place)
        try:
            result = await self._core.remote().get_alone(resource, place, item, ahead)
        finally:
            if ahead is not None:
                await ahead.close()
        report.copied += 1
        report.bytes += result.size
        report.fetched_bytes += result.fetched_bytes

    async def _begin_ahead(self, resource: Resource, place: str) -> AheadCopy | None:
        """Begin to copy what is cached, if that is worth it: to ask the server takes a while.

        (In a new process most of that while is the import of what asks.)
        """
        inode = self._core.inodes.find(resource)
        if inode is None or not inode.joins or inode.size < AHEAD_BYTES_MIN:
            return None
        from netcache._client.ahead import begin_ahead

        return await begin_ahead(self._core.inodes, inode, place)

    # Sending.

    async def put(
        self,
        source: Source | Sequence[Source],
        url: str,
        *,
        recursive: bool,
        if_match: str | None,
        no_clobber: bool,
        follow_links: bool,
        progress: ProgressSink | None,
    ) -> Report:
        """Upload one or several files, trees or streams."""
        resource = self._core.parse(url)
        self._core.need_online("upload to", resource.url)
        sources = _as_list(source)
        condition = None
        if if_match is not None or no_clobber:
            condition = UploadCondition(if_match=if_match, if_absent=no_clobber)
        several = len(sources) > 1
        if several:
            refuse_namesakes(_names_of(sources), resource.url)
        report = Report()
        for one in sources:
            tree = recursive and not _is_stream(one)
            item = None if tree else ItemProgress(progress, _name_of(one), _size_of(one))
            with Item(report, _name_of(one), item, only=not several):
                target = self._put_target(resource, one, several=several, tree=tree)
                if item is None:
                    from netcache._client.trees.api import put_tree
                    from netcache._client.trees.options import TreeOptions

                    sent = await put_tree(
                        self._core.remote(),
                        _path_of(one),
                        target.url,
                        options=TreeOptions(follow_links=follow_links),
                        progress=progress,
                    )
                    report.add(sent)
                else:
                    size, sent_bytes = await self._put_one(one, target, condition, item)
                    report.bytes += size
                    report.sent(sent_bytes)
                    report.copied += 1
        return report

    @staticmethod
    def _put_target(resource: Resource, source: Source, *, several: bool, tree: bool) -> Resource:
        """The URL that a source goes to: the one named, or its own name inside that folder."""
        inside = several or (resource.is_folder and not tree)
        if not inside:
            return as_file(resource)
        if _is_stream(source) or own_descriptor(_path_of(source)) is not None:
            what = "a stream" if _is_stream(source) else _path_of(source)
            raise UsageError(
                f"{what} has no name to be stored under in {resource.url} (name the URL in full)"
            )
        return child(resource, os.path.basename(os.path.abspath(_path_of(source))))

    async def _put_one(
        self,
        source: Source,
        target: Resource,
        condition: UploadCondition | None,
        item: ItemProgress,
    ) -> tuple[int, int]:
        """Upload one file or stream; returns its size, and how much was sent."""
        found = None if _is_stream(source) else os.stat(_path_of(source))
        if found is None or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            size = await self._put_streamed(source, target, condition, item)
            return size, size
        path = _path_of(source)
        if stat.S_ISDIR(found.st_mode):
            raise UsageError(f"{path} is a folder (use -r to upload a tree)")
        reply = await self._core.remote().put_file(path, target.url, condition, item)
        size = found.st_size or reply.sent_bytes or 0
        return size, size if reply.sent_bytes is None else reply.sent_bytes

    async def _put_streamed(
        self,
        source: Source,
        target: Resource,
        condition: UploadCondition | None,
        item: ItemProgress,
    ) -> int:
        """Upload a stream, or a file that is one; returns its size."""
        from netcache._client.streamed import put_special, put_stream, reads_of

        uploader = self._core.remote().uploader
        if isinstance(source, str | os.PathLike):
            reply = await put_special(uploader, os.fspath(source), target, condition, item)
        else:
            reply = await put_stream(uploader, reads_of(source), target, condition, item)
        return reply.sent_bytes or 0

    # Trees.

    async def sync(
        self, src: PathLike, dst: PathLike, options: TreeOptions, progress: ProgressSink | None
    ) -> Report:
        """Make ``dst`` like ``src``; one of them is a URL."""
        source, target = (self._side(side) for side in (src, dst))
        if is_url(target):
            self._core.need_online("sync to", target)
        elif options.delete:
            # A kept listing may be of any age.
            self._core.need_online("sync with deletion from", source)
        from netcache._client.trees.api import sync_tree

        return await sync_tree(
            self._core.remote(), source, target, options=options, progress=progress
        )

    def _side(self, side: PathLike) -> str:
        text = os.fspath(side)
        return self._core.parse(text).url if is_url(text) else text

    async def ls(self, url: str, *, recursive: bool) -> list[ResourceInfo]:
        """The entries of a folder, or of the whole tree with names relative to it."""
        resource = self._core.parse(url)
        if recursive:
            from netcache._client.trees.api import list_tree

            return await list_tree(self._core.remote(), resource.url)
        return await self._core.remote().list(resource.url)

    async def rm(self, url: str, *, recursive: bool, if_match: str | None) -> Report:
        """Delete a file, an empty folder, or a tree."""
        resource = self._core.parse(url)
        self._core.need_online("deletion of", resource.url)
        if recursive:
            from netcache._client.trees.api import remove_tree

            return await remove_tree(self._core.remote(), resource.url)
        report = Report()
        await self._core.remote().delete(resource.url, UploadCondition(if_match=if_match))
        report.deleted += 1
        return report

    async def warm(
        self,
        url: str | Sequence[str],
        offset: int,
        count: int | None,
        *,
        recursive: bool,
        progress: ProgressSink | None,
    ) -> Report:
        """Bring resources, parts of them, or trees into the cache."""
        self._core.need_store()
        report = Report()
        resources = [self._core.parse(one) for one in ([url] if isinstance(url, str) else url)]
        for resource in resources:
            if recursive:
                from netcache._client.trees.api import warm_tree

                report.add(
                    await warm_tree(
                        self._core.remote(),
                        resource.url,
                        self._core.remote().warm_listed,
                        progress=progress,
                    )
                )
                continue
            item = ItemProgress(progress, resource.url, None)
            with Item(report, resource.url, item, only=len(resources) == 1):
                size, fetched = await self._core.remote().warm(resource, offset, count, item)
                report.copied += bool(fetched)
                report.unchanged += not fetched
                report.bytes += size
                report.fetched_bytes += fetched
        return report

    async def cat(
        self, url: str, offset: int, count: int | None
    ) -> AsyncIterator[bytes | memoryview]:
        """The bytes of a resource, or of a part of it, piece by piece."""
        from netcache._client.async_reader import AsyncReader

        resource = self._core.parse(url)
        handle = self._core.open_handle(resource)
        reader = AsyncReader(self._core, handle)
        try:
            end = sys.maxsize if count is None else offset + count
            first = -1 if count is None else count
            while offset < end:
                await reader.prepare(offset, first)
                data = await reader.pread(min(CAT_BYTES, end - offset), offset)
                if not data:
                    return
                yield data
                offset += len(data)
                first = min(CAT_BYTES, end - offset)
        finally:
            handle.close()


def _is_stream(source: object) -> bool:
    return hasattr(source, "read")


def _path_of(source: Source) -> str:
    assert isinstance(source, str | os.PathLike)
    return os.fspath(source)


def _name_of(source: Source) -> str:
    return str(getattr(source, "name", "<stream>")) if _is_stream(source) else _path_of(source)


def _names_of(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """The own names of files and folders, each with its path."""
    paths = [os.path.abspath(_path_of(one)) for one in sources if not _is_stream(one)]
    return [(os.path.basename(path), path) for path in paths]


def _as_list(source: Source | Sequence[Source]) -> list[Source]:
    if isinstance(source, str | os.PathLike) or _is_stream(source):
        return [source]  # type: ignore[list-item]
    return list(source)  # type: ignore[arg-type]


def _size_of(source: Source) -> int | None:
    if _is_stream(source):
        return None
    try:
        found = os.stat(_path_of(source))
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
