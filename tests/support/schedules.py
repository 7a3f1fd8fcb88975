"""Schedules: an event loop that runs what is ready in an order drawn from a seed.

Rules:

1. A *lane* is what keeps its order: the steps of one task, the steps of one piece of work for a
   worker thread, and all plain callbacks together (they are promised to run first in, first out).
   Whenever several lanes have something ready, the seed says which goes on.
2. Time is virtual.  It moves on when nothing is ready, or, now and then, to a timer that is near:
   as if what is ready were slow.
3. Work for worker threads is one step of a lane of its own.  Work that is cancelled before its
   step may be done all the same, as a thread does what it has begun.
4. Nothing ready and no timer is a deadlock; a schedule of more than ``STEPS_MAX`` steps does not
   end.  Both are errors that name the seed.

There is no input and no output: for servers in memory only.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from asyncio import base_events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STEPS_MAX = 200_000
NEAR_S = 1.0
"""How far a timer may be away that is let run out while something is ready."""
_EARLY = 1 / 64


class StuckError(AssertionError):
    """A schedule that cannot go on, or does not end."""


class _Work:
    """A piece of work for a worker thread."""

    def __init__(self, loop: ScheduledLoop, work: Callable[[], Any], *, begun: bool) -> None:
        self._work = work
        self._begun = begun
        self.future: asyncio.Future[Any] = loop.create_future()

    def step(self) -> None:
        """Do it."""
        if self.future.cancelled() and not self._begun:
            return
        try:
            result = self._work()
        except BaseException as error:
            if not self.future.cancelled():
                self.future.set_exception(error)
        else:
            if not self.future.cancelled():
                self.future.set_result(result)


class ScheduledLoop(base_events.BaseEventLoop):
    """A loop whose order is drawn from ``seed``; 0 is the usual order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.steps = 0
        self._now_s = 1000.0
        self._rng = random.Random(seed)
        self._scheduled: list[Any]
        self._ready: Any
        self._stopping: bool
        self._enough: Callable[[], bool] | None = None

    def time(self) -> float:
        """Virtual seconds."""
        return self._now_s

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        """Nobody is asleep who had to be woken."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Let ``func(*args)`` be a step of its own."""
        del executor
        begun = bool(self.seed) and self._rng.random() < 0.5
        work = _Work(self, lambda: func(*args), begun=begun)
        self.call_soon(work.step)
        return work.future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    def _run_once(self) -> None:
        """One step: called by ``run_forever`` until the loop is stopped."""
        if self._enough is not None and (not self._ready or self._enough()):
            self._stopping = True
            return
        self._let_time_pass()
        if not self._ready:
            if self._stopping:
                return
            raise StuckError(f"deadlock in schedule {self.seed}: {_waiting(self)}")
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise StuckError(f"schedule {self.seed} does not end: {_waiting(self)}")
        handle = self._choose()
        if not handle._cancelled:
            handle._run()

    def run_ready(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Go on until ``enough()``, or until nothing is ready; that is no deadlock then."""
        self._enough = enough
        try:
            self.run_forever()
        finally:
            self._enough = None

    def _let_time_pass(self) -> None:
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not timers:
            return
        if self._ready:
            near = timers[0].when() - self._now_s < NEAR_S
            if not (self.seed and near and self._rng.random() < _EARLY):
                return
        self._now_s = max(self._now_s, timers[0].when())
        while timers and timers[0].when() <= self._now_s:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            if not handle._cancelled:
                self._ready.append(handle)

    def _choose(self) -> Any:
        """The first handle of one of the lanes that have any."""
        ready = self._ready
        if not self.seed or len(ready) == 1:
            return ready.popleft()
        firsts: dict[object, int] = {}
        for place, handle in enumerate(ready):
            firsts.setdefault(_lane(handle), place)
        place = self._rng.choice(list(firsts.values()))
        handle = ready[place]
        del ready[place]
        return handle

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled timers go when their time comes."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""


def _lane(handle: Any) -> object:
    owner = getattr(handle._callback, "__self__", None)
    return owner if isinstance(owner, asyncio.Task | _Work) else None


def _waiting(loop: ScheduledLoop) -> str:
    return "; ".join(_place(task) for task in asyncio.all_tasks(loop)) or "no task"


def _place(task: asyncio.Task[Any]) -> str:
    stack = task.get_stack()
    at = f"{stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else "nowhere"
    return f"{task.get_name()} at {at}"


def run_scheduled(work: Callable[[], Coroutine[Any, Any, T]], seed: int) -> T:
    """Run ``work()`` by the schedule ``seed``; in the end no task may be left.

    Raises ``StuckError``, and whatever the loop was told of that nobody caught.
    """
    loop = ScheduledLoop(seed)
    unheard: list[str] = []
    loop.set_exception_handler(lambda _, context: unheard.append(_told(context)))
    asyncio.set_event_loop(loop)
    try:
        result = loop.run_until_complete(work())
        loop.run_ready()
        left = [_place(task) for task in asyncio.all_tasks(loop)]
        assert not left, f"tasks left by schedule {seed}: {left}"
        assert not unheard, f"errors that nobody heard of in schedule {seed}: {unheard}"
        return result
    finally:
        _end(loop)
        asyncio.set_event_loop(None)


def _told(context: dict[str, Any]) -> str:
    return f"{context.get('message')}: {context.get('exception')!r}"


def _end(loop: ScheduledLoop) -> None:
    """Close the loop, whatever is still alive on it."""
    loop.set_exception_handler(lambda _, __: None)
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        with contextlib.suppress(StuckError):
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
