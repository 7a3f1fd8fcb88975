"""Bodies as aiohttp's stream has them: the next piece, and the end of an exchange.

Responses are aiohttp's, or those of our own links, which have the members that are used here.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, TypeAlias

from netcache.errors import RemoteTimeoutError, TransientError

if TYPE_CHECKING:
    from netcache.backends.aiohttp_import import aiohttp
    from netcache.backends.http_link import LinkAnswer

    Response: TypeAlias = aiohttp.ClientResponse | LinkAnswer

__all__ = ["give_up", "lost_errors", "next_chunk", "of_aiohttp"]


def lost_errors() -> tuple[type[BaseException], ...]:
    """What receiving a body may raise when the connection is lost.

    ``RuntimeError`` is what aiohttp's stream says when we have closed the connection ourselves.
    """
    return (*of_aiohttp("EXCHANGE_ERRORS"), OSError, RuntimeError)


def of_aiohttp(kind: str) -> tuple[type[BaseException], ...]:
    """What aiohttp raises; nothing as long as we have not imported it."""
    module = sys.modules.get("netcache.backends.aiohttp_import")
    found: tuple[type[BaseException], ...] = getattr(module, kind, ())
    return found


def give_up(response: Response) -> None:
    """End an exchange: the connection is reused only when nothing is left on it."""
    content = response.content
    if content is not None and content.is_eof():
        response.release()
        return
    connection = response.connection
    transport = connection.transport if connection is not None else None
    if transport is not None:
        # A close in order would first wait for the rest of the body (TLS).
        transport.abort()
    response.close()


async def next_chunk(response: Response, timeout_s: float) -> bytes:
    """The next bytes of a body as aiohttp's stream has them; empty at its end."""
    try:
        if response.content.is_eof():
            # All of it is here: there is nothing to wait for.
            return response.content.read_nowait()
        # aiohttp's own limit is for silence; what comes may also be no body (endless framing).
        async with asyncio.timeout(timeout_s):
            return await response.content.readany()
    except TimeoutError as error:
        raise RemoteTimeoutError(f"no byte came for {timeout_s:g} s") from error
    except lost_errors() as error:
        raise TransientError(f"the connection was lost ({error})") from error
