"""Workers on one cache, as processes: started, listened to, and killed."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.support.crash_worker import TASKS, Told, promised
from tests.support.stores import Sync

ROOT = Path(__file__).parents[2]


class Workers:
    """One process a task.  ``lines`` is what each has said, as far as it was heard."""

    def __init__(
        self, directory: Path, *, seed: int, sync: Sync, block: int = 0, first: int = 0
    ) -> None:
        self.lines: dict[str, list[str]] = {task: [] for task in TASKS}
        self._rest = dict.fromkeys(TASKS, b"")
        self._selector = selectors.DefaultSelector()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for task in TASKS:
            words = [str(directory), task, str(seed), sync, str(block), str(first)]
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.crash_worker", *words],
                cwd=ROOT,
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            self._running[task] = process
            self._selector.register(process.stdout, selectors.EVENT_READ, task)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in list(self._running):
            self.kill(task)
        self._selector.close()

    def hear(self) -> dict[str, list[str]]:
        """All that was said up to now, without waiting."""
        while any(self._read(str(key.data)) for key, _ in self._selector.select(0)):
            continue
        return {task: list(lines) for task, lines in self.lines.items()}

    def hear_more(self, count: int) -> None:
        """Wait until every living worker has said ``count`` lines more."""
        wanted = {task: len(self.lines[task]) + count for task in self._running}
        while any(len(self.lines[task]) < wanted[task] for task in self._running):
            for key, _ in self._selector.select():
                task = str(key.data)
                if not self._read(task):
                    raise AssertionError(f"the worker {task} ended by itself")

    def _read(self, task: str) -> bool:
        process = self._running[task]
        assert process.stdout is not None
        try:
            text = os.read(process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return False
        *whole, self._rest[task] = (self._rest[task] + text).split(b"\n")
        self.lines[task] += [line.decode() for line in whole]
        return bool(text)

    def kill(self, task: str) -> None:
        """``kill -9``; what it had said by then is heard."""
        process = self._running[task]
        assert process.stdout is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        while self._read(task):
            continue
        self._selector.unregister(process.stdout)
        process.stdout.close()
        del self._running[task]
        assert process.returncode == -signal.SIGKILL

    def told(
        self, task: str, before: dict[str, list[str]], after: dict[str, list[str]]
    ) -> Told | None:
        """What must be there of a task's object in a state from between two moments."""
        return promised(task, before[task], after[task][len(before[task]) :])
