"""A question to a server: one request, as it is to be sent to where a URL or a redirect leads.

Pure.  Where nothing in it is odd, it is also made here as it goes over a connection of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from netcache.backends.http_plain import field_lines, is_plain_name, is_plain_value, plain_request

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache.backends.http_options import HttpOptions

__all__ = ["EXPECT_WAIT_S", "READS", "Query", "common_fields", "place_of", "plain_query"]

EXPECT_WAIT_S = 1.0
"""How long to wait for ``100 Continue`` before the body is sent all the same (as curl does)."""

HTTP_PORT = 80

READS = ("GET", "HEAD", "OPTIONS")


class Query(NamedTuple):
    """``asked`` is what the caller named, ``resource`` where it leads; ``fields`` are those of this
    request alone.  ``what`` names the operation in messages."""

    method: str
    resource: Resource
    asked: Resource
    fields: Mapping[str, str]
    what: str


def common_fields(options: HttpOptions) -> dict[str, str]:
    """The fields that all requests have, but for ``Host``."""
    return {
        "User-Agent": options.user_agent,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
    }


def plain_query(query: Query, options: HttpOptions) -> bytes | None:
    """The request; None when it has more in it than fits a plain one."""
    if not all(map(is_plain_value, query.fields.values())):
        return None
    if not all(map(is_plain_name, query.fields)):
        return None
    resource, own = query.resource, {name.lower() for name in query.fields}
    common: Mapping[str, str] = {"Host": resource.authority} | common_fields(options)
    fields = {name: text for name, text in common.items() if name.lower() not in own}
    lines = field_lines(fields | dict(query.fields))
    return plain_request(resource.target, lines, query.method.encode())


def place_of(authority: str) -> tuple[str, int]:
    """The host, and the port that is told or else the usual one; IPv6 stands in brackets."""
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, ""
    return host.strip("[]"), int(port or HTTP_PORT)
