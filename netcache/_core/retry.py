"""When to try again, and after how long.  Pure: the random numbers are passed in.

Rules:

1. Only ``TransientError`` is worth another attempt.
2. Pauses grow by powers of two and are drawn evenly from ``[0, ceiling)`` ("full jitter"), so
   that many clients do not come back together.
3. ``Retry-After`` is never undercut: the pause is at least what the server asked for.  When it
   asks for more than ``retry_after_s_max`` the attempt is given up at once.
4. Attempts and the sum of all pauses are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netcache.errors import TransientError

__all__ = ["TRANSIENT_STATUSES", "Retries", "RetryPolicy"]

TRANSIENT_STATUSES = frozenset(
    {408, 425, 429, 500, 502, 503, 504}
    # What content delivery networks say when they cannot reach the server behind them.
    | {520, 521, 522, 523, 524}
)
"""The HTTP statuses after which the same request may work later."""


def _always_the_ceiling() -> float:
    return 1.0


class RetryPolicy(NamedTuple):
    """How often and how patiently to try.

    ``attempts`` counts the first one; ``random`` gives numbers in ``[0, 1)`` (the default makes
    every pause the longest that it may be).
    """

    attempts: int = 5
    first_pause_s: float = 0.2
    pause_s_max: float = 10.0
    retry_after_s_max: float = 60.0
    total_s_max: float = 300.0
    random: Callable[[], float] = _always_the_ceiling


class Retries:
    """The attempts of one operation."""

    __slots__ = ("_policy", "_slept_s", "failed_count")

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._slept_s = 0.0
        self.failed_count = 0

    def pause_s(self, error: TransientError) -> float:
        """How long to pause after an attempt that failed with ``error``.

        Raises ``error`` when there is no attempt left, or no time for it.
        """
        policy = self._policy
        self.failed_count += 1
        if self.failed_count >= policy.attempts:
            raise error
        asked_s = error.retry_after_s or 0.0
        if asked_s > policy.retry_after_s_max:
            raise error
        doublings = min(self.failed_count - 1, 30)
        ceiling_s = min(policy.first_pause_s * (1 << doublings), policy.pause_s_max)
        pause_s = max(asked_s, ceiling_s * policy.random())
        if self._slept_s + pause_s > policy.total_s_max:
            raise error
        self._slept_s += pause_s
        return pause_s
