"""The portal: how synchronous callers run coroutines on their client's own event loop.

One thread and one loop for each client, started by the first call that needs the network and
stopped by ``close``.  Never a process-wide loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from netcache.errors import ClosedError

T = TypeVar("T")

_CANCEL_WAIT_S = 10.0


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
        ended = threading.Event()
        tasks: list[asyncio.Task[T]] = []

        async def watched() -> T:
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(watched(), self._loop)
        try:
            return future.result()
        except (KeyboardInterrupt, SystemExit):
            for task in tasks:
                self._loop.call_soon_threadsafe(task.cancel)
            if tasks:
                ended.wait(_CANCEL_WAIT_S)
            raise

    def close(self) -> None:
        """Stop the loop and join the thread.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
