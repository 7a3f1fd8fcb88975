"""Servers for tests, demos and scripts that have no event loop: in a thread, or in a process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from netcache_server.faults import FaultPlan, FaultRule
from netcache_server.options import LogRecord, ServerOptions
from netcache_server.runner import ObjectServer

Result = TypeVar("Result")
_START_S = 30.0
_STOP_S = 20.0


class ServerThread:
    """An ``ObjectServer`` on a loop of its own, in a thread; a context manager.

    Its methods may be called from any thread.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._server = ObjectServer(options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="netcache-server-loop", daemon=True
        )
        self._stopped = False

    def start(self) -> None:
        """Start it; returns when it listens.  Raises what ``ObjectServer.start`` raises."""
        self._thread.start()
        try:
            self._run(self._server.start)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it; returns when its thread has ended.  Calling it again does nothing."""
        if self._stopped:
            return
        self._stopped = True
        if self._thread.is_alive():
            self._run(self._server.stop)
            self._run(self._loop.shutdown_default_executor)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_S)
        self._loop.close()

    def _run(self, function: Callable[[], Awaitable[Result]]) -> Result:
        async def call() -> Result:
            return await function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_START_S)

    @property
    def url(self) -> str:
        """The URL of the served folder; it ends in a slash."""
        return self._server.url

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.port

    @property
    def requests(self) -> list[LogRecord]:
        """The records of the requests that are finished (with ``log="memory"``).

        A client that has the whole answer of a request finds its record here.
        """
        return self._server.requests

    def clear_log(self) -> None:
        """Forget the records (with ``log="memory"``)."""
        self._server.clear_log()

    def set_faults(self, plan: FaultPlan | Iterable[FaultRule] | None = None) -> None:
        """Put these faults in force from the next request on; ``None`` for no faults."""
        self._server.faults.set(plan)

    def close_listener(self) -> None:
        """Refuse new connections; those that exist go on."""
        self._run(self._server.close_listener)

    def open_listener(self) -> None:
        """Listen again, on the same port."""
        self._run(self._server.open_listener)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class ServerProcess:
    """``python -m netcache_server`` with arguments, as a process of its own; a context manager.

    ``arguments`` are those of the command line, the folder first.  For tests that kill the
    server, measure its memory, or need its work off their own interpreter.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._arguments = arguments
        self._environment = dict(os.environ if environment is None else environment)
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.url.rstrip("/").rpartition(":")[2])

    def start(self) -> None:
        """Start it; returns when its URL is known.  Raises ``RuntimeError`` if that fails."""
        # The package may be imported from a source tree that the new interpreter does not know.
        package_parent = str(Path(__file__).resolve().parent.parent)
        inherited = self._environment.get("PYTHONPATH")
        paths = [package_parent, *([inherited] if inherited else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "netcache_server", *self._arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self.stop()
            raise RuntimeError("the server did not start")

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int | None:
        """End it as a user would (SIGTERM); gives its exit status."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return status

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
