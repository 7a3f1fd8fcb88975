"""Runs the stress test: real processes on one cache and one bundled server, some of them killed.

All processes are forks of this one, which therefore never has a second thread.  A worker says what
it begins and what it has done, a line each; whoever is silent for too long is stuck.
"""

from __future__ import annotations

import http.client
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.stress.book import note_changes
from tests.stress.final import check_end
from tests.stress.plan import Outcome, Place, Plan
from tests.stress.worker import TIMEOUT_S, work

SILENT_S = 3 * TIMEOUT_S
_FAULTS_MAX = 20


class Child:
    """A forked process: ``lines`` come from it, and closing ``stop`` ends it."""

    def __init__(self, forget: list[int], body: Callable[[int, int], None]) -> None:
        self.lines, out = os.pipe()
        stopped, self.stop = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for fd in [*forget, self.lines, self.stop]:
                os.close(fd)
            _run_and_exit(lambda: body(out, stopped))
        os.close(out)
        os.close(stopped)
        self.heard_s = time.monotonic()
        self.doing = "starting"
        self._rest = b""

    @property
    def fds(self) -> list[int]:
        """What other children must not hold."""
        return [fd for fd in (self.lines, self.stop) if fd >= 0]

    def hear(self) -> list[str]:
        """What was said; nothing when it has ended."""
        text = os.read(self.lines, 1 << 16)
        self.heard_s = time.monotonic()
        *whole, self._rest = (self._rest + text).split(b"\n")
        return [line.decode() for line in whole] if text else []

    def finish(self) -> None:
        """Ask it to end."""
        if self.stop >= 0:
            os.close(self.stop)
            self.stop = -1

    def kill(self) -> None:
        """``kill -9``."""
        os.kill(self.pid, signal.SIGKILL)

    def ask_where(self) -> None:
        """Have it tell, on stderr, what it is doing."""
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(self.pid, number)
            select.select([self.lines], [], [], 1.0)

    def wait(self) -> int:
        """Wait for its end; returns its exit status."""
        self.finish()
        os.close(self.lines)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _run_and_exit(body: Callable[[], None]) -> None:
    status = 1
    try:
        body()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def serve(place: Place, out: int, stop: int) -> None:
    """Be the server until told to stop; the first line is the URL."""
    from netcache_server import ServerOptions, ServerThread

    note_changes(place.book)
    with ServerThread(ServerOptions(root=place.served, fsync=False, log=place.requests)) as server:
        os.write(out, server.url.encode() + b"\n")
        select.select([stop], [], [])


class Rig:
    """A run."""

    def __init__(self, plan: Plan, root: Path) -> None:
        # What each child would import is imported once, here.
        import netcache._client.operations
        import netcache._client.remote
        import netcache.backends.http  # noqa: F401

        self.plan, self.outcome = plan, Outcome()
        self.chance = random.Random(f"{plan.seed} rig")
        place = Place(root, "")
        for folder in (place.served, place.book, root / "tmp"):
            folder.mkdir()
        place.flushed.touch()
        self.server = Child([], lambda out, stop: serve(place, out, stop))
        (url,) = self.server.hear()
        self.place = Place(root, url)
        self.lives = [0] * plan.processes
        self.workers: dict[int, Child] = {}

    def run(self) -> Outcome:
        """All of it."""
        began_s = time.monotonic()
        try:
            self._plant()
            for number in range(self.plan.processes):
                self._start(number)
            self._work(began_s + self.plan.seconds)
            self._end()
            if not self.outcome.faults:
                check_end(self.plan, self.place, self.outcome)
        finally:
            for child in self.workers.values():
                child.kill()
                child.wait()
            self.server.finish()
            self.server.wait()
        self.outcome.seconds = time.monotonic() - began_s
        return self.outcome

    def _plant(self) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.place.url).netloc, timeout=30)
        for number in range(self.plan.names):
            factor = 8 if number == 0 else 1
            data = self.chance.randbytes(self.chance.randrange(1, self.plan.largest) * factor)
            connection.request("PUT", f"/r{number}", data)
            connection.getresponse().read()
        connection.close()

    def _start(self, number: int) -> None:
        life, self.lives[number] = self.lives[number], self.lives[number] + 1
        who = f"p{number}.{life}"
        others = [self.server, *self.workers.values()]
        self.workers[number] = Child(
            [fd for child in others for fd in child.fds],
            lambda out, stop: work(self.plan, self.place, who, out, stop),
        )

    def _work(self, until_s: float) -> None:
        """Listen, kill now and then, until enough was done."""
        plan, outcome = self.plan, self.outcome
        next_kill = self._next_kill()
        while outcome.ops < plan.ops and time.monotonic() < until_s:
            if len(outcome.faults) >= _FAULTS_MAX or not self._listen():
                return
            if next_kill and outcome.ops >= next_kill:
                next_kill = outcome.ops + self._next_kill()
                number = self.chance.randrange(plan.processes)
                self.workers[number].kill()
                self.workers.pop(number).wait()
                outcome.kills += 1
                self._start(number)

    def _next_kill(self) -> int:
        return self.chance.randrange(1, 2 * self.plan.kill_every) if self.plan.kill_every else 0

    def _listen(self) -> bool:
        """Take what was said; False when a worker is stuck, or has ended by itself."""
        by_fd = {child.lines: number for number, child in self.workers.items()}
        for fd in select.select(list(by_fd), [], [], SILENT_S)[0]:
            number = by_fd[fd]
            lines = self.workers[number].hear()
            if not lines:
                self.outcome.faults.append(f"process {number} ended by itself")
                return False
            for line in lines:
                self._take(number, line)
        for number, child in self.workers.items():
            if time.monotonic() - child.heard_s > SILENT_S:
                self.outcome.faults.append(f"process {number} is stuck in {child.doing}")
                child.ask_where()
                return False
        return True

    def _take(self, number: int, line: str) -> None:
        kind, _, what = line.partition(" ")
        self.workers[number].doing = what
        if kind == "done":
            self.outcome.done[what] += 1
        elif kind == "fault":
            self.outcome.faults.append(what)

    def _end(self) -> None:
        """Let all workers end by themselves; none may need long for that."""
        for child in self.workers.values():
            child.finish()
        while self.workers:
            waiting = {child.lines: number for number, child in self.workers.items()}
            ready = select.select(list(waiting), [], [], SILENT_S)[0]
            if not ready:
                stuck = {number: child.doing for number, child in self.workers.items()}
                self.outcome.faults.append(f"these do not end: {stuck}")
                for child in self.workers.values():
                    child.ask_where()
                return
            for fd in ready:
                number = waiting[fd]
                lines = self.workers[number].hear()
                for line in lines:
                    self._take(number, line)
                if not lines and (status := self.workers.pop(number).wait()):
                    self.outcome.faults.append(f"process {number} ended with status {status}")
