"""A bandwidth limit: a token bucket that all bodies of a backend share, both ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

BURST_S = 0.1
"""How much of a second's bytes may pass at once after a pause."""
STEP_S = 0.05
"""How much of a second's bytes are moved at a time."""


class Throttle:
    """Bytes may pass at ``bytes_per_s``; ``None`` or 0 is no limit."""

    def __init__(
        self, bytes_per_s: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = float(bytes_per_s or 0)
        self._clock = clock
        self._credit = self._rate * BURST_S
        self._counted_at = clock()

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._rate > 0

    @property
    def step_bytes(self) -> int:
        """How much to move at a time so that the flow stays even."""
        return max(4096, int(self._rate * STEP_S)) if self._rate else 1 << 62

    def spend(self, count: int) -> float:
        """Count bytes that have passed; return how long to wait before the next ones."""
        if not self._rate:
            return 0.0
        now = self._clock()
        earned = (now - self._counted_at) * self._rate
        self._counted_at = now
        self._credit = min(self._credit + earned, self._rate * BURST_S) - count
        return max(0.0, -self._credit / self._rate)

    async def pass_bytes(self, count: int) -> None:
        """Count bytes that have passed, and wait as long as they take."""
        pause_s = self.spend(count)
        if pause_s > 0:
            await asyncio.sleep(pause_s)
