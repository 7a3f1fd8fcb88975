"""Trees of a server alone: looking, listing, warming, removing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from netcache._client.options import small_files_at_once
from netcache._client.report import Report
from netcache._client.trees.compare import Verdict
from netcache._client.trees.deletion import Deletion
from netcache._client.trees.directions import (
    Failures,
    doomed_remote,
    remote_removal,
    remove_remote,
)
from netcache._client.trees.entries import Entry, joined, remote_entry
from netcache._client.trees.filters import Part
from netcache._client.trees.folders import Folder, Job, Removal
from netcache._client.trees.ports import TreeOps
from netcache._client.trees.reach import Reach
from netcache._client.trees.tally import Tally
from netcache._client.trees.walk import Walk
from netcache._core.progress import ProgressSink
from netcache._core.urls import Resource, as_file, as_folder, parse
from netcache.errors import NotFoundError
from netcache.spi import ResourceInfo

WarmOne = Callable[[ResourceInfo], Awaitable[tuple[int, int]]]
"""Brings a file into the cache; returns its size and the bytes that came from the server."""


async def look(ops: TreeOps, resource: Resource) -> ResourceInfo | None:
    """What is at a URL, however its last slash was spelled; None: nothing."""
    other = as_file(resource) if resource.is_folder else as_folder(resource)
    for spelled in dict.fromkeys((resource.url, other.url)):
        try:
            return await ops.stat(spelled)
        except NotFoundError:
            continue
    return None


async def list_tree(ops: TreeOps, url: str, *, report: Report | None = None) -> list[ResourceInfo]:
    """All entries of a tree, named relative to it, each folder before what it holds.

    A folder that cannot be listed is an error of ``report``, or raised when there is none.  The
    tree of a file is that file.
    """
    tally = Tally(None, raises=report is None)
    found: list[ResourceInfo] = []

    async def take(folder: Folder, entry: Entry) -> None:
        assert entry.info is not None
        found.append(entry.info._replace(name=joined(folder.name, entry.name)))

    resource = parse(url)
    info = await _walk(ops, resource, tally, Reach(ops, resource.url, tally), take)
    if info is not None:
        return [info]
    if report is not None:
        report.add(tally.finished())
    found.sort(key=lambda each: each.name.split("/"))
    return found


async def warm_tree(
    ops: TreeOps, url: str, warm_one: WarmOne, *, progress: ProgressSink | None = None
) -> Report:
    """Bring all files of a tree into the cache; those that needed nothing are ``unchanged``."""
    tally = Tally(progress)
    resource = parse(url)
    reach = Reach(ops, resource.url, tally)

    async def do(job: Job) -> None:
        assert job.entry.info is not None
        if reach.in_doubt and await reach.refuses(job.name):
            return
        item = tally.start(job.name, job.entry.size)
        try:
            size, fetched = await warm_one(job.entry.info)
        except OSError as error:
            item.end(good=False)
            tally.failed(job.name, error, told=True)
            return
        if fetched:
            tally.copied(size, fetched)
        else:
            tally.report.unchanged += 1
            tally.silent_count = 0
        item.end(good=True)

    async def take(folder: Folder, entry: Entry) -> None:
        if entry.kind == "file":
            await walk.hand_on(_job(folder, entry))

    async def scan(folder: Folder) -> None:
        if not (reach.in_doubt and await reach.refuses(folder.name)):
            await _scan(ops, folder, tally, take, walk)

    walk = Walk(scan, do, ops.transfers, small_at_once=small_files_at_once(ops.transfers))
    reach.on_lost = walk.give_up_small
    info = await _need(ops, resource)
    if info.type == "file":
        tally.raises = True
        await do(_job(None, remote_entry(info)._replace(name=resource.url)))
    else:
        await walk.run([_root(resource)])
    return tally.finished()


async def remove_tree(
    ops: TreeOps, url: str, *, dry_run: bool = False, progress: ProgressSink | None = None
) -> Report:
    """Delete a tree at the server.  The root of a server is emptied; it stays itself."""
    tally = Tally(progress)
    resource = parse(url)
    reach = Reach(ops, resource.url, tally)

    async def remove(batch: list[Removal]) -> Failures:
        return await remove_remote(ops, batch)

    def each_alone(removals: Sequence[Removal]) -> Iterable[list[Removal]]:
        return ([each] for each in removals)

    deletion = Deletion(remove, each_alone, tally, reach, ops.transfers)

    async def take(folder: Folder, entry: Entry) -> None:
        deletion.add(remote_removal(folder, entry))

    info = await _walk(ops, resource, tally, reach, take, deletion)
    await deletion.run(dry_run=dry_run)
    if tally.report.errors or resource.path == "/":
        return tally.finished()
    if not dry_run:
        tally.raises = info is not None
        await _remove_itself(ops, as_folder(resource) if info is None else as_file(resource), tally)
    tally.report.deleted += not tally.report.errors
    return tally.finished()


async def _remove_itself(ops: TreeOps, resource: Resource, tally: Tally) -> None:
    try:
        await ops.delete(resource.url)
    except NotFoundError:
        # Somebody else was faster, or the server drops folders that have become empty.
        return
    except OSError as error:
        tally.failed(resource.url, error)


Take = Callable[[Folder, Entry], Awaitable[None]]


async def _walk(
    ops: TreeOps,
    resource: Resource,
    tally: Tally,
    reach: Reach,
    take: Take,
    deletion: Deletion | None = None,
) -> ResourceInfo | None:
    """Call ``take`` for every entry of a tree; for a file, return what it is instead."""
    info = await _need(ops, resource)
    if info.type == "file":
        return info

    async def scan(folder: Folder) -> None:
        if not (reach.in_doubt and await reach.refuses(folder.name)):
            await _scan(ops, folder, tally, take, walk, deletion)
        elif deletion is not None:
            deletion.keep(folder.name)

    async def do(job: Job) -> None:
        raise AssertionError(job)

    walk = Walk(scan, do, ops.transfers)
    await walk.run([_root(resource)])
    return None


async def _scan(
    ops: TreeOps,
    folder: Folder,
    tally: Tally,
    take: Take,
    walk: Walk,
    deletion: Deletion | None = None,
) -> None:
    """List one folder; its folders are gone into after it."""
    try:
        folder.check_depth()
        infos = await ops.list(folder.resource.url)
    except OSError as error:
        if folder.parent is None:
            raise
        if deletion is not None:
            deletion.keep(folder.name)
        tally.failed(folder.name, error)
        return
    for info in infos:
        entry = remote_entry(info)
        await take(folder, entry)
        if entry.kind == "folder":
            walk.go_into(doomed_remote(folder, entry, Part.FULL))


async def _need(ops: TreeOps, resource: Resource) -> ResourceInfo:
    info = await look(ops, resource)
    if info is None:
        raise NotFoundError(f"{resource.url} does not exist", url=resource.url)
    return info


def _root(resource: Resource) -> Folder:
    return Folder("", None, Part.FULL, as_folder(resource), "there")


def _job(folder: Folder | None, entry: Entry) -> Job:
    assert entry.info is not None
    name = joined(folder.name, entry.name) if folder is not None else entry.name
    return Job(folder, name, entry, None, Verdict.DIFFERENT, "", entry.info.url)
