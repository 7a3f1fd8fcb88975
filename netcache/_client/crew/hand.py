"""A hand, as the process that started it sees it: another process that brings small files for it.

Rules:

1. Nobody waits for its start: it is given work only when it has said that it is ready.
2. What it has not answered when it ends, however it ends, goes back to whoever ordered it.
3. One that is given work and says nothing for the timeout, not even that it is alive, is given up:
   it was stopped, or hangs.  (One that waits for a server goes on saying so.)
4. Nothing of it is left when ``end`` returns: neither a process nor a zombie.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from netcache._client.crew.channel import Channel
from netcache._client.crew.messages import (
    BEATS,
    Begin,
    Counted,
    Credentials,
    Done,
    Failed,
    Logged,
    Message,
    Order,
    Ready,
    Returned,
    Warned,
    beat_s,
)

if TYPE_CHECKING:
    from netcache._client.local import LocalHalf
    from netcache._client.trees.folders import Job
    from netcache.spi import ResourceInfo

_MODULE = "netcache._client.crew.at_work"

ENDING_S = 5.0
"""A hand that takes longer to end is killed: as safe, but its counters are lost."""

SILENT_BEATS_MAX = BEATS - 2
"""After so many beats without a word from it a hand is given up, within the timeout.

Beats are counted, not time: when both were stopped and go on, what it says comes in time."""

WAITING_MAX = 32
"""At most so many files wait in a hand."""

_logger = logging.getLogger("netcache.crew")

OnAnswer = Callable[["Job", Done | Failed | None], None]
"""Called with what became of a file; None: it is to be brought by somebody else."""


class Hand:
    """One hand of a crew, with ``in_flight`` files at a time, as a client with so many
    ``transfers`` has them.  On the client's loop."""

    def __init__(
        self, local: LocalHalf, transfers: int, in_flight: int, on_answer: OnAnswer
    ) -> None:
        self.in_flight = in_flight
        self.is_gone = False
        self._is_dismissed = False
        self.ordered = 0
        # Set when it will say nothing more.
        self.has_ended = asyncio.Event()
        self._transfers = transfers
        self._local = local
        self._on_answer = on_answer
        self._jobs: dict[int, Job] = {}
        self._waiting_max = in_flight
        self._is_ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(self._take, self._gone)
        # Those of the client, which may gain some at any time, and those that the hand knows.
        self._credentials: dict[str, tuple[str, str]] = {}
        self._told: dict[str, tuple[str, str]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._beat_s = beat_s(local.options)
        self._silent_beats = 0
        self._next_beat: asyncio.TimerHandle | None = None

    async def start(self, credentials: dict[str, tuple[str, str]]) -> None:
        """Start the process; returns when it is ready, or gone.  Raises ``OSError``."""
        level = max(logging.INFO, _logger.getEffectiveLevel())
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _started(theirs)
            await self._channel.open(ours)
        except BaseException:
            ours.close()
            raise
        self._credentials, self._told = credentials, dict(credentials)
        options = self._local.options._replace(transfers=self._transfers)
        self._channel.send(Begin(options, self._told, self.in_flight, level))
        await self._is_ready.wait()

    # Work.

    @property
    def room(self) -> int:
        """How many files more it can be given now, so that none of them waits long."""
        if self.is_gone or self._is_dismissed or not self._is_ready.is_set():
            return 0
        return self.in_flight + self._waiting_max - len(self._jobs)

    def order(self, job: Job, info: ResourceInfo, path: str) -> None:
        """Have it bring a file."""
        if self._told != self._credentials:
            self._told = dict(self._credentials)
            self._channel.send(Credentials(self._told))
        self.ordered += 1
        self._jobs[self.ordered] = job
        self._channel.send(Order(self.ordered, info, path))

    def _take(self, messages: list[Message]) -> None:
        self._silent_beats = 0
        before = len(self._jobs)
        for message in messages:
            self._take_one(message)
        if answered := before - len(self._jobs):
            # It answers every few milliseconds: what it does in two such times may wait for it.
            self._waiting_max = min(WAITING_MAX, self.in_flight + 2 * answered)

    def _take_one(self, message: Message) -> None:
        if isinstance(message, Done | Failed):
            self._answer(message.number, message)
        elif isinstance(message, Returned):
            self._answer(message.number, None)
        elif isinstance(message, Ready):
            self._is_ready.set()
            self._beat()
        elif isinstance(message, Warned):
            self._local.warn(message.text)
        elif isinstance(message, Logged):
            logging.getLogger(message.logger).log(message.level, "%s", message.text)
        elif isinstance(message, Counted):
            self._local.stats.add_groups(message.groups)

    def _answer(self, number: int, what: Done | Failed | None) -> None:
        job = self._jobs.pop(number)
        self._on_answer(job, what)

    def _beat(self) -> None:
        """One beat is over; give it up when it has been silent for too many."""
        if self._silent_beats >= SILENT_BEATS_MAX and self._jobs:
            self._give_up()
            return
        self._silent_beats += 1
        self._next_beat = self._loop.call_later(self._beat_s, self._beat)

    def _give_up(self) -> None:
        _logger.debug("a hand says nothing any more, and is killed")
        assert self._process is not None
        self._process.kill()
        self._channel.abort()

    def _gone(self) -> None:
        """It will say nothing more."""
        _logger.debug("a hand has ended; %d files come back", len(self._jobs))
        self.is_gone = True
        if self._next_beat is not None:
            self._next_beat.cancel()
        for number in list(self._jobs):
            self._answer(number, None)
        self._is_ready.set()
        self.has_ended.set()

    # The end.

    def dismiss(self) -> None:
        """Have it drop what it is at, and end; what it had comes back when it has."""
        if self._is_ready.is_set() and not self.is_gone:
            self._is_dismissed = True
            self._channel.end()

    async def end(self) -> None:
        """Have it drop what it is at, take its counters, and see the process off."""
        process = self._process
        if process is None:
            return
        if self._is_ready.is_set() and not self.is_gone:
            self.dismiss()
            try:
                async with asyncio.timeout(ENDING_S):
                    await self.has_ended.wait()
            except TimeoutError:
                _logger.debug("a hand does not end, and is killed")
        self._channel.close()
        process.kill()
        await self._loop.run_in_executor(None, process.wait)


def _started(end: socket.socket) -> subprocess.Popen[bytes]:
    """The process, with its end of the channel as its input; takes a few milliseconds."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE],
        stdin=end.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environ(),
    )


def _environ() -> dict[str, str]:
    """This process's environment, with the places where it looks for modules."""
    paths = [path or os.getcwd() for path in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
