"""Trees: what ``get -r``, ``put -r``, ``sync``, ``rm -r``, ``ls -r`` and ``warm -r`` do.

Rules:

1. DEST (or the URL) becomes the tree, run once or ten times; trailing slashes mean nothing.  The
   two ends that the caller names may be symbolic links; inside, links are not followed (in DEST
   they are replaced, in SRC skipped and named) unless ``follow_links``.
2. Reports count files in ``copied`` and ``unchanged`` (folders in neither), and every name that
   went, folders too, in ``deleted``.
3. What concerns the tree as a whole is raised (SRC does not exist, DEST cannot be made, the only
   file cannot be copied); what concerns one name of several is in the report.
4. A file as SRC is copied as one: ``get_tree`` and ``put_tree`` put it into a DEST that is a
   folder, under its own name; ``sync_tree`` refuses that.  The ends themselves are never replaced
   by something of another type.
5. Nothing outside DEST is written or deleted, whatever links stand in it when the tree arrives.
   (Who may replace folders of DEST by links while a file is being written there is not kept from
   leading that one write astray; deletions and new folders are safe from that too.)
6. ``dry_run`` changes nothing on either side and reports what a real run would, except the errors
   that only doing brings to light.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from netcache._client.items import refuse_special
from netcache._client.report import Report
from netcache._client.trees.compare import Rule
from netcache._client.trees.directions import Direction, Download, Upload
from netcache._client.trees.entries import Entry, name_of_kind, remote_entry
from netcache._client.trees.folders import DestState, Folder, Job
from netcache._client.trees.local import LocalTree
from netcache._client.trees.options import TreeOptions
from netcache._client.trees.plan import verdict_of
from netcache._client.trees.ports import TreeOps
from netcache._client.trees.reach import Reach
from netcache._client.trees.remote import list_tree, look, remove_tree, warm_tree
from netcache._client.trees.run import TreeRun
from netcache._client.trees.tally import Tally, exit_code
from netcache._core.progress import ProgressSink
from netcache._core.urls import Resource, as_file, as_folder, child, is_url, local_name, parse
from netcache.errors import (
    AccessDeniedError,
    NetCacheError,
    NotFoundError,
    RemoteProtocolError,
    UsageError,
)

if TYPE_CHECKING:
    from netcache._client.crew.crew import Crew

__all__ = [
    "TreeOptions",
    "exit_code",
    "get_tree",
    "list_tree",
    "put_tree",
    "remove_tree",
    "sync_tree",
    "warm_tree",
]

_DEFAULTS = TreeOptions()


async def get_tree(
    ops: TreeOps,
    url: str,
    dest: str,
    *,
    options: TreeOptions = _DEFAULTS,
    progress: ProgressSink | None = None,
) -> Report:
    """Bring the tree or file at ``url`` to ``dest``."""
    return await _Copy(ops, options, progress).down(url, dest, into_folder=True)


async def put_tree(
    ops: TreeOps,
    src: str,
    url: str,
    *,
    options: TreeOptions = _DEFAULTS,
    progress: ProgressSink | None = None,
) -> Report:
    """Upload the local tree or file ``src`` to ``url``."""
    return await _Copy(ops, options, progress).up(src, url, into_folder=True)


async def sync_tree(
    ops: TreeOps,
    src: str,
    dst: str,
    *,
    options: TreeOptions = _DEFAULTS,
    progress: ProgressSink | None = None,
) -> Report:
    """Make ``dst`` like ``src``; one of them is a URL, the other a local path."""
    copy = _Copy(ops, options, progress)
    if is_url(src) and is_url(dst):
        raise UsageError("sync needs a local path on one side (both are URLs)")
    if is_url(src):
        return await copy.down(src, dst, into_folder=False)
    if is_url(dst):
        return await copy.up(src, dst, into_folder=False)
    raise UsageError("sync needs a URL on one side (both are local paths)")


class _Copy:
    """One copy of one tree, from the two ends that a caller named."""

    def __init__(self, ops: TreeOps, options: TreeOptions, progress: ProgressSink | None) -> None:
        options.check()
        self._ops = ops
        self._options = options
        self._selection = options.selection()
        self._tally = Tally(progress)

    async def down(self, url: str, dest: str, *, into_folder: bool) -> Report:
        """From a server to local folders."""
        resource, place = parse(url), _path(dest)
        info = await look(self._ops, resource)
        if info is None:
            raise NotFoundError(f"copy of {resource.url} failed: there is no such thing", url=url)
        there = await asyncio.to_thread(self._local(place).look, "")
        if info.type == "file":
            if there is not None and there.kind == "folder":
                if not into_folder:
                    raise _clash(place, "folder", "file")
                place = os.path.join(place, local_name(resource))
            await self._file_down(remote_entry(info), resource, place)
        else:
            if there is not None and there.kind != "folder":
                raise _clash(place, name_of_kind(there.kind), "folder")
            dest_state: DestState = "absent" if there is None else "there"
            down = Download(self._ops, self._local(place))
            if self._options.dry_run:
                await self._tree(down, resource, dest_state)
            else:
                async with self._ops.crew() as crew:
                    await self._tree(down, resource, dest_state, crew)
        return self._tally.finished()

    async def up(self, src: str, url: str, *, into_folder: bool) -> Report:
        """From local folders to a server."""
        resource, place = parse(url), _path(src)
        here = await asyncio.to_thread(self._local(place).look, "")
        if here is None:
            raise NotFoundError(f"copy of {src} failed: there is no such file or folder")
        if here.kind == "special":
            raise NetCacheError(f"copy of {src} failed: it is neither a file nor a folder")
        there, is_known = await self._look_there(resource)
        if here.kind == "file":
            if there is not None and there.kind == "folder":
                if not into_folder:
                    raise _clash(resource.url, "folder", "file")
                resource = child(as_folder(resource), _last_name(place))
                there, is_known = await self._look_there(resource)
                if there is not None and there.kind == "folder":
                    raise _clash(resource.url, "folder", "file")
            await self._file_up(here, there, place, as_file(resource), is_known=is_known)
        else:
            if there is not None and there.kind == "file":
                raise _clash(resource.url, "file", "folder")
            dest_state: DestState = "absent" if there is None else "there"
            dest_state = dest_state if is_known else "unknown"
            await self._tree(Upload(self._ops, self._local(place)), resource, dest_state)
        return self._tally.finished()

    async def _look_there(self, resource: Resource) -> tuple[Entry | None, bool]:
        """What is at the URL to upload to, and whether that could be learned.

        Servers that show no folders may take uploads into them all the same.
        """
        try:
            info = await look(self._ops, resource)
        except (AccessDeniedError, RemoteProtocolError):
            return None, False
        return (None if info is None else remote_entry(info)), True

    async def _tree(
        self, direction: Direction, resource: Resource, dest: DestState, crew: Crew | None = None
    ) -> None:
        folder = as_folder(resource)
        root = Folder("", None, self._selection.root, folder, dest)
        await self._run(direction, folder, crew).run(root)

    async def _file_down(self, entry: Entry, resource: Resource, place: str) -> None:
        if self._options.follow_links:
            place = await asyncio.to_thread(os.path.realpath, place)
        parent, last = os.path.split(place)
        local = self._local(parent or ".")
        there = await asyncio.to_thread(local.look, last)
        if there is not None and there.kind in ("folder", "special"):
            raise _clash(place, name_of_kind(there.kind), "file")
        await asyncio.to_thread(refuse_special, place)
        assert entry.info is not None
        verdict = verdict_of(entry, there, self._rule(resource, upload=False))
        job = Job(None, resource.url, entry, there, verdict, place, entry.info.url)
        await self._only(Download(self._ops, local), resource, job)

    async def _file_up(
        self, here: Entry, there: Entry | None, place: str, resource: Resource, *, is_known: bool
    ) -> None:
        verdict = verdict_of(here, there, self._rule(resource, upload=True))
        job = Job(None, place, here, there, verdict, place, resource.url, is_known)
        await self._only(Upload(self._ops, self._local(place)), resource, job)

    async def _only(self, direction: Direction, resource: Resource, job: Job) -> None:
        self._tally.raises = True
        await self._run(direction, resource).do(job)

    def _run(self, direction: Direction, resource: Resource, crew: Crew | None = None) -> TreeRun:
        rule = self._rule(resource, upload=direction.is_upload)
        return TreeRun(
            direction,
            self._options,
            self._selection,
            rule,
            self._tally,
            Reach(self._ops, resource.url, self._tally),
            self._ops.transfers,
            crew,
        )

    def _rule(self, resource: Resource, *, upload: bool) -> Rule:
        # Asked once: what uploads teach meanwhile must not change the rule within a run.
        keeps_mtime = self._ops.keeps_mtime(resource.url) is True
        return self._options.rule(upload=upload, origin_keeps_mtime=keeps_mtime)

    def _local(self, place: str) -> LocalTree:
        return LocalTree(place, follow_links=self._options.follow_links)


def _path(text: str) -> str:
    if not text:
        raise UsageError("an empty path names nothing (use . for the current folder)")
    if "\0" in text:
        raise UsageError(f"not a usable path: {text!r}")
    return text.rstrip("/") or "/"


def _last_name(place: str) -> str:
    return os.path.basename(os.path.abspath(place))


def _clash(place: str, there: str, here: str) -> NetCacheError:
    return NetCacheError(
        f"copy to {place} failed: a {there} stands where a {here} must be (remove or rename it)"
    )
