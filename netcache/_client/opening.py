"""Opening files: what each mode begins with."""

from __future__ import annotations

from netcache._client.async_edit import AsyncEditFile
from netcache._client.async_files import AsyncFile, AsyncReadFile, AsyncWriteFile
from netcache._client.async_reader import AsyncReader
from netcache._client.core import ClientCore
from netcache._client.download import STEP_BYTES
from netcache._core.urls import Resource
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.dirty_pages import DirtyPages
from netcache._netfs.edit_handle import EditHandle
from netcache._netfs.private_file import private_file
from netcache._netfs.stream_writer import StreamWriter
from netcache.errors import NotFoundError, UsageError
from netcache.spi import UploadCondition

MODES = ("rb", "wb", "xb", "ab", "r+b", "w+b")


def canonical_mode(mode: str) -> str:
    """One spelling for each mode; binary is understood.  ``UsageError`` for others."""
    letters = sorted(mode.replace("b", ""))
    for known in MODES:
        if sorted(known.replace("b", "")) == letters and "t" not in mode:
            return known
    raise UsageError(f"mode {mode!r}: one of {', '.join(MODES)} is needed")


async def open_file(core: ClientCore, url: str, mode: str) -> AsyncFile:
    """Open ``url``; for reading nothing is asked of the server before the first read."""
    resource = core.parse(url)
    mode = canonical_mode(mode)
    if mode == "rb":
        return AsyncReadFile(core, core.open_handle(resource))
    core.need_online("opening for writing of", resource.url)
    if mode in ("wb", "xb"):
        return AsyncWriteFile(await open_writer(core, resource, exclusive=mode == "xb"), mode)
    return AsyncEditFile(await open_edit(core, resource, mode), mode)


async def open_writer(core: ClientCore, resource: Resource, *, exclusive: bool) -> StreamWriter:
    """A stream writer, conditional on what is there now (or on nothing being there)."""
    uploader = core.remote().uploader
    condition = await uploader.found_condition(resource)
    if exclusive:
        if not condition.if_absent:
            raise FileExistsError(17, f"{resource.url} exists already", resource.url)
        condition = UploadCondition(if_absent=True)
    return StreamWriter(uploader, resource, condition)


async def open_edit(core: ClientCore, resource: Resource, mode: str) -> EditHandle:
    """An edit handle: over the resource as it is, or over nothing for ``w+b``."""
    remote = core.remote()
    if mode == "w+b":
        # Nothing is published before it is asked for, so the file is the writer's own.
        file = remote.dirty.add_private(await _begin_anew(core, resource))
    else:
        file = await remote.dirty.open_shared(resource, lambda: _begin_edit(core, resource, mode))
    return EditHandle(file, remote.dirty, core.stats)


async def _begin_anew(core: ClientCore, resource: Resource) -> DirtyFile:
    """An empty file in place of whatever is there."""
    remote = core.remote()
    base = await _base_of(core, resource)
    file = _dirty_file(core, resource, base, atomic=True)
    await file.truncate(0)
    if not base.size and base.version is not None:
        file.created = True
    assert remote.dirty is not None
    return file


async def _begin_edit(core: ClientCore, resource: Resource, mode: str) -> DirtyFile:
    base = await _base_of(core, resource)
    if base.inode is None and mode == "r+b":
        raise NotFoundError(f"opening of {resource.url} failed: not found", url=resource.url)
    file = _dirty_file(core, resource, base, atomic=False)
    if base.inode is not None and not base.inode.joins:
        await _load(base, file)
    return file


async def _base_of(core: ClientCore, resource: Resource) -> BaseVersion:
    """The version that is there now, or nothing."""
    remote = core.remote()
    handle = core.open_handle(resource)
    try:
        inode = await handle.stat(remote.opener)
        if inode.size < 0:
            await AsyncReader(core, handle).size()
        if inode.due:
            core.inodes.give_holding(inode)
        return BaseVersion(inode, remote.engine)
    except NotFoundError:
        return BaseVersion(None, remote.engine)
    finally:
        handle.close()


def _dirty_file(
    core: ClientCore, resource: Resource, base: BaseVersion, *, atomic: bool
) -> DirtyFile:
    """A file without changes over ``base``, which is let go when none can be made."""
    try:
        on_dirty = core.remote().dirty.on_dirty
        entry = None
        if core.options.durability == "journal" and not atomic:
            entry = core.journal.begin()
        folder = core.options.cache_dir if core.store is not None else None
        pages = DirtyPages(entry.data if entry is not None else private_file(folder))
    except BaseException:
        base.close()
        raise
    return DirtyFile(
        resource,
        base,
        pages,
        core.stats,
        block_size=core.store.block_size if core.store is not None else None,
        atomic=atomic,
        on_dirty=on_dirty,
        entry=entry,
    )


async def _load(base: BaseVersion, file: DirtyFile) -> None:
    """Keep the whole resource with the file: parts of this version cannot be asked for.

    Where that fails the file is closed: nobody has it yet.
    """
    try:
        for start in range(0, base.size, STEP_BYTES):
            data = await base.read(start, min(start + STEP_BYTES, base.size))
            with file.lock:
                file.pages.fill(start, data)
    except BaseException:
        file.close()
        raise
