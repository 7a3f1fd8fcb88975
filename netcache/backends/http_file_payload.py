"""Bodies from files, as aiohttp takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache.backends.aiohttp_import import Payload
from netcache.backends.http_pump import pump_runs

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from netcache.backends.http_pump import Sender

__all__ = ["FilePayload"]


class FilePayload(Payload):
    """A body for one request, sent by a ``Pump`` where the connection is plain."""

    _autoclose = True

    def __init__(self, sender: Sender) -> None:
        super().__init__(None, content_type="application/octet-stream")
        self._sender = sender

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Bodies of this kind are not text."""
        raise TypeError("a file's bytes are not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the whole body."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Send the whole body; its length is checked by the sender, not cut here."""
        transport = writer.transport
        sock = transport.get_extra_info("socket") if transport is not None else None
        if sock is None or transport is None or transport.get_extra_info("sslcontext") is not None:
            async for piece in self._sender.pieces():
                await writer.write(piece)
            return
        # The head must have left the transport before anybody else writes to its socket.
        transport.set_write_buffer_limits(0)
        writer.send_headers()
        await writer.drain()
        await pump_runs(transport, self._sender)
