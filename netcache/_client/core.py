"""The core of a client: its local half, and the half that talks to servers.

The remote half (``remote()``) is built on the client's loop the first time that something has to be
asked of a server; only then aiohttp is imported.

Order of shutting down: exchanges, backend, inodes, store, counters.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from netcache._client.local import LocalHalf, Warn
from netcache._core.urls import Resource, parse

if TYPE_CHECKING:
    from netcache._client.options import ClientOptions
    from netcache._client.remote import Remote


class ClientCore(LocalHalf):
    """Everything that the faces of a client share."""

    def __init__(self, options: ClientOptions, warn: Warn) -> None:
        super().__init__(options, warn)
        self._remote: Remote | None = None
        self._credentials: dict[str, tuple[str, str]] = {}
        _LIVING.add(self)

    def parse(self, url: str) -> Resource:
        """Parse a URL that a caller gave; its credentials are remembered for its origin."""
        if self._closed:
            self.need_open()
        resource = parse(url)
        if resource.user is not None:
            pair = (resource.user, resource.password or "")
            self._credentials[resource.origin] = pair
            if self._remote is not None:
                self._remote.add_credentials(resource.origin, *pair)
        return resource

    def remote(self) -> Remote:
        """The half that talks to servers.  On the client's loop only."""
        self.need_open()
        if self._remote is None:
            from netcache._client.remote import Remote

            self._remote = Remote(self, self._credentials)
        return self._remote

    async def close_remote(self) -> None:
        """Close the remote half.  On the client's loop."""
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.close()

    def close_local(self) -> None:
        """Close the local half; afterwards every call raises ``ClosedError``.  Idempotent."""
        super().close_local()
        _LIVING.discard(self)

    def after_fork(self) -> None:
        """In the child: the loop, the locks and the connections belong to the parent."""
        self._closed = True


_LIVING: weakref.WeakSet[ClientCore] = weakref.WeakSet()


def _close_in_child() -> None:
    for core in list(_LIVING):
        core.after_fork()


os.register_at_fork(after_in_child=_close_in_child)
