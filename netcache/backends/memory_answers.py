"""How a ``MemoryServer`` answers: at once, later, or with an error; for tests and experiments.

Rules:

1. Without an order every request is answered at once.
2. An order is for a verb (``read``, ``body``, ``stat``, ``list``, ``learn``, ``put``, ``update``,
   ``delete``, ``move``, ``make_folder``; ``*`` is all of them) and its next ``count`` requests; of
   several orders that fit, the oldest counts.
3. An order acts before the request is done, or with ``after`` between its doing and its reply: an
   error then is a reply that was lost.  ``body`` is one piece of a body on its way to the sink;
   with ``after`` it is there, and the body goes on, or ends, behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Answers", "Held"]

_WITHOUT_END = 1 << 62


class Held:
    """A request that waits for its answer: ``arrived`` tells that it has come."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self._going_on = asyncio.Event()
        self._error: Exception | None = None

    def release(self, error: Exception | None = None) -> None:
        """Let all that waits, or will, go on; or end with ``error``."""
        self._error = error
        self._going_on.set()

    async def wait(self) -> None:
        """Where the request waits."""
        self.arrived.set()
        await self._going_on.wait()
        if self._error is not None:
            raise self._error


class _Order:
    def __init__(
        self, verb: str, count: int, skip: int, after: bool, act: Held | Callable[[], Exception]
    ) -> None:
        self.verb = verb
        self.left = count
        self.skip = skip
        self.after = after
        self.act = act

    def takes(self, verb: str, after: bool) -> bool:
        """Whether it is for this request; counts."""
        if self.verb not in (verb, "*") or self.after != after or not self.left:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.left -= 1
        return True


class Answers:
    """The orders of one server."""

    def __init__(self) -> None:
        self._orders: list[_Order] = []

    def hold(self, verb: str, *, count: int = 1, skip: int = 0, after: bool = False) -> Held:
        """Let the next requests wait; what is returned releases them."""
        held = Held()
        self._orders.append(_Order(verb, count, skip, after, held))
        return held

    def fail(
        self,
        verb: str,
        error: Callable[[], Exception],
        *,
        count: int = _WITHOUT_END,
        skip: int = 0,
        after: bool = False,
    ) -> None:
        """Let the next requests end with a new ``error()`` each."""
        self._orders.append(_Order(verb, count, skip, after, error))

    def clear(self) -> None:
        """Answer at once again; what is held stays so until it is released."""
        self._orders.clear()

    async def act(self, verb: str, *, after: bool = False) -> None:
        """What the orders say to a request."""
        for order in self._orders:
            if order.takes(verb, after):
                if isinstance(order.act, Held):
                    await order.act.wait()
                    return
                raise order.act()
