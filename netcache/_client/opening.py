"""Opening files: what each mode begins with."""

from __future__ import annotations

import asyncio
import os

from netcache._client.async_files import AsyncEditFile, AsyncFile, AsyncReadFile, AsyncWriteFile
from netcache._client.async_reader import AsyncReader
from netcache._client.core import ClientCore
from netcache._client.download import STEP_BYTES
from netcache._core.urls import Resource
from netcache._netfs.stream_writer import StreamWriter
from netcache._netfs.upload import condition_on
from netcache._netfs.work_file import WorkFile
from netcache.errors import NotFoundError, UsageError
from netcache.spi import UploadCondition, UploadReply

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
    return AsyncEditFile(await open_work_file(core, resource, mode), mode)


async def open_writer(core: ClientCore, resource: Resource, *, exclusive: bool) -> StreamWriter:
    """A stream writer, conditional on what is there now (or on nothing being there)."""
    uploader = core.remote().uploader
    condition = await uploader.found_condition(resource)
    if exclusive:
        if not condition.if_absent:
            raise FileExistsError(17, f"{resource.url} exists already", resource.url)
        condition = UploadCondition(if_absent=True)
    return StreamWriter(uploader, resource, condition)


async def open_work_file(core: ClientCore, resource: Resource, mode: str) -> WorkFile:
    """A work file with the resource's bytes (empty for ``w+b``)."""
    remote = core.remote()

    async def send(descriptor: int, size: int, condition: UploadCondition) -> UploadReply:
        return await remote.put_descriptor(
            descriptor, size, resource.url, condition, None, _nothing
        )

    async def found() -> UploadCondition:
        return await remote.uploader.found_condition(resource)

    folder = core.options.cache_dir if core.store is not None else None
    if mode == "w+b":
        work = WorkFile(resource, folder, send, found, await found())
        work.mark_dirty()
        return work
    handle = core.open_handle(resource)
    try:
        inode = await handle.stat(remote.opener)
        work = WorkFile(resource, folder, send, found, condition_on(inode.version.validator))
        try:
            await _load(AsyncReader(core, handle), work)
        except BaseException:
            work.close()
            raise
        return work
    except NotFoundError:
        if mode == "r+b":
            raise
        work = WorkFile(resource, folder, send, found, UploadCondition(if_absent=True))
        work.mark_dirty()
        return work
    finally:
        handle.close()


async def _load(reader: AsyncReader, work: WorkFile) -> None:
    """Copy the whole resource into the work file."""
    loop = asyncio.get_running_loop()
    size = await reader.size()
    for start in range(0, size, STEP_BYTES):
        data = await reader.pread(min(STEP_BYTES, size - start), start)
        await loop.run_in_executor(None, os.pwrite, work.fileno(), data, start)


def _nothing(_: int) -> None:
    return
