"""Where the demo plays: a temporary folder, a server on it, and the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from netcache_cli.demo.tale import Tale

_START_LIMIT_S = 20.0
_COMMAND_LIMIT_S = 120.0


class Ran(NamedTuple):
    """A command that has run."""

    code: int
    out: str
    err: str
    seconds: float


class Stage:
    """The folder, the server and the commands.  Leaves nothing behind, however it ends."""

    def __init__(self, tale: Tale) -> None:
        self.tale = tale
        self.home = Path(tempfile.mkdtemp(prefix="netcache-demo-"))
        self.www = self.home / "www"
        self.cache = self.home / "cache"
        self.log = RequestLog(self.home / "requests.jsonl")
        self.url = ""
        self._server: subprocess.Popen[str] | None = None
        self._environ = dict(os.environ)

    def __enter__(self) -> Self:
        self.www.mkdir()
        for name in [name for name in os.environ if name.startswith("NETCACHE_")]:
            del os.environ[name]
        os.environ["NETCACHE_CACHE_DIR"] = str(self.cache)
        os.environ["XDG_CONFIG_HOME"] = str(self.home / "config")
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = "127.0.0.1"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_server()
        os.environ.clear()
        os.environ.update(self._environ)
        shutil.rmtree(self.home, ignore_errors=True)

    # The server.

    def start_server(self) -> None:
        """Start `netcache serve` and wait for its URL."""
        self.tale.command("netcache serve www --log requests.jsonl")
        self._server = subprocess.Popen(
            _command("serve", "www", "--log", str(self.log.path)),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert self._server.stdout is not None
        self.url = self._server.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the server did not start")
        self.tale.shows([self.url])

    def stop_server(self) -> None:
        """Stop it, if it runs."""
        server, self._server = self._server, None
        if server is None:
            return
        server.terminate()
        try:
            server.wait(_START_LIMIT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()

    # Commands.

    def run(self, *args: str, show: bool = True) -> Ran:
        """Run `netcache ARGS` in the folder, show it and what it printed."""
        self.tale.command("netcache " + " ".join(args))
        begun = time.monotonic()
        done = subprocess.run(
            _command(*args),
            cwd=self.home,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_LIMIT_S,
            check=False,
        )
        seconds = time.monotonic() - begun
        if show:
            self.tale.shows((done.stdout + done.stderr).splitlines())
        elif done.returncode:
            self.tale.shows(done.stderr.splitlines())
        return Ran(done.returncode, done.stdout, done.stderr, seconds)

    def begin(self, *args: str) -> subprocess.Popen[bytes]:
        """Start `netcache ARGS` and go on."""
        self.tale.command("netcache " + " ".join(args))
        return subprocess.Popen(
            _command(*args),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _command(*args: str) -> list[str]:
    return [sys.executable, "-m", "netcache_cli", *args]


class RequestLog:
    """The server's own log: what it was asked, and what it sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = 0

    def new_records(self) -> list[dict[str, Any]]:
        """The requests since this was asked last."""
        try:
            lines = self.path.read_text().splitlines()
        except FileNotFoundError:
            return []
        fresh, self._seen = lines[self._seen :], len(lines)
        return [json.loads(line) for line in fresh]

    def forget(self) -> None:
        """Pass over what was logged so far."""
        self.new_records()


def sent_bytes(records: list[dict[str, Any]]) -> int:
    """How many bytes of bodies the server sent for these requests."""
    return sum(int(record.get("bytes_sent") or 0) for record in records)
