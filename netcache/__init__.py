"""netcache: read and write objects on HTTP servers as files, through a sparse cache on disk.

    import netcache

    with netcache.Client() as client:
        with client.open("http://127.0.0.1:8080/data.bin") as file:
            header = file.pread(4096, 0)

Names are resolved when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcache._client.report import Report
    from netcache._client.shared import SharedFile
    from netcache._core.coherency import Version
    from netcache._core.progress import ProgressEvent
    from netcache._version import __version__
    from netcache.aio import AsyncClient, AsyncFile
    from netcache.errors import (
        AccessDeniedError,
        CacheError,
        ClosedError,
        ConflictError,
        IntegrityError,
        NetCacheError,
        NotCachedError,
        NotFoundError,
        NotOfferedError,
        RemoteProtocolError,
        RemoteTimeoutError,
        StaleError,
        TransientError,
        UsageError,
    )
    from netcache.spi import ResourceInfo
    from netcache.sync import Client, File, open

_HOMES = {
    "netcache._client.report": ("Report",),
    "netcache._client.shared": ("SharedFile",),
    "netcache._core.coherency": ("Version",),
    "netcache._core.progress": ("ProgressEvent",),
    "netcache._version": ("__version__",),
    "netcache.aio": ("AsyncClient", "AsyncFile"),
    "netcache.errors": (
        "AccessDeniedError",
        "CacheError",
        "ClosedError",
        "ConflictError",
        "IntegrityError",
        "NetCacheError",
        "NotCachedError",
        "NotFoundError",
        "NotOfferedError",
        "RemoteProtocolError",
        "RemoteTimeoutError",
        "StaleError",
        "TransientError",
        "UsageError",
    ),
    "netcache.spi": ("ResourceInfo",),
    "netcache.sync": ("Client", "File", "open"),
}

__all__ = [
    "AccessDeniedError",
    "AsyncClient",
    "AsyncFile",
    "CacheError",
    "Client",
    "ClosedError",
    "ConflictError",
    "File",
    "IntegrityError",
    "NetCacheError",
    "NotCachedError",
    "NotFoundError",
    "NotOfferedError",
    "ProgressEvent",
    "RemoteProtocolError",
    "RemoteTimeoutError",
    "Report",
    "ResourceInfo",
    "SharedFile",
    "StaleError",
    "TransientError",
    "UsageError",
    "Version",
    "__version__",
    "open",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            value = getattr(import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'netcache' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
