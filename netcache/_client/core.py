"""The core of a client: its local half, and the half that talks to servers; how a face gets one.

The remote half (``remote()``) is built on the client's loop the first time that something has to be
asked of a server; only then asyncio is imported, and aiohttp when it is needed (``http_first``).

Order of shutting down: exchanges, backend, inodes, store, counters.
"""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from netcache._client.local import LocalHalf, Warn
from netcache._client.options import ClientOptions, check_options
from netcache._core.urls import Resource, parse, strip_credentials
from netcache._core.verifying import VERIFY_DEFAULT
from netcache.errors import NetCacheError, TransientError

if TYPE_CHECKING:
    from types import TracebackType

    from netcache._client.remote import Remote
    from netcache.spi import Backend


class asking:
    """What is done inside the block may be the first that needs the network, and then needs file
    descriptors: for modules, the loop, connections.  Raises ``TransientError`` when none is free.

    ``what`` names it in the message, ``url`` what it is about, if that is one resource.
    """

    __slots__ = ("_url", "_what")

    def __init__(self, what: str = "the call", url: object = None) -> None:
        self._what = what
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, OSError) or isinstance(error, NetCacheError):
            return
        if error.errno in (errno.EMFILE, errno.ENFILE):
            url = strip_credentials(self._url) if isinstance(self._url, str) else None
            of = f" of {url}" if url is not None else ""
            told = TransientError(
                f"{self._what}{of} failed: this process has no file descriptor left "
                "(close files, or raise its limit: ulimit -n)",
                url=url,
            )
            told.errno = error.errno
            raise told from error


class ClientCore(LocalHalf):
    """Everything that the faces of a client share."""

    def __init__(self, options: ClientOptions, warn: Warn) -> None:
        super().__init__(options, warn)
        self._remote: Remote | None = None
        # By origin; it grows while the client is used.
        self.credentials: dict[str, tuple[str, str]] = {}
        _LIVING.add(self)

    def parse(self, url: str) -> Resource:
        """Parse a URL that a caller gave; its credentials are remembered for its origin."""
        if self._closed:
            self.need_open()
        resource = parse(url)
        if resource.user is not None:
            self.remember({resource.origin: (resource.user, resource.password or "")})
        return resource

    def remember(self, credentials: dict[str, tuple[str, str]]) -> None:
        """Use these credentials, by origin, from now on."""
        self.credentials |= credentials
        if self._remote is not None:
            for origin, pair in credentials.items():
                self._remote.add_credentials(origin, *pair)

    def remote(self) -> Remote:
        """The half that talks to servers.  On the client's loop only."""
        self.need_open()
        if self._remote is None:
            from netcache._client.remote import Remote

            self._remote = Remote(self, self.credentials)
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


class ClientFace:
    """What both faces of a client are: a core, made with the options that a caller gives.

    ``netcache.Client`` documents the options; their defaults are here, for both faces.
    """

    def __init__(
        self,
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_size: int | str | None = None,
        validate: str | float = "open",
        offline: bool = False,
        stale_if_error: str | float | None = None,
        write_mode: str = "through",
        durability: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        transfers: int = 4,
        processes: int | None = None,
        bwlimit: int | str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | str | None = None,
        token: str | None = None,
        netrc: bool | str = False,
        ca_cert: str | None = None,
        insecure: bool = False,
        block_size: int | None = None,
        readahead: int | str = "16MiB",
        dirty_soft: int | str = "64MiB",
        dirty_hard: int | str = "256MiB",
        flush_interval: float = 5.0,
        verify: str = VERIFY_DEFAULT,
        sync: str = "lazy",
        use_cache: bool = True,
        backend: Callable[[], Backend] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        options = check_options(
            cache_dir=cache_dir,
            cache_size=cache_size,
            use_cache=use_cache,
            validate=validate,
            offline=offline,
            stale_if_error=stale_if_error,
            write_mode=write_mode,
            durability=durability,
            timeout=timeout,
            retries=retries,
            transfers=transfers,
            processes=processes,
            bwlimit=bwlimit,
            headers=headers,
            auth=auth,
            token=token,
            netrc=netrc,
            ca_cert=ca_cert,
            insecure=insecure,
            block_size=block_size,
            readahead=readahead,
            dirty_soft=dirty_soft,
            dirty_hard=dirty_hard,
            flush_interval=flush_interval,
            verify=verify,
            sync=sync,
            backend=backend,
        )
        if on_warning is None:
            from netcache._client.warnings import warn_in_log

            on_warning = warn_in_log
        self._core = ClientCore(options, on_warning)
        self._begin()

    def _begin(self) -> None:
        """Make the rest of the face; the core is there."""
        raise NotImplementedError
