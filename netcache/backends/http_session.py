"""Exchanges: one request to one head, through redirects, proxies and credentials.

Rules:

1. aiohttp's session is made when it is first needed, and closed once.  The first requests of a
   process may do without (``http_first``).
2. Redirects are followed here, not by aiohttp: the range and condition fields are kept, the
   credentials of one origin never reach another, https never becomes http, and only 307 and 308
   move a request that is not a read.
3. A status is not an error here; failing to get one is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from netcache._core.urls import Resource, parse, strip_credentials
from netcache.backends.http_access import Access
from netcache.backends.http_body import give_up, lost_errors
from netcache.backends.http_options import HttpOptions
from netcache.backends.http_query import READS, Query
from netcache.backends.http_wire import Head
from netcache.errors import (
    ClosedError,
    NetCacheError,
    RemoteError,
    RemoteProtocolError,
    UsageError,
)

if TYPE_CHECKING:
    from netcache.backends.http_body import Response
    from netcache.backends.http_client import AiohttpClient, Door, Payload
    from netcache.backends.http_first import FirstRequests
    from netcache.backends.http_link import SendBody

__all__ = ["Exchange", "HttpSession"]

REDIRECTS_MAX = 10
DROPPED_BODY_BYTES_MAX = 64 * 1024
"""Bodies of refusals up to this are read, so that the connection can be used again."""
DROP_WAIT_S = 5.0
"""A refusal that takes longer to come costs the connection."""
SAID_BYTES_MAX = 4096

_REDIRECTS = (301, 302, 303, 307, 308)
_logger = logging.getLogger("netcache.http")


class Exchange(NamedTuple):
    """A response whose head is there; ``resource`` is what was asked in the end.

    ``head_s``: how long the head took to come.
    """

    response: Response
    resource: Resource
    head_s: float

    @property
    def head(self) -> Head:
        """The head, for the wire rules."""
        return Head(self.response.status, self.response.headers, self.resource.url)

    async def drop(self) -> None:
        """Be done with it: read a short body away so that the connection can be used again."""
        length = self.response.content_length
        try:
            if length is not None and length <= DROPPED_BODY_BYTES_MAX:
                async with asyncio.timeout(DROP_WAIT_S):
                    # Not response.read(): that would wait until all of the request has been sent.
                    while await self.response.content.readany():
                        pass
        except lost_errors():
            pass
        finally:
            give_up(self.response)

    async def text(self) -> str:
        """The beginning of what a refusal says, for people; then it is dropped."""
        said = b""
        try:
            async with asyncio.timeout(DROP_WAIT_S):
                content = self.response.content
                while len(said) < SAID_BYTES_MAX and (more := await content.readany()):
                    said += more
        except lost_errors():
            pass
        await self.drop()
        return said[:SAID_BYTES_MAX].decode("utf-8", "replace")

    def give_up(self) -> None:
        """End it at once."""
        give_up(self.response)


class HttpSession:
    """The session of a backend; every method belongs to one event loop."""

    def __init__(self, options: HttpOptions) -> None:
        self.options = options
        self.access = Access.of(options)
        self._first: FirstRequests | None = None
        self._client: AiohttpClient | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def ask(
        self,
        method: str,
        asked: Resource,
        headers: Mapping[str, str],
        *,
        what: str,
        payload: Payload | None = None,
        on_link: SendBody | None = None,
        expect100: bool = False,
    ) -> Exchange:
        """Send a request, follow redirects, return when the head is there.

        ``what`` names the operation in messages.  ``payload`` makes the body for aiohttp, and
        ``on_link`` sends the same on a link, where it may go that way.  Raises ``TransientError``
        (no head came), ``RemoteError``, ``RemoteProtocolError``, ``ClosedError``.
        """
        resource = asked
        for _ in range(REDIRECTS_MAX + 1):
            exchange = await self._ask_once(
                method, resource, asked, headers, what, payload, on_link, expect100
            )
            location = exchange.response.headers.get("Location")
            if exchange.response.status not in _REDIRECTS or location is None:
                return exchange
            await exchange.drop()
            resource = _redirected(what, asked, resource, location)
            if method not in READS and exchange.response.status not in (307, 308):
                raise RemoteError(
                    f"{what} of {asked.url} failed: the server points to {resource.url} "
                    f"(status {exchange.response.status}); use that URL",
                    url=asked.url,
                )
            _logger.debug("%s %s: redirected to %s", method, asked.url, resource.url)
        raise RemoteProtocolError(
            f"{what} of {asked.url} failed: more than {REDIRECTS_MAX} redirects", url=asked.url
        )

    def door_to(self, origin: str) -> Door | None:
        """How to have a connection to an origin that has answered aiohttp; None otherwise."""
        return self._client.door_to(origin) if self._client is not None else None

    async def close(self) -> None:
        """Close all connections.  Idempotent."""
        self._closed = True
        if self._first is not None:
            self._first.close()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _ask_once(
        self,
        method: str,
        resource: Resource,
        asked: Resource,
        headers: Mapping[str, str],
        what: str,
        payload: Payload | None,
        on_link: SendBody | None,
        expect100: bool,
    ) -> Exchange:
        fields = self.access.headers_for(resource, asked.origin) | dict(headers)
        proxy = self.access.proxy_for(resource)
        query = Query(method, resource, asked, fields, what)
        response: Response | None = None
        try:
            goes_first = method in READS if payload is None else on_link is not None
            if goes_first and proxy is None and (first := self._first_for(query)):
                begun_s = time.monotonic()
                response = await first.ask(query, on_link, expects=expect100)
            if response is None:
                if self._first is not None:
                    self._first.let_go()
                client = await self._ready()
                begun_s = time.monotonic()
                response = await client.ask(query, payload, proxy, expect100=expect100)
            head_s = time.monotonic() - begun_s
        except NetCacheError as error:
            if self._closed:
                raise self._is_closed() from error
            raise
        _logger.debug("%s %s: %s", method, resource.url, response.status)
        return Exchange(response, resource, head_s)

    def _first_for(self, query: Query) -> FirstRequests | None:
        """Who asks this without aiohttp; None when that is to ask."""
        if self._closed:
            raise self._is_closed()
        if self._first is None:
            from netcache.backends.http_first import FirstRequests

            self._first = FirstRequests(self.options)
        return self._first if self._first.takes(query) else None

    async def _ready(self) -> AiohttpClient:
        if self._closed:
            raise self._is_closed()
        if self._client is None:
            async with self._opening:
                if self._client is None and not self._closed:
                    self._client = await self._open()
        if self._client is None:
            raise self._is_closed()
        return self._client

    async def _open(self) -> AiohttpClient:
        # Half of what a short command takes: not imported before it is needed.
        from netcache.backends.http_client import AiohttpClient

        return await AiohttpClient.open(self.options)

    def _is_closed(self) -> ClosedError:
        return ClosedError("the connections of this client are closed")


def _redirected(what: str, asked: Resource, here: Resource, location: str) -> Resource:
    """The target of a redirect; credentials that stand in it are not used."""
    from urllib.parse import urljoin

    start = f"{what} of {asked.url} failed"
    try:
        target = parse(urljoin(here.url, location))
    except (UsageError, ValueError) as error:
        raise RemoteProtocolError(
            f"{start}: it is redirected to {strip_credentials(location)!r}", url=asked.url
        ) from error
    if here.scheme == "https" and target.scheme == "http":
        raise RemoteProtocolError(
            f"{start}: it is redirected from https to {target.url}, which is not secure; "
            "use that URL if you mean it",
            url=asked.url,
        )
    return target
