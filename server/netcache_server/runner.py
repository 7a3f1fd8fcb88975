"""Starting and stopping a server: on a loop that runs, or from a command line."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import sys
from types import TracebackType
from typing import Self

from aiohttp import web

from netcache_server.app import Application
from netcache_server.exchange import MAX_LINE_BYTES, READ_BUFFER_BYTES, Connection
from netcache_server.faults import Faults
from netcache_server.log import RequestLog
from netcache_server.memory import give_back_freed_memory
from netcache_server.options import LogRecord, ServerOptions

_KEEP_ALIVE_S = 75.0
_LINGER_S = 5.0
_STOP_S = 1.0
# aiohttp tells of every client that leaves early as an error; our own log says what became of
# each request, so only what would stop the server is let through.
_http_logger = logging.getLogger("netcache_server.http")
_http_logger.setLevel(logging.CRITICAL)
logging.getLogger("netcache_server").addHandler(logging.NullHandler())


class _Refused(asyncio.Protocol):
    """Closes a connection as soon as it is made."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class _Server(web.Server):
    """aiohttp's server, with our connections."""

    def __init__(self, app: Application) -> None:
        super().__init__(app.handle)
        self._faults = app.faults
        self._idle_timeout_s = app.options.idle_timeout_s

    def new_protocol(self) -> asyncio.Protocol:
        if self._faults.refuses_connections:
            return _Refused()
        connection = Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=_http_logger,
            logger=_http_logger,
            keepalive_timeout=_KEEP_ALIVE_S,
            lingering_time=_LINGER_S,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            read_bufsize=READ_BUFFER_BYTES,
            auto_decompress=False,
        )
        connection.unread_timeout_s = self._idle_timeout_s
        return connection


class ObjectServer:
    """An object server on the running loop.

    ``async with ObjectServer(options) as server:`` starts and stops it; ``url``, ``port`` and
    ``requests`` are valid once it has started.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.faults = Faults(options.fault_plan)
        self._log = RequestLog(None, 1)
        self._app: Application | None = None
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None
        self._port = 0

    async def start(self) -> None:
        """Check the options, open the folder, listen.

        Raises ``OptionsError`` for options that do not fit, ``OSError`` where the address or a
        file cannot be used.
        """
        self.options.check()
        context = _tls(self.options)
        self._log = RequestLog(self.options.log, self.options.log_limit)
        self._app = Application(self.options, self.faults, self._log)
        self._server = _Server(self._app)
        self._context = context
        try:
            await self.open_listener()
        except BaseException:
            await self.stop()
            raise

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def url(self) -> str:
        """The URL of the served folder; it ends in a slash."""
        host = self.options.host
        if host in ("", "0.0.0.0", "::"):
            host = "[::1]" if host == "::" else "127.0.0.1"
        elif ":" in host and not host.startswith("["):
            host = f"[{host}]"
        scheme = "http" if self.options.tls_cert is None else "https"
        return f"{scheme}://{host}:{self._port}/"

    @property
    def requests(self) -> list[LogRecord]:
        """The records of the requests that are finished, oldest first (with ``log="memory"``)."""
        return self._log.records

    def clear_log(self) -> None:
        """Forget the records (with ``log="memory"``)."""
        self._log.clear()

    async def open_listener(self) -> None:
        """Listen, on the same port as before if there was one."""
        assert self._server is not None
        self._listener = await asyncio.get_running_loop().create_server(
            self._server.new_protocol,
            self.options.host.strip("[]") or None,
            self._port or self.options.port,
            backlog=self.options.backlog,
            ssl=self._context,
            reuse_address=True,
        )
        self._port = self._listener.sockets[0].getsockname()[1]

    async def close_listener(self) -> None:
        """Stop listening, so that new connections are refused; those that exist go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def stop(self) -> None:
        """Stop listening, give requests in progress a moment, close everything."""
        await self.close_listener()
        if self._server is not None:
            self._server.pre_shutdown()  # lets connections go that wait for a next request
            await self._server.shutdown(_STOP_S)
            self._server = None
        if self._app is not None:
            await self._app.stop()
            await asyncio.get_running_loop().run_in_executor(None, self._app.close)
            self._app = None
        self._log.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


def _tls(options: ServerOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None or options.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context


def run(options: ServerOptions) -> None:
    """Serve until SIGINT or SIGTERM.

    Prints the URL as the first line of stdout.  Raises what ``ObjectServer.start`` raises.
    """
    give_back_freed_memory()
    asyncio.run(_serve(options))


async def _serve(options: ServerOptions) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with ObjectServer(options) as server:
        print(server.url, flush=True)
        await stopped.wait()
    sys.stdout.flush()
