"""Gates: of those who want to open one resource at the same time, one asks the server."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcache._core.keys import ObjectKey


class Gate:
    """Serialises the opening of one resource; dropped when nobody waits.  ``users`` are those who
    are inside or wait."""

    __slots__ = ("_gates", "_key", "lock", "users")

    def __init__(self, gates: Gates, key: ObjectKey) -> None:
        self._gates = gates
        self._key = key
        self.lock = asyncio.Lock()
        self.users = 0

    async def __aenter__(self) -> Gate:
        self.users += 1
        try:
            await self.lock.acquire()
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lock.release()
        self._leave()

    def _leave(self) -> None:
        self.users -= 1
        if not self.users:
            self._gates.drop(self._key)


class Gates:
    """The gates of a client, by resource.  On its loop."""

    def __init__(self) -> None:
        self._gates: dict[ObjectKey, Gate] = {}

    def of(self, key: ObjectKey) -> Gate:
        """The gate of a resource, to be entered at once."""
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(self, key)
        return gate

    def is_used(self, key: ObjectKey) -> bool:
        """Whether somebody is opening the resource, or waits for that."""
        return key in self._gates

    def drop(self, key: ObjectKey) -> None:
        """Nobody uses the gate of ``key`` any more."""
        self._gates.pop(key, None)
