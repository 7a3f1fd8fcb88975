"""Bodies as aiohttp's stream has them: the next piece, and the end of an exchange."""

from __future__ import annotations

import asyncio

from netcache.backends.aiohttp_import import HttpProcessingError, aiohttp
from netcache.errors import RemoteTimeoutError, TransientError

__all__ = ["give_up", "next_chunk"]


def give_up(response: aiohttp.ClientResponse) -> None:
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


async def next_chunk(response: aiohttp.ClientResponse, timeout_s: float) -> bytes:
    """The next bytes of a body as aiohttp's stream has them; empty at its end."""
    try:
        if response.content.is_eof():
            # All of it is here: there is nothing to wait for.
            return response.content.read_nowait()
        # aiohttp's own limit is for silence; what comes may also be no body (endless framing).
        async with asyncio.timeout(timeout_s):
            return await response.content.readany()
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise RemoteTimeoutError(f"no byte came for {timeout_s:g} s") from error
    except (aiohttp.ClientError, HttpProcessingError, OSError, RuntimeError) as error:
        # RuntimeError is what the stream says when we have closed the connection ourselves.
        raise TransientError(f"the connection was lost ({error})") from error
