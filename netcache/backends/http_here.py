"""A question on the caller's own thread, without a loop: whether what he has is still current.

It is all that a short command asks whose bytes are cached, and asyncio's import takes longer than
everything else that such a command does.

Rules:

1. One ``HEAD`` over HTTP without TLS, straight to the server, on a connection of its own.
2. Only "unchanged" is an answer.  Whatever else comes (another version, an error, a redirect, an
   odd head), or does not come in time, the server is asked about again, in the ordinary way.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

from netcache.backends.http_info import info_of, stat_fields
from netcache.backends.http_plain import PlainFields, UnusualError, next_head
from netcache.backends.http_query import Query, place_of, plain_query
from netcache.backends.http_wire import Head

if TYPE_CHECKING:
    from netcache._core.coherency import Validator
    from netcache._core.urls import Resource
    from netcache.backends.http_access import Access
    from netcache.backends.http_options import HttpOptions
    from netcache.backends.http_plain import PlainHead

__all__ = ["says_unchanged"]

WAIT_MAX_S = 5.0
"""Who takes longer to answer is asked in the ordinary way, which waits as long as it may."""

_READ_BYTES = 16 << 10


def says_unchanged(
    options: HttpOptions, access: Access, resource: Resource, validator: Validator
) -> bool:
    """Whether the server says that ``validator`` is that of ``resource``.

    Blocks, for connecting and for the answer ``WAIT_MAX_S`` each at most.  Raises ``UsageError``
    for a proxy that cannot be one.
    """
    if options.ca_cert is not None:
        # A file that cannot be used is told of, also where it would not be.
        return False
    if resource.scheme != "http" or access.proxy_for(resource) is not None:
        return False
    fields = access.headers_for(resource, resource.origin) | stat_fields(validator, False)
    request = plain_query(Query("HEAD", resource, resource, fields, "stat"), options)
    if request is None:
        return False
    try:
        plain = _ask(resource, request, min(options.timeout_s, WAIT_MAX_S))
        head = Head(plain.status, PlainFields(plain.fields), resource.url)
        is_unchanged = info_of(resource, resource, head, validator) is None
    except (OSError, UnicodeError, UnusualError) as error:
        _log("HEAD %s: asked again: %s", resource.url, error)
        return False
    _log("HEAD %s: %s", resource.url, plain.status)
    return is_unchanged


def _ask(resource: Resource, request: bytes, wait_s: float) -> PlainHead:
    """The head of the answer.  Raises ``OSError``, ``UnusualError``."""
    with socket.create_connection(place_of(resource.authority), timeout=wait_s) as connection:
        end_s, data = time.monotonic() + wait_s, b""
        connection.sendall(request)
        while (head := next_head(data, to_head=True)) is None:
            # Of each wait that is what is left of all of them.
            connection.settimeout(max(end_s - time.monotonic(), 0.001))
            more = connection.recv(_READ_BYTES)
            if not more:
                raise ConnectionResetError("the server closed the connection")
            data += more
        return head


def _log(text: str, *values: object) -> None:
    """Into the log, if there is one: ``logging`` is not imported for it."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("netcache.http").debug(text, *values)
