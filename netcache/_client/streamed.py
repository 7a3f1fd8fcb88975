"""Uploads of what tells no size: streams, pipes, devices, files that are made while they are read.

All of it is read front to back, to its end.  Whoever waits for a pipe can be cancelled: no thread
waits with him.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from netcache._client.items import own_descriptor
from netcache._finishing import finished
from netcache._netfs.stream_writer import StreamWriter
from netcache.errors import UsageError

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache._netfs.bodies import OnBytes
    from netcache._netfs.upload import Uploader
    from netcache.spi import UploadCondition, UploadReply

READ_BYTES = 1 << 20

# A FIFO is not waited for where that could not be given up; a terminal is not taken over.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

Read = Callable[[], Awaitable[bytes]]


async def put_stream(
    uploader: Uploader,
    read: Read,
    resource: Resource,
    condition: UploadCondition | None,
    on_bytes: OnBytes,
) -> UploadReply:
    """Upload what ``read`` gives until that is nothing.

    Without a ``condition`` on the version found now.  The reply's ``sent_bytes`` are all of it.
    """
    if condition is None:
        condition = await uploader.found_condition(resource)
    writer = StreamWriter(uploader, resource, condition)
    try:
        while chunk := await read():
            await writer.write(chunk)
            on_bytes(len(chunk))
        reply = await writer.close()
    except BaseException:
        await writer.abort()
        raise
    assert reply is not None
    return reply._replace(sent_bytes=writer.size)


def reads_of(stream: BinaryIO) -> Read:
    """Reads of a stream that somebody else opened, which may wait as long as they like."""
    loop = asyncio.get_running_loop()
    return lambda: loop.run_in_executor(None, stream.read, READ_BYTES)


async def put_special(
    uploader: Uploader,
    path: str,
    resource: Resource,
    condition: UploadCondition | None,
    on_bytes: OnBytes,
) -> UploadReply:
    """Upload what can be read of a pipe or a device; ``UsageError`` for a socket."""
    own = own_descriptor(path)
    if own is None and stat.S_ISSOCK(os.stat(path).st_mode):
        raise UsageError(f"upload of {path} failed: it is a socket, which cannot be read")
    fd = os.dup(own) if own is not None else os.open(path, _READ)
    try:
        return await put_stream(uploader, partial(read_some, fd), resource, condition, on_bytes)
    finally:
        os.close(fd)


async def read_some(fd: int) -> bytes:
    """The next bytes of an open file; none at its end."""
    while await _may_wait(fd):
        try:
            return os.read(fd, READ_BYTES)
        except BlockingIOError:
            # Somebody else who has the same pipe was faster.
            continue
    loop = asyncio.get_running_loop()
    return await finished(loop.run_in_executor(None, os.read, fd, READ_BYTES))


async def _may_wait(fd: int) -> bool:
    """Wait until there is something to read; False at once where nobody is told of that.

    A FIFO that no writer has opened yet has not ended: a read would say that it has.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:
        return False
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
    return True
