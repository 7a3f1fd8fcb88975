"""The portal: how synchronous callers run coroutines on their client's own event loop.

One thread and one loop for each client, started by the first call that needs the network and
stopped by ``close``.  Never a process-wide loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar, cast

from netcache.errors import ClosedError

T = TypeVar("T")

_CANCEL_WAIT_S = 10.0

_LOOK_S = 0.1
"""How often a waiting thread looks whether it was interrupted.  Python notes a signal and acts on
it between two bytecodes; one that comes after the last of them, or to another thread of the
process, does not wake who waits for a lock, and Ctrl-C would be lost until the work ends."""


class Portal:
    """A loop in a thread.  ``run`` from any other thread; ``close`` once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="netcache-portal", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the loop and return its result; blocks.

        An interrupt (Ctrl-C) while it waits cancels the work, waits for it to end, and goes on up.
        """
        if self._closed or threading.current_thread() is self._thread:
            work.close()
            raise ClosedError("the client is closed, or was called from its own event loop")
        call = _Call(work)
        try:
            self._loop.call_soon_threadsafe(call.begin)
            while not call.ended.acquire(timeout=_LOOK_S):
                pass
        except (KeyboardInterrupt, SystemExit):
            # (Where it has ended, the lock may be ours already.)
            if not call.has_ended:
                self._loop.call_soon_threadsafe(call.cancel)
                call.ended.acquire(timeout=_CANCEL_WAIT_S)
            raise
        return call.result()

    def close(self) -> None:
        """Stop the loop and join the thread.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class _Call(Generic[T]):
    """A coroutine that runs on the loop while a thread waits for the lock ``ended``.

    ``run_coroutine_threadsafe`` would do, with two futures, four more callbacks and two conditions:
    on a read that goes to the server at once, a tenth of what that costs here.
    """

    __slots__ = ("_error", "_task", "_value", "_work", "ended", "has_ended")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.ended = threading.Lock()
        self.ended.acquire()
        self.has_ended = False
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._value: T | None = None
        self._error: BaseException | None = None

    def begin(self) -> None:
        """On the loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def cancel(self) -> None:
        """On the loop."""
        if self._task is not None:
            self._task.cancel()
        else:
            # The interrupt was there before it could begin.
            self._work.close()
            self.ended.release()

    async def _run(self) -> None:
        try:
            self._value = await self._work
        except BaseException as error:
            # It is the caller's, whatever it is, and not the loop's.
            self._error = error
        finally:
            self.has_ended = True
            self.ended.release()

    def result(self) -> T:
        """What came of it, when it has ended."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                # Its traceback would keep this one, and with it the error.
                self._error = None
        return cast("T", self._value)
