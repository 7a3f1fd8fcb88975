"""Every error that netcache shows its callers, and the exit code and errno of each.

The rules:

1. One root, ``NetCacheError``, which is an ``OSError``: code written for files keeps working.
2. Each class also is its built-in twin (``FileNotFoundError``, ``PermissionError``, ...), so that
   callers may catch either name.
3. A message is one line in lower case: what failed, on what, why, and what to do where there is
   something to do.  URLs in it never carry credentials.
4. A failure of the cache never reaches a reader whom the server could serve; ``CacheError``
   comes only from calls that are about the cache itself.

``exit_code`` is what the command line exits with, ``errno`` what a caller of ``OSError`` sees.
"""

from __future__ import annotations

import errno
from typing import ClassVar

__all__ = [
    "AccessDeniedError",
    "CacheError",
    "ClosedError",
    "ConflictError",
    "IntegrityError",
    "InvariantError",
    "NetCacheError",
    "NoSpaceError",
    "NotCachedError",
    "NotFoundError",
    "NotOfferedError",
    "RemoteError",
    "RemoteProtocolError",
    "RemoteTimeoutError",
    "StaleError",
    "TransientError",
    "UsageError",
]


class NetCacheError(OSError):
    """The root of all errors raised by netcache.

    ``message`` says in one line what failed, on what and why; ``url`` is the resource concerned
    (without credentials) or None.
    """

    errno_default: ClassVar[int] = errno.EIO
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, url: str | None = None) -> None:
        super().__init__(self.errno_default, message, url)
        self.message = message
        self.url = url

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.url), self.__dict__)


def _rebuild(kind: type[NetCacheError], message: str, url: str | None) -> NetCacheError:
    return kind(message, url=url)


class UsageError(NetCacheError, ValueError):
    """The caller asked for something that cannot mean anything (a bad URL, mode or size)."""

    errno_default = errno.EINVAL
    exit_code = 2


class RemoteError(NetCacheError):
    """The server or the network is the cause; the base of the more exact classes."""

    exit_code = 5


class NotFoundError(RemoteError, FileNotFoundError):
    """The resource does not exist (404, 410)."""

    errno_default = errno.ENOENT
    exit_code = 3


class AccessDeniedError(RemoteError, PermissionError):
    """The server refused us (401, 403, 407)."""

    errno_default = errno.EACCES
    exit_code = 10


class NotOfferedError(RemoteError):
    """The server does not offer what was asked of it; nothing was changed by asking."""

    errno_default = errno.EOPNOTSUPP
    exit_code = 5


class StaleError(RemoteError):
    """The resource changed under an open handle, which shows one version only (promise P1)."""

    errno_default = errno.ESTALE
    exit_code = 5


class ConflictError(NetCacheError):
    """A conditional write found another version than the one it started from (promise P7)."""

    errno_default = errno.EBUSY
    exit_code = 4


class TransientError(RemoteError):
    """It may work later: a cut connection, 429, 5xx.  Raised when the retries are used up; at once
    with ``errno`` ``EMFILE`` or ``ENFILE`` when there is no file descriptor to begin with.

    ``retry_after_s`` is what the server asked for in ``Retry-After`` (seconds), or None.
    """

    exit_code = 5

    def __init__(
        self, message: str, *, url: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, url=url)
        self.retry_after_s = retry_after_s


class RemoteTimeoutError(TransientError, TimeoutError):
    """No byte came within the time allowed."""

    errno_default = errno.ETIMEDOUT


class RemoteProtocolError(RemoteError):
    """The server's answer breaks the rules: a wrong range, a body too long, nonsense."""

    errno_default = errno.EPROTO
    exit_code = 5


class IntegrityError(NetCacheError):
    """Bytes are not what their digest or checksum says."""

    errno_default = errno.EBADMSG
    exit_code = 7


class NotCachedError(NetCacheError, FileNotFoundError):
    """Offline, and what was asked for is not in the cache (promise P8)."""

    errno_default = errno.ENOENT
    exit_code = 8


class CacheError(NetCacheError):
    """The cache itself cannot be used; only from calls that are about the cache."""

    errno_default = errno.EIO
    exit_code = 9


class NoSpaceError(CacheError):
    """No room for more: the filesystem, its reserve, or the cache's own limit (ENOBUFS)."""


class ClosedError(NetCacheError, ValueError):
    """The file or client was closed, or belongs to the parent of a fork."""

    errno_default = errno.EBADF
    exit_code = 1


class InvariantError(AssertionError):
    """A bug in netcache: something that must always hold does not."""
