"""A hand at work: the program that is run by the other processes of a crew (see ``hand``).

It is the same client, told so over its standard input, and brings the files that it is told to.
When its input ends, or the process that began does, it drops what it is at, tells its counters, and
ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import socket

from netcache._client.core import ClientCore
from netcache._client.crew.channel import Channel
from netcache._client.crew.messages import (
    Alive,
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

_STDIN = 0

PARENT_S = 1.0
"""How often it looks whether the process that began is alive: a fork may have kept its sockets."""

ANSWER_S = 0.005
"""Answers of so long go together: each takes the other process as long to read as ten."""


class _HandCore(ClientCore):
    """A client's core for files alone: edits and saved counters are the other process's care."""

    def has_orphans(self) -> bool:
        """Nothing that it knows of."""
        return False

    def save_stats(self) -> None:
        """They are told to the other process."""


class _LogHandler(logging.Handler):
    """Sends the lines of the log to the other process."""

    def __init__(self, channel: Channel, level: int) -> None:
        super().__init__(level)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        self._channel.send(Logged(record.name, record.levelno, record.getMessage()))


class HandAtWork:
    """What a hand does."""

    def __init__(self) -> None:
        self._channel = Channel(self._take, self._stop, hold_s=ANSWER_S)
        self._core: _HandCore | None = None
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()

    async def work(self) -> None:
        """Work until the input ends."""
        await self._channel.open(socket.socket(fileno=os.dup(_STDIN)))
        await self._told_to_stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._core is not None:
            await self._core.close_remote()
            self._core.close_local()
            self._channel.send(Counted(self._core.stats.as_groups()))
        self._channel.close()
        await asyncio.sleep(0)

    async def _told_to_stop(self) -> None:
        parent = os.getppid()
        while not self._stopped.is_set() and os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PARENT_S):
                    await self._stopped.wait()

    def _stop(self) -> None:
        self._stopped.set()

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            if isinstance(message, Order):
                self._orders.put_nowait(message)
            elif isinstance(message, Begin):
                self._begin(message)
            elif isinstance(message, Credentials):
                assert self._core is not None
                self._core.remember(message.credentials)

    def _begin(self, begin: Begin) -> None:
        logger = logging.getLogger("netcache")
        logger.setLevel(begin.log_level)
        logger.addHandler(_LogHandler(self._channel, begin.log_level))
        self._core = _HandCore(begin.options, lambda text: self._channel.send(Warned(text)))
        self._core.remember(begin.credentials)
        # What the first file needs is imported before it comes: there will be many.
        _ = self._core.remote().engine
        self._tasks += (asyncio.create_task(self._fill()) for _ in range(begin.in_flight))
        self._tasks.append(asyncio.create_task(self._beat(beat_s(begin.options))))
        self._channel.send(Ready())
        self._channel.flush()

    async def _beat(self, every_s: float) -> None:
        """Say that it is alive."""
        while True:
            await asyncio.sleep(every_s)
            self._channel.send(Alive())

    async def _fill(self) -> None:
        """Bring one file after the other."""
        while True:
            self._channel.send(await self._brought(await self._orders.get()))

    async def _brought(self, order: Order) -> Done | Failed | Returned:
        """Bring a file; the answer."""
        assert self._core is not None
        told = 0

        def tell(count: int) -> None:
            nonlocal told
            told += count

        try:
            result = await self._core.remote().get_file(order.info, order.path, tell)
        except OSError as error:
            return failure(order.number, told, error)
        except Exception:
            # A bug: it is to show itself where somebody sees it.
            return Returned(order.number)
        return Done(order.number, told, result.size, result.fetched_bytes)


def failure(number: int, told_bytes: int, error: OSError) -> Failed | Returned:
    """How an error is answered: as itself; one that cannot travel is to happen anew over there."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return Returned(number)
    return Failed(number, told_bytes, error)


async def _main() -> None:
    await HandAtWork().work()


if __name__ == "__main__":
    # The terminal sends it to all at once; the process that began tells its hands to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_main())
    os._exit(0)
