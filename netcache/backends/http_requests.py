"""What aiohttp's requests and responses do otherwise here."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from netcache.backends.aiohttp_import import HttpProcessingError, aiohttp
from netcache.backends.http_query import EXPECT_WAIT_S, READS

__all__ = ["INTERIM_ANSWERS_MAX", "Request", "Response"]

INTERIM_ANSWERS_MAX = 64
"""So many 1xx answers may come before the answer (RFC 9110 15.2)."""


class Request(aiohttp.ClientRequest):
    """A request that does not wait for ``100 Continue`` for ever.

    ``sent``: by origin, the last read that went there directly.
    """

    sent: ClassVar[dict[str, aiohttp.ClientRequest]]

    def update_expect_continue(self, expect: bool = False) -> None:
        """Called by aiohttp."""
        super().update_expect_continue(expect)
        if self._continue is not None:
            self.loop.call_later(EXPECT_WAIT_S, _go_on, self._continue)

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Called by aiohttp."""
        if self.method == "GET" and self.proxy is None:
            # By where it goes: a caller may have given the field ``Host`` another text.
            self.sent[str(self.url.origin())] = self
        return await super().send(conn)


class Response(aiohttp.ClientResponse):
    """A response whose head must come: aiohttp would read past interim answers for ever.

    ``head_timeout_s`` bounds the wait for the head of an answer to a read, however much arrives
    meanwhile.  (The head of an answer to an upload may come much later.)
    """

    head_timeout_s: float | None = None

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Called by aiohttp."""
        protocol = connection.protocol
        assert protocol is not None
        read, left = protocol.read, INTERIM_ANSWERS_MAX

        async def read_some() -> Any:
            nonlocal left
            if left < 0:
                raise HttpProcessingError(message="too many interim answers")
            left -= 1
            return await read()

        protocol.read = read_some  # type: ignore[method-assign]
        try:
            async with asyncio.timeout(self.head_timeout_s if self.method in READS else None):
                return await super().start(connection)
        finally:
            del protocol.read


def _go_on(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(True)
