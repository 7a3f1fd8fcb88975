"""The runner: what synchronous files ask of the network, through the client's portal.

The portal, and with it asyncio and the HTTP client, is started by the first call.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from netcache._client.core import asking

if TYPE_CHECKING:
    from netcache._client.core import ClientCore
    from netcache._client.portal import Portal
    from netcache._client.report import Report
    from netcache._netfs.handle import ReadHandle
    from netcache._netfs.inode import Inode

T = TypeVar("T")


class Runner:
    """Runs a client's coroutines for threads.  Thread-safe; every call may block."""

    def __init__(self, core: ClientCore) -> None:
        self._core = core
        self._portal: Portal | None = None
        self._lock = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T], what: str = "the call", url: object = None) -> T:
        """Run ``work`` on the client's loop; ``what`` and ``url`` are as for ``asking``."""
        if self._core.closed:
            work.close()
            self._core.need_open()
        with asking(what, url):
            return self._begun(work).run(work)

    def _begun(self, work: Coroutine[Any, Any, T]) -> Portal:
        """The portal, which ``work`` waits for."""
        try:
            with self._lock:
                if self._portal is None:
                    from netcache._client.portal import Portal

                    self._portal = Portal()
                return self._portal
        except BaseException:
            work.close()
            raise

    def bind_here(self, handle: ReadHandle, start: int, length: int | None) -> Inode | None:
        """Bind a handle that could not be bound without asking the server, on this thread.

        None when that is left to the loop; see ``check_here``.
        """
        if "asyncio" in sys.modules or self._core.closed:
            return None
        from netcache._client.check_here import bind_here

        with asking("read", handle.resource.url):
            return bind_here(self._core, handle, start, length)

    def get_here(self, url: str, path: str) -> Report | None:
        """Bring a file that is cached as a whole, on this thread; None as for ``bind_here``."""
        if "asyncio" in sys.modules or self._core.closed:
            return None
        resource = self._core.parse(url)
        # (To find nothing is counted by the ordinary way.)
        inode = self._core.inodes.find(resource, again=True)
        if inode is None:
            return None
        from netcache._client.get_here import get_here

        with asking("get", url):
            return get_here(self._core, inode, resource, path)

    def fetch(self, handle: ReadHandle, start: int, length: int) -> bytes | None:
        """``handle.fetch``."""

        async def work() -> bytes | None:
            remote = self._core.remote()
            return await handle.fetch(start, length, remote.engine, remote.opener)

        return self.run(work(), "read", handle.resource.url)

    def expect(self, handle: ReadHandle, start: int, length: int | None) -> None:
        """Say what will be read first (None: to the end): a cold extent is asked for at once."""
        if handle.bind_local() is None and self.bind_here(handle, start, length) is None:
            self.prepare(handle, start, -1 if length is None else length)

    def prepare(self, handle: ReadHandle, start: int, length: int) -> None:
        """Let ``[start, start + length)`` (-1: to the end) be asked for in one request."""

        async def work() -> None:
            await handle.open(start, length, self._core.remote().opener)

        self.run(work(), "read", handle.resource.url)

    def size(self, handle: ReadHandle) -> int:
        """The size of the version shown; asks the server where it is not known."""
        inode = handle.bind_local() or self.bind_here(handle, 0, 0)
        if inode is not None and inode.size >= 0 and handle.show(inode):
            return inode.size

        async def work() -> int:
            from netcache._client.async_reader import AsyncReader

            return await AsyncReader(self._core, handle).size()

        return self.run(work(), "read", handle.resource.url)

    def close(self) -> None:
        """Close the remote half and stop the portal.  Idempotent."""
        with self._lock:
            portal, self._portal = self._portal, None
        if portal is not None:
            if not self._core.closed:
                portal.run(self._core.close_remote())
            portal.close()
