"""Commands that are forked from one process, instead of being started each."""

from __future__ import annotations

import array
import atexit
import contextlib
import functools
import marshal
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.command_stem import MESSAGE_MAX
from tests.support.samples import ALL

ROOT = Path(__file__).parents[2]
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
"""Variables that count when an interpreter starts."""
PIPE_ROOM = 65536


class Forks:
    """One process to fork commands from; ``start`` are the variables that it is started with."""

    def __init__(self, start: Mapping[str, str]) -> None:
        self._asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with asked:
            self._stem = subprocess.Popen(
                [sys.executable, "-m", "tests.support.command_stem", str(asked.fileno())],
                cwd=ROOT,
                env=dict(start),
                pass_fds=[asked.fileno()],
                # Pipes, as those of each command will be: Python asks only once what they are.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )

    def close(self) -> None:
        """End the process."""
        self._asking.close()
        self._stem.communicate(timeout=30)

    def run(
        self,
        args: Sequence[str],
        *,
        stdin: bytes,
        cwd: Path,
        environ: Mapping[str, str],
        timeout_s: float,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `netcache` to its end.

        Raises `subprocess.TimeoutExpired` when it took too long and was killed.
        """
        words = list(map(os.fsencode, args))
        message = marshal.dumps((words, os.fspath(cwd), dict(environ), _umask()))
        assert len(message) < MESSAGE_MAX
        with contextlib.ExitStack() as stack:
            out, err, answer = self._fork(message, stdin)
            for descriptor in (out, err, answer):
                stack.callback(os.close, descriptor)
            told = {out: b"", err: b"", answer: b""}
            ended = _read_to_the_end(told, timeout_s)
            if not told[answer]:
                last = self._stem.communicate(timeout=30)[1].decode()
                raise RuntimeError(f"there is nothing to fork commands from: {last}")
            process, *code = array.array("i", told[answer])
            if not ended:
                os.kill(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["netcache", *args], timeout_s)
        return subprocess.CompletedProcess(args, code[0], told[out], told[err])

    def _fork(self, message: bytes, stdin: bytes) -> list[int]:
        """Ask for it; returns where stdout, stderr and the answer are to be read."""
        with contextlib.ExitStack() as stack:
            input_end, start = os.pipe()
            stack.callback(os.close, input_end)
            with open(start, "wb", buffering=0) as writer:
                writer.write(stdin)
            pipes = [os.pipe() for _ in range(3)]
            for _, start in pipes:
                stack.callback(os.close, start)
            # Where there is nobody to fork it, the pipes end at once.
            with contextlib.suppress(BrokenPipeError):
                socket.send_fds(self._asking, [message], [input_end, *(end for _, end in pipes)])
        return [end for end, _ in pipes]


def forks_for(usual: Mapping[str, str], environ: Mapping[str, str], stdin: bytes) -> Forks | None:
    """Where to fork a command, or None where that would not be the same as starting it.

    ``usual``: the environment that most commands have.  In the long runs nothing is the same.
    """
    start = read_at_start(usual)
    if ALL or len(stdin) > PIPE_ROOM or read_at_start(environ) != start:
        return None
    return _forks(tuple(sorted(start.items())))


def read_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """What of these variables counts when an interpreter starts."""
    return {name: text for name, text in environ.items() if name.startswith(READ_AT_START)}


@functools.cache
def _forks(start: tuple[tuple[str, str], ...]) -> Forks:
    made = Forks(dict(start))
    atexit.register(made.close)
    return made


def _umask() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("Umask:")[2].split()[0], 8)


def _read_to_the_end(told: dict[int, bytes], timeout_s: float) -> bool:
    """Read all of these descriptors until nobody can write there; whether that came in time."""
    ends_at = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for descriptor in told:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, ends_at - time.monotonic()))
            if not ready:
                return False
            for key, _ in ready:
                data = os.read(key.fd, PIPE_ROOM)
                told[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    return True
