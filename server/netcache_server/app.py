"""From a request to its answer: faults, credentials, methods, errors, the log.

The order for each request: path, faults, host and credentials, method, answer, log.  A handler
raises ``HttpProblem`` for what it cannot do; an ``OSError`` that it did not expect becomes the
status that fits; anything else is a bug of the server and becomes 500 and a traceback in the
``netcache_server`` logger.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from netcache_server.auth import Gate
from netcache_server.digest import wants_sha256
from netcache_server.exchange import Exchange
from netcache_server.faultcheck import FaultPlanError
from netcache_server.faults import FaultPlan, Faults
from netcache_server.log import RequestLog
from netcache_server.options import ServerOptions, host_is_trusted, is_loopback
from netcache_server.patching import PATCH_TYPE, Patcher
from netcache_server.paths import CONTROL_NAME, BadPathError, parse_target
from netcache_server.publisher import Publisher
from netcache_server.reading import Reader
from netcache_server.removing import Remover
from netcache_server.reply import HttpProblem, Reply
from netcache_server.resuming import Resumer, begins_upload, upload_token
from netcache_server.sending import Done, Sender
from netcache_server.threads import in_thread
from netcache_server.tree import ForbiddenPathError, NotAFolderError, Tree
from netcache_server.writing import Writer

_READ_METHODS = ("GET", "HEAD", "OPTIONS")
_WRITE_METHODS = ("PUT", "PATCH", "DELETE", "MOVE", "MKCOL")
_MAX_PLAN_BYTES = 1 << 20
_STOP_S = 10.0
_logger = logging.getLogger("netcache_server")

_ERRNO_STATUS = {
    errno.ENOENT: 404,
    errno.ENAMETOOLONG: 414,
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
    errno.EFBIG: 413,
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EROFS: 403,
    errno.ELOOP: 403,
    errno.ENXIO: 403,
    errno.EXDEV: 403,
    errno.EISDIR: 409,
    errno.ENOTEMPTY: 409,
    errno.EEXIST: 409,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
}


class Application:
    """Answers every request of one server."""

    def __init__(self, options: ServerOptions, faults: Faults, log: RequestLog) -> None:
        self.options = options
        self.faults = faults
        self.log = log
        self._gate = Gate(options)
        self._handling: set[asyncio.Task[object]] = set()
        self._checks_host = not options.authenticated and is_loopback(options.host)
        self._tree = Tree(options.root)
        self._publisher = Publisher(options, self._tree)
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="netcache-server")
        # Hashing a large file and reading a large folder take long: they must not take all of
        # the threads that others need for a moment.
        self._slow_pool = ThreadPoolExecutor(4, thread_name_prefix="netcache-server-slow")
        self._reader = Reader(options, self._tree)
        self._writer = Writer(options, self._publisher, self._pool)
        self._patcher = Patcher(options, self._publisher, self._pool)
        self._resumer = (
            Resumer(options, self._publisher, self._pool, self._slow_pool)
            if options.resumable_uploads and not options.read_only
            else None
        )
        self._remover = Remover(self._publisher)

    async def stop(self) -> None:
        """Begin nothing more, and wait for requests that were cancelled; before ``close``.

        What they hold (files in progress, locks) is let go in threads, which ``close`` ends.
        """
        if self._resumer is not None:
            self._resumer.stop()
        if self._handling:
            await asyncio.wait(self._handling, timeout=_STOP_S)

    def close(self) -> None:
        """Wait for the threads, and let the folder go."""
        self._pool.shutdown()
        self._slow_pool.shutdown()
        self._publisher.close()
        self._tree.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; called by aiohttp."""
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        try:
            return await self._handle(Exchange(request))
        finally:
            self._handling.discard(task)

    async def _handle(self, exchange: Exchange) -> web.StreamResponse:
        logged = False

        def finished() -> None:
            nonlocal logged
            if not logged:
                logged = True
                if self.log.wanted:
                    self.log.add(exchange.record())

        keep_alive = False
        try:
            reply = await self._answer(exchange)
            try:
                if exchange.effects.lose_reply:
                    raise ConnectionAbortedError("the answer was lost by a fault")
                keep_alive = await Sender(exchange, self._pool, finished).send(reply)
                if not keep_alive:
                    exchange.end()
            finally:
                reply.release()
        except OSError as error:
            if not isinstance(error, ConnectionError):
                _logger.error("%s %s broke off: %s", exchange.method, exchange.path.text, error)
            exchange.error = exchange.error or str(error) or "the client has gone"
            finished()
            await exchange.cut(reset=exchange.effects.reset)
        finally:
            exchange.leave()
            finished()
        return Done(keep_alive)

    async def _answer(self, exchange: Exchange) -> Reply:
        try:
            return await self._dispatch(exchange)
        except HttpProblem as problem:
            return problem.reply()
        except ConnectionError:
            raise
        except OSError as error:
            return _os_problem(error, exchange.method).reply()
        except Exception as error:
            _logger.exception("%s %s failed", exchange.method, exchange.path.text)
            exchange.error = f"{type(error).__name__}: {error}"
            return HttpProblem(500, close=True).reply()

    async def _dispatch(self, exchange: Exchange) -> Reply:
        if exchange.request.version.major != 1:
            raise HttpProblem(505, close=True)
        try:
            exchange.path = parse_target(exchange.request.raw_path)
        except BadPathError as error:
            if exchange.method != "OPTIONS" or exchange.request.raw_path != "*":
                raise HttpProblem(400, str(error), close=True) from None
        path = exchange.path
        exchange.effects, exchange.fault_names = self.faults.hit(
            exchange.method, path.text, "Range" in exchange.headers
        )
        faulty = await self._before(exchange)
        if faulty is not None:
            return faulty
        host = exchange.headers.get("Host")
        if self._checks_host and not host_is_trusted(host, self.options.allowed_hosts):
            raise HttpProblem(421, "Host: not a name of this server", close=True)
        self._gate.require(exchange.headers.get("Authorization"))
        if self.options.fault_control and path.segments == (CONTROL_NAME, "faults"):
            return await self._control(exchange)
        return await self._method(exchange)

    async def _before(self, exchange: Exchange) -> Reply | None:
        """The faults that come before the request is looked at."""
        effects = exchange.effects
        if effects.refuse:
            raise ConnectionAbortedError("refused by a fault")
        if effects.latency_s is not None:
            await exchange.pause(effects.latency_s)
        if effects.status is not None:
            headers = {} if effects.retry_after is None else {"Retry-After": effects.retry_after}
            return HttpProblem(effects.status, "by a fault", headers).reply()
        if effects.redirect is not None:
            location = effects.redirect.replace("{path}", exchange.path.encoded)
            return Reply(effects.redirect_status, {"Location": location})
        return None

    async def _method(self, exchange: Exchange) -> Reply:
        method, reserved = exchange.method, exchange.path.reserved
        allowed = self._allowed()
        if method not in allowed:
            raise HttpProblem(405, headers={"Allow": ", ".join(allowed)})
        if method == "OPTIONS":
            return self._options()
        token = upload_token(exchange.path.segments)
        if self._resumer is not None and token is not None:
            return await self._resumer.answer(exchange, token)
        if reserved:
            raise HttpProblem(404 if method in _READ_METHODS else 403, "the name is reserved")
        match method:
            case "GET" | "HEAD":
                return await self._read(exchange)
            case "PUT" if "Content-Range" in exchange.headers:
                return await self._patcher.put_range(exchange)
            case "PUT" if self._resumer is not None and begins_upload(exchange):
                return await self._resumer.begin(exchange)
            case "PUT":
                return await self._writer.put(exchange)
            case "PATCH":
                return await self._patcher.patch(exchange)
            case "MKCOL":
                return await self._in_slow(self._writer.make_collection, exchange)
            case "DELETE":
                return await self._in_slow(self._remover.delete, exchange)
        return await self._in_slow(self._remover.move, exchange)

    async def _read(self, exchange: Exchange) -> Reply:
        digest = wants_sha256(exchange.headers.get("Want-Repr-Digest"))
        if digest or exchange.path.trailing_slash:
            return await self._in_slow(self._reader.reply, exchange)
        # A few system calls on names and pages that are mostly in memory take 20 µs, a thread and
        # back 200 µs (measured on two cores); nginx, too, opens files in its loop.
        return self._reader.reply(exchange)

    async def _in_slow(self, answer: Callable[[Exchange], Reply], exchange: Exchange) -> Reply:
        return await in_thread(self._slow_pool, answer, exchange)

    def _allowed(self) -> tuple[str, ...]:
        return _READ_METHODS if self.options.read_only else _READ_METHODS + _WRITE_METHODS

    def _options(self) -> Reply:
        headers = {"Allow": ", ".join(self._allowed()), "Accept-Ranges": "bytes"}
        if not self.options.read_only:
            headers["Accept-Patch"] = PATCH_TYPE
            headers["DAV"] = "sabredav-partialupdate"
            # RFC 9110 14.5 leaves the announcement of partial PUT to private agreement.
            headers["X-Accept-Partial-Put"] = "bytes"
        if self._resumer is not None:
            headers |= self._resumer.limits()
        return Reply(204, headers)

    async def _control(self, exchange: Exchange) -> Reply:
        """``/.netcache/faults``: GET shows the plan, PUT replaces it, DELETE clears it."""
        match exchange.method:
            case "GET":
                text = self.faults.plan.to_json().encode("utf-8")
                return Reply(200, {"Content-Type": "application/json"}, text)
            case "DELETE":
                self.faults.clear()
                return Reply(204)
            case "PUT":
                body = await exchange.request.content.read(_MAX_PLAN_BYTES + 1)
                while more := await exchange.request.content.readany():
                    body += more
                    if len(body) > _MAX_PLAN_BYTES:
                        raise HttpProblem(413, close=True)
                try:
                    self.faults.set(FaultPlan.from_json(body))
                except FaultPlanError as error:
                    raise HttpProblem(400, str(error)) from None
                return Reply(204)
        raise HttpProblem(405, headers={"Allow": "GET, PUT, DELETE"})


def _os_problem(error: OSError, method: str) -> HttpProblem:
    if isinstance(error, NotAFolderError):
        if method in _READ_METHODS or method == "DELETE":
            return HttpProblem(404)
        return HttpProblem(409, "a file stands where a folder is needed")
    if isinstance(error, ForbiddenPathError):
        return HttpProblem(403, str(error))
    status = _ERRNO_STATUS.get(error.errno or 0)
    if status == 414 and method in _READ_METHODS:
        status = 404  # nothing can have such a name, so it is simply not there
    if status is None:
        _logger.error("%s failed: %s", method, error)
        status = 500
    return HttpProblem(status)
