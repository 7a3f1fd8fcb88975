"""The first requests of a process, without aiohttp: its import takes longer than all else that a
short command does.

Rules:

1. A request goes this way while aiohttp is not imported, ``REQUESTS_MAX`` times: whoever has more
   to ask has use of all that aiohttp knows.  It is over HTTP without TLS, straight to the server,
   and about a file: the page of a folder comes in chunks as a rule.
2. An answer that is not plain (``http_plain``) is left to aiohttp, which asks again, and from then
   on.  So is a connection that is refused, or a name that is not found: it tells those best.
3. A read over a kept connection that the server had closed meanwhile is asked again.
4. An upload goes this way when its length is known and it can be sent again.  Of its answer nothing
   but the head matters; one that is odd all the same is a failed attempt, for it may have had its
   effect.
5. Where aiohttp asks, no connection of ours is kept.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from netcache.backends.http_link import Link, LinkAnswer, SendBody
from netcache.backends.http_plain import UnusualError
from netcache.backends.http_query import Query, place_of, plain_query
from netcache.backends.http_refusals import no_answer, no_connection, went_away
from netcache.errors import NetCacheError, TransientError

if TYPE_CHECKING:
    from netcache.backends.http_options import HttpOptions

__all__ = ["REQUESTS_MAX", "FirstRequests"]

REQUESTS_MAX = 4
NEXT_ADDRESS_S = 0.25
"""A host with several addresses is tried at the next one after so long (RFC 8305)."""

_logger = logging.getLogger("netcache.http")


class FirstRequests:
    """Asks without aiohttp, a few times.  On the client's loop."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._left = REQUESTS_MAX if options.first_requests is None else options.first_requests
        self._links: dict[str, list[Link]] = {}
        self._closed = False

    def takes(self, query: Query) -> bool:
        """Whether this request, a question or an upload, may go this way."""
        if not self._left:
            return False
        if self._options.first_requests is None and "aiohttp" in sys.modules:
            return False
        if self._options.ca_cert is not None:
            # A file that cannot be used is told of, also where it would not be.
            return False
        return query.resource.scheme == "http" and not query.resource.path.endswith("/")

    async def ask(
        self, query: Query, body: SendBody | None = None, *, expects: bool = False
    ) -> LinkAnswer | None:
        """Send a request; returns when the head is there.  None: aiohttp is to ask.

        ``body`` sends that of an upload, and ``expects`` lets it wait until it is welcome.
        Raises ``TransientError`` when no head came, and what ``body`` raises.
        """
        if expects:
            query = query._replace(fields={**query.fields, "Expect": "100-continue"})
        request = plain_query(query, self._options)
        if request is None:
            return None
        self._left = max(0, self._left - 1)
        try:
            while True:
                link = self._kept(query.resource.origin) or await self._connect(query)
                try:
                    if body is not None:
                        return await self._sent(link, request, query, body, expects=expects)
                    return await self._answer(link, request, query)
                except ConnectionResetError as error:
                    if body is not None or not link.was_used:
                        raise went_away(query.what, query.asked.url) from error
        except UnusualError as error:
            _logger.debug("%s %s: left to aiohttp: %s", query.method, query.resource.url, error)
            self._left = 0
            return None

    def let_go(self) -> None:
        """aiohttp asks: connections that are free are closed.

        A simple server serves one connection at a time, and would wait on ours for ever.
        """
        for link in self._all():
            if link.is_free:
                link.abort()

    def close(self) -> None:
        """Close all connections.  Idempotent."""
        self._left, self._closed = 0, True
        for link in self._all():
            link.abort()

    def _all(self) -> list[Link]:
        return [link for links in self._links.values() for link in links]

    def _kept(self, origin: str) -> Link | None:
        """A link that is free."""
        links = [link for link in self._links.get(origin, ()) if not link.has_ended]
        self._links[origin] = links
        return next((link for link in links if link.is_free), None)

    async def _connect(self, query: Query) -> Link:
        """A new link; ``UnusualError`` where none can be had."""
        loop, (host, port) = asyncio.get_running_loop(), place_of(query.resource.authority)
        try:
            async with asyncio.timeout(self._options.timeout_s):
                _, link = await loop.create_connection(
                    Link, host, port, happy_eyeballs_delay=_next_address_s(host)
                )
        except TimeoutError as error:
            timeout_s = self._options.timeout_s
            raise no_connection(query.what, query.asked.url, timeout_s) from error
        except (OSError, UnicodeError) as error:
            raise UnusualError(f"no connection ({error})") from error
        self._links.setdefault(query.resource.origin, []).append(link)
        if self._closed:
            link.abort()
        return link

    async def _answer(self, link: Link, request: bytes, query: Query) -> LinkAnswer:
        timeout_s = self._options.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await link.ask(request, to_head=query.method == "HEAD")
        except TimeoutError as error:
            raise no_answer(query.what, query.asked.url, timeout_s) from error

    async def _sent(
        self, link: Link, request: bytes, query: Query, body: SendBody, *, expects: bool
    ) -> LinkAnswer:
        begun, timeout_s = False, self._options.timeout_s

        async def send(link: Link) -> None:
            nonlocal begun
            begun = True
            await body(link)

        try:
            return await link.send(request, send, expects=expects, timeout_s=timeout_s)
        except TimeoutError as error:
            raise no_answer(query.what, query.asked.url, timeout_s) from error
        except (NetCacheError, ConnectionResetError):
            raise
        except OSError as error:
            raise TransientError(
                f"{query.what} of {query.asked.url} failed: the connection was lost "
                f"({error.strerror or error})",
                url=query.asked.url,
            ) from error
        except UnusualError as error:
            if not begun:
                raise
            # What was sent has perhaps had its effect: that is for the caller to find out.
            self._left = 0
            raise TransientError(
                f"{query.what} of {query.asked.url} failed: the answer is not plain ({error})",
                url=query.asked.url,
            ) from error


def _next_address_s(host: str) -> float | None:
    """How long a host may take before its next address is tried; None where it has only one.

    asyncio loses the socket of a race that is won in the moment in which it is given up.
    """
    is_address = ":" in host or host.replace(".", "").isdigit()
    return None if is_address else NEXT_ADDRESS_S
