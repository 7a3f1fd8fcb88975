"""Requests by aiohttp: its session, set up as the rules of exchanges need it.

Rules:

1. aiohttp's silent second attempt is off: an upload whose reply was lost must be known as such.
   A read over a connection that the server had closed meanwhile is asked again here.
2. It follows no redirects, keeps no cookies, decodes nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from yarl import URL

from netcache.backends.aiohttp_import import aiohttp
from netcache.backends.http_failures import connection_error
from netcache.backends.http_query import READS, Query, common_fields
from netcache.backends.http_requests import Request, Response
from netcache.errors import UsageError

if TYPE_CHECKING:
    from netcache.backends.http_access import Proxy
    from netcache.backends.http_options import HttpOptions

__all__ = ["AiohttpClient", "Door", "Payload"]

KEEPALIVE_S = 30.0

Payload = Callable[[], AsyncIterable[Any] | aiohttp.Payload | bytes]
"""Makes the body of a request; called for every time that it is sent."""


class Door(NamedTuple):
    """The way to an origin that has answered: another connection to it, from the pool or new; and
    the fields that all requests have."""

    connect: Callable[[], Awaitable[aiohttp.connector.Connection]]
    fields: Mapping[str, str]


class AiohttpClient:
    """aiohttp's session.  On the client's loop."""

    def __init__(self, options: HttpOptions, tls: ssl.SSLContext | bool) -> None:
        self._options = options
        self._spoken_to: set[str] = set()
        self._sent: dict[str, aiohttp.ClientRequest] = {}
        self._session = self._made(options, tls)

    @classmethod
    async def open(cls, options: HttpOptions) -> AiohttpClient:
        """A client with these options; ``UsageError`` when its certificates cannot be used."""
        return cls(options, await _tls(options))

    def _made(self, options: HttpOptions, tls: ssl.SSLContext | bool) -> aiohttp.ClientSession:
        class TimedResponse(Response):
            head_timeout_s = options.timeout_s

        class KnownRequest(Request):
            sent = self._sent

        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=options.connections,
            keepalive_timeout=KEEPALIVE_S,
            ssl=tls,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=common_fields(options),
            request_class=KnownRequest,
            response_class=TimedResponse,
            timeout=aiohttp.ClientTimeout(
                total=None,
                # Waiting for a free connection of our own is not the server's fault.
                connect=None,
                sock_connect=options.timeout_s,
                sock_read=options.timeout_s,
            ),
        )
        session._retry_connection = False
        return session

    async def ask(
        self, query: Query, payload: Payload | None, proxy: Proxy | None, *, expect100: bool
    ) -> aiohttp.ClientResponse:
        """Send a request; returns when the head is there.

        Raises ``TransientError`` (no head came), ``RemoteError``, ``RemoteProtocolError``.
        """
        method, resource, asked, own, what = query
        fields, proxy_fields = dict(own), None
        if proxy is not None and proxy.authorization is not None:
            field = {"Proxy-Authorization": proxy.authorization}
            if resource.scheme == "https":
                proxy_fields = field
            else:
                fields |= field
        again = method in READS and resource.origin in self._spoken_to
        while True:
            try:
                response = await self._session.request(
                    method,
                    URL(resource.url, encoded=True),
                    headers=fields,
                    data=payload() if payload is not None else None,
                    allow_redirects=False,
                    expect100=expect100,
                    proxy=proxy.url if proxy is not None else None,
                    proxy_headers=proxy_fields,
                )
            except (aiohttp.ClientError, OSError) as error:
                if again and _went_stale(error) and not self._session.closed:
                    again = False
                    continue
                raise connection_error(what, asked.url, error, self._options.timeout_s) from error
            self._spoken_to.add(resource.origin)
            return response

    def door_to(self, origin: str) -> Door | None:
        """How to have a connection to an origin that has answered; None when it has not."""
        request, session = self._sent.get(origin), self._session
        if request is None or origin not in self._spoken_to:
            return None
        connector, timeout = session.connector, session.timeout
        if connector is None:
            return None
        fields = {"Host": request.headers["Host"], **common_fields(self._options)}
        return Door(lambda: connector.connect(request, [], timeout), fields)

    async def close(self) -> None:
        """Close all connections.  Idempotent."""
        await self._session.close()


def _went_stale(error: BaseException) -> bool:
    """Whether this may come of a kept connection rather than of the request.

    The server closed it while it was idle, or had left bytes on it that belong to no reply.
    """
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError):
        return False
    return isinstance(
        error,
        aiohttp.ServerDisconnectedError
        | aiohttp.ClientOSError
        | aiohttp.ClientResponseError
        | ConnectionResetError
        | BrokenPipeError,
    )


async def _tls(options: HttpOptions) -> ssl.SSLContext | bool:
    """What aiohttp is to check certificates with; True is the system's authorities."""
    if options.insecure:
        return False
    if options.ca_cert is None:
        return True
    try:
        return await asyncio.to_thread(ssl.create_default_context, cafile=options.ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the certificate file {options.ca_cert!r} cannot be used: {error}"
        ) from error
