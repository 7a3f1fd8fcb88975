"""Errors of the HTTP backend: from what aiohttp raises instead of giving a head, to ours.  Pure."""

from __future__ import annotations

import re
import ssl

from netcache._core.urls import strip_credentials
from netcache.backends.aiohttp_import import HttpProcessingError, aiohttp
from netcache.backends.http_refusals import no_answer, no_connection, went_away
from netcache.errors import (
    AccessDeniedError,
    NetCacheError,
    RemoteError,
    RemoteProtocolError,
    TransientError,
)

__all__ = ["connection_error"]

_REASON_CHARACTERS_MAX = 160
_QUOTED_BYTES = re.compile(r"when reading:|: b['\"]|: bytearray\(|: Expected ")


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
        return no_connection(what, url, timeout_s)
    if isinstance(error, TimeoutError):
        return no_answer(what, url, timeout_s)
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
        return went_away(what, url)
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
