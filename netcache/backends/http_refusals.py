"""Errors of the HTTP backend: for statuses, and for no answer.  Pure.

Every message is one line: what failed, on what, why, and what to do where something can be done.
"""

from __future__ import annotations

from netcache._core.retry import TRANSIENT_STATUSES
from netcache.backends.http_fields import retry_after_s
from netcache.backends.http_wire import Head
from netcache.errors import (
    AccessDeniedError,
    NotFoundError,
    RemoteError,
    RemoteProtocolError,
    RemoteTimeoutError,
    TransientError,
)

__all__ = ["no_answer", "no_connection", "refusal", "went_away"]

_MEANINGS = {
    400: "the server calls the request bad",
    401: "the server wants credentials (--user, --token, --netrc)",
    403: "the server forbids it",
    404: "the server has no such resource",
    405: "the server does not allow this method here",
    407: "the proxy wants credentials",
    408: "the server waited too long for the request",
    409: "it conflicts with what is there (is a parent folder missing?)",
    410: "the resource is gone",
    411: "the server wants the length beforehand",
    412: "the server found its precondition false",
    413: "it is too large for the server",
    414: "the name is too long for the server",
    423: "the resource is locked",
    429: "the server asks for fewer requests",
    501: "the server cannot do this",
    503: "the server is busy or down for now",
    504: "a server behind the server did not answer",
    507: "the server has no space left",
}


def refusal(what: str, url: str, head: Head, now_s: float) -> RemoteError:
    """The error for a status that is not a success.  ``what`` is as in "read" or "upload"."""
    status = head.status
    why = _MEANINGS.get(status, "the server's answer means nothing here")
    message = f"{what} of {url} failed: {why} (status {status})"
    if status in (404, 410):
        return NotFoundError(message, url=url)
    if status in (401, 403, 407):
        return AccessDeniedError(message, url=url)
    if status in TRANSIENT_STATUSES:
        asked_s = retry_after_s(head.fields.get("Retry-After"), now_s)
        return TransientError(message, url=url, retry_after_s=asked_s)
    if status >= 400:
        return RemoteError(message, url=url)
    return RemoteProtocolError(message, url=url)


def no_connection(what: str, url: str, timeout_s: float) -> RemoteTimeoutError:
    """The error for a connection that was not made in time."""
    return RemoteTimeoutError(
        f"{what} of {url} failed: no connection within {timeout_s:g} s", url=url
    )


def no_answer(what: str, url: str, timeout_s: float) -> RemoteTimeoutError:
    """The error for a head that did not come in time."""
    return RemoteTimeoutError(f"{what} of {url} failed: no answer within {timeout_s:g} s", url=url)


def went_away(what: str, url: str) -> TransientError:
    """The error for a connection that ended before a head had come."""
    return TransientError(f"{what} of {url} failed: the server closed the connection", url=url)
