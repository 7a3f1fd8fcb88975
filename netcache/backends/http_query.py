"""A question to a server: one request, as it is to be sent to where a URL or a redirect leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache.backends.http_options import HttpOptions

__all__ = ["READS", "Query", "common_fields"]

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
