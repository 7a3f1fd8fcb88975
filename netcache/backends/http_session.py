"""Exchanges: one request to one head, through redirects, proxies and credentials.

Rules:

1. The aiohttp session is made at the first exchange and closed once.
2. Redirects are followed here, not by aiohttp: the range and condition fields are kept, the
   credentials of one origin never reach another, https never becomes http, and only 307 and 308
   move a request that is not a read.
3. aiohttp's silent second attempt is off: an upload whose reply was lost must be known as such.
   A read over a connection that the server had closed meanwhile is asked again here.
4. A status is not an error here; failing to get one is.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urljoin

from yarl import URL

from netcache._core.urls import Resource, parse, strip_credentials
from netcache._version import __version__
from netcache.backends.aiohttp_import import aiohttp
from netcache.backends.http_access import Access
from netcache.backends.http_body import give_up
from netcache.backends.http_refusals import connection_error
from netcache.backends.http_requests import READS, Request, Response
from netcache.backends.http_wire import Head
from netcache.errors import ClosedError, RemoteError, RemoteProtocolError, UsageError

__all__ = ["Exchange", "HttpOptions", "HttpSession", "Payload"]

REDIRECTS_MAX = 10
KEEPALIVE_S = 30.0
DROPPED_BODY_BYTES_MAX = 64 * 1024
"""Bodies of refusals up to this are read, so that the connection can be used again."""
DROP_WAIT_S = 5.0
"""A refusal that takes longer to come costs the connection."""
SAID_BYTES_MAX = 4096

_REDIRECTS = (301, 302, 303, 307, 308)
_logger = logging.getLogger("netcache.http")


class HttpOptions(NamedTuple):
    """The options of an ``HttpBackend``.

    ``timeout_s`` bounds connecting, and each wait without a byte; never a whole transfer.
    ``retries`` counts attempts after the first.  ``auth`` is ``user:password``.  ``netrc`` is a
    path, or True for the user's own file.  ``connections`` is for each host.
    ``bandwidth_limit`` is in bytes/s over all bodies, both ways.  ``takeover`` False makes all
    bodies take aiohttp's stream.
    """

    timeout_s: float = 30.0
    retries: int = 4
    headers: Mapping[str, str] = MappingProxyType({})
    auth: str | None = None
    token: str | None = None
    netrc: bool | str = False
    ca_cert: str | None = None
    insecure: bool = False
    connections: int = 16
    bandwidth_limit: int | None = None
    user_agent: str = f"netcache/{__version__}"
    takeover: bool = True


Payload = Callable[[], AsyncIterable[Any] | aiohttp.Payload | bytes]
"""Makes the body of a request; called for every time that it is sent."""


class Exchange(NamedTuple):
    """A response whose head is there; ``resource`` is what was asked in the end."""

    response: aiohttp.ClientResponse
    resource: Resource

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
        except (aiohttp.ClientError, OSError, RuntimeError):
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
        except (aiohttp.ClientError, OSError, RuntimeError):
            pass
        await self.drop()
        return said[:SAID_BYTES_MAX].decode("utf-8", "replace")

    def give_up(self) -> None:
        """End it at once."""
        give_up(self.response)


class Door(NamedTuple):
    """The way to an origin that has answered: another connection to it, from the pool or new; and
    the fields that all requests have."""

    connect: Callable[[], Awaitable[aiohttp.connector.Connection]]
    fields: Mapping[str, str]


class HttpSession:
    """The session of a backend; every method belongs to one event loop."""

    def __init__(self, options: HttpOptions) -> None:
        self.options = options
        self.access = Access(
            headers=options.headers,
            auth=options.auth,
            token=options.token,
            netrc_file=options.netrc,
        )
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._spoken_to: set[str] = set()
        self._sent: dict[str, aiohttp.ClientRequest] = {}

    async def ask(
        self,
        method: str,
        asked: Resource,
        headers: Mapping[str, str],
        *,
        what: str,
        payload: Payload | None = None,
        expect100: bool = False,
    ) -> Exchange:
        """Send a request, follow redirects, return when the head is there.

        ``what`` names the operation in messages.  Raises ``TransientError`` (no head came),
        ``RemoteError``, ``RemoteProtocolError``, ``ClosedError``.
        """
        resource = asked
        for _ in range(REDIRECTS_MAX + 1):
            exchange = await self._ask_once(
                method, resource, asked, headers, what, payload, expect100
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
        """How to have a connection to an origin that has answered; None when it has not."""
        request, session = self._sent.get(origin), self._session
        if request is None or session is None or origin not in self._spoken_to:
            return None
        connector, timeout = session.connector, session.timeout
        if connector is None:
            return None
        fields = {"Host": request.headers["Host"], **self._common_fields()}
        return Door(lambda: connector.connect(request, [], timeout), fields)

    async def close(self) -> None:
        """Close all connections.  Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask_once(
        self,
        method: str,
        resource: Resource,
        asked: Resource,
        headers: Mapping[str, str],
        what: str,
        payload: Payload | None,
        expect100: bool,
    ) -> Exchange:
        session = await self._ready()
        fields = self.access.headers_for(resource, asked.origin) | dict(headers)
        proxy_url, proxy_fields = None, None
        if (proxy := self.access.proxy_for(resource)) is not None:
            proxy_url, authorization = proxy
            if authorization is not None and resource.scheme == "https":
                proxy_fields = {"Proxy-Authorization": authorization}
            elif authorization is not None:
                fields["Proxy-Authorization"] = authorization
        again = method in READS and resource.origin in self._spoken_to
        while True:
            try:
                response = await session.request(
                    method,
                    URL(resource.url, encoded=True),
                    headers=fields,
                    data=payload() if payload is not None else None,
                    allow_redirects=False,
                    expect100=expect100,
                    proxy=proxy_url,
                    proxy_headers=proxy_fields,
                )
            except (aiohttp.ClientError, OSError) as error:
                if self._closed:
                    raise self._is_closed() from error
                if again and _went_stale(error):
                    again = False
                    continue
                raise connection_error(what, asked.url, error, self.options.timeout_s) from error
            self._spoken_to.add(resource.origin)
            _logger.debug("%s %s: %s", method, resource.url, response.status)
            return Exchange(response, resource)

    async def _ready(self) -> aiohttp.ClientSession:
        if self._closed:
            raise self._is_closed()
        if self._session is None:
            async with self._opening:
                if self._session is None and not self._closed:
                    self._session = await self._open()
        if self._session is None:
            raise self._is_closed()
        return self._session

    async def _open(self) -> aiohttp.ClientSession:
        options = self.options

        class TimedResponse(Response):
            head_timeout_s = options.timeout_s

        class KnownRequest(Request):
            sent = self._sent

        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=options.connections,
            keepalive_timeout=KEEPALIVE_S,
            ssl=await _tls(options),
        )
        session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._common_fields(),
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

    def _common_fields(self) -> dict[str, str]:
        return {
            "User-Agent": self.options.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }

    def _is_closed(self) -> ClosedError:
        return ClosedError("the connections of this client are closed")


def _redirected(what: str, asked: Resource, here: Resource, location: str) -> Resource:
    """The target of a redirect; credentials that stand in it are not used."""
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
