"""Errors of the HTTP backend: from statuses and from what aiohttp raises, to ours.  Pure.

Every message is one line: what failed, on what, why, and what to do where something can be done.
"""

from __future__ import annotations

import re
import ssl

from netcache._core.retry import TRANSIENT_STATUSES
from netcache._core.urls import strip_credentials
from netcache.backends.aiohttp_import import HttpProcessingError, aiohttp
from netcache.backends.http_fields import retry_after_s
from netcache.backends.http_wire import Head
from netcache.errors import (
    AccessDeniedError,
    NetCacheError,
    NotFoundError,
    RemoteError,
    RemoteProtocolError,
    RemoteTimeoutError,
    TransientError,
)

__all__ = ["connection_error", "refusal"]

_REASON_CHARACTERS_MAX = 160
_QUOTED_BYTES = re.compile(r"when reading:|: b['\"]|: bytearray\(|: Expected ")
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


def connection_error(what: str, url: str, error: BaseException, timeout_s: float) -> NetCacheError:
    """The error for what aiohttp raised instead of giving a head."""
    start = f"{what} of {url} failed"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return RemoteError(
            f"{start}: the certificate of the server is not trusted ({_certificate(error)}); "
            "name its authority with --ca-cert",
            url=url,
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError | aiohttp.ServerFingerprintMismatch):
        return RemoteError(f"{start}: no secure connection ({_line(error)})", url=url)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return RemoteTimeoutError(f"{start}: no connection within {timeout_s:g} s", url=url)
    if isinstance(error, TimeoutError):
        return RemoteTimeoutError(f"{start}: no answer within {timeout_s:g} s", url=url)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        kind = AccessDeniedError if error.status in (401, 403, 407) else TransientError
        return kind(f"{start}: the proxy refuses (status {error.status})", url=url)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return TransientError(f"{start}: the host name cannot be resolved", url=url)
    if isinstance(error, aiohttp.ClientConnectorError):
        return TransientError(f"{start}: no connection ({_line(error.os_error)})", url=url)
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        return RemoteProtocolError(f"{start}: the answer is not HTTP ({_fault(error)})", url=url)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return TransientError(f"{start}: the server closed the connection", url=url)
    return TransientError(f"{start}: the connection was lost ({_line(error)})", url=url)


def _certificate(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_message:
        return str(cause.verify_message)
    return _line(cause)


def _fault(error: BaseException) -> str:
    """What the parser minds, without the bytes of the server that it quotes."""
    lines = (getattr(error, "message", None) or "").splitlines() or [""]
    words = _QUOTED_BYTES.split(lines[0])[0].rstrip(" :")
    return words.lower() if words.isascii() and words.isprintable() and words else "malformed"


def _line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    line = " ".join(strip_credentials(str(text) or type(error).__name__).split())
    return line if len(line) <= _REASON_CHARACTERS_MAX else line[:_REASON_CHARACTERS_MAX] + "..."
