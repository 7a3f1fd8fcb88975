"""The command line as a user runs it: as a process, in a pipe or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.command_forks import forks_for

LIMIT_S = 60.0


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Stdout as text."""
        return self.out.decode()

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.text.splitlines()

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on stderr."""
        (line,) = self.err.splitlines()
        return line


class Commands:
    """Runs `netcache` with a cache, a config and a current folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cache = home / "cache"
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(
                ("NETCACHE_", "XDG_", "_NETCACHE", "http", "HTTP", "NO_", "COLUMNS", "LINES")
            )
        }
        self.environ |= {
            "HOME": str(home),
            "NETCACHE_CACHE_DIR": str(self.cache),
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }

    def __call__(
        self, *args: object, stdin: bytes = b"", cwd: Path | None = None, **environ: str
    ) -> Ran:
        """Run it to its end: forked where that is the same, see `command_stem`."""
        variables = self.environ | environ
        where = cwd or self.home
        if forks := forks_for(self.environ, variables, stdin):
            words = self.line(*args)[3:]
            done = forks.run(words, stdin=stdin, cwd=where, environ=variables, timeout_s=LIMIT_S)
        else:
            done = subprocess.run(
                self.line(*args),
                input=stdin,
                capture_output=True,
                cwd=where,
                env=variables,
                timeout=LIMIT_S,
                check=False,
            )
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    @contextlib.contextmanager
    def started(self, *args: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """Start it; whatever is left of it at the end is killed."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        options.setdefault("stdin", subprocess.DEVNULL)
        with subprocess.Popen(
            self.line(*args), cwd=self.home, env=self.environ, **options
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def on_terminal(
        self,
        *args: object,
        columns: int = 80,
        answer: tuple[bytes, bytes] | None = None,
        **environ: str,
    ) -> Ran:
        """Run it on a terminal of its own; all that appears there is in `out`.

        `answer`: when the first text has appeared, type the second.
        """
        primary, secondary = pty.openpty()
        fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        seen: list[bytes] = []
        reader = threading.Thread(target=_drain, args=(primary, seen, answer))
        try:
            process = subprocess.Popen(
                self.line(*args),
                stdin=secondary,
                stdout=secondary,
                stderr=secondary,
                cwd=self.home,
                env=self.environ | environ,
                start_new_session=True,
                preexec_fn=_take_terminal,
            )
        finally:
            os.close(secondary)
        reader.start()
        try:
            code = process.wait(LIMIT_S)
        finally:
            process.kill()
            process.wait()
            reader.join(LIMIT_S)
            os.close(primary)
        return Ran(code, b"".join(seen), "")

    def line(self, *args: object) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "netcache_cli", *(os.fspath(_plain(arg)) for arg in args)]


def _plain(arg: object) -> str | os.PathLike[str]:
    return arg if isinstance(arg, str | os.PathLike) else str(arg)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _drain(descriptor: int, seen: list[bytes], answer: tuple[bytes, bytes] | None) -> None:
    # A terminal whose other end is closed answers EIO.
    with contextlib.suppress(OSError):
        while data := os.read(descriptor, 65536):
            seen.append(data)
            if answer is not None and answer[0] in b"".join(seen):
                os.write(descriptor, answer[1])
                answer = None
