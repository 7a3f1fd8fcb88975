"""Steps: how much of something long is moved at a time.

Handing a step from thread to thread costs about a millisecond, so where it goes fast the steps are
long; where it goes slowly they are short, and show how far it is.
"""

from __future__ import annotations

QUICK_S = 0.05
"""A step that was done within this time is followed by one twice as long."""


class GrowingSteps:
    """The length of the next step: ``bytes``, at first and after a slow one ``least``."""

    def __init__(self, least: int, most: int) -> None:
        self.bytes = self._least = least
        self._most = most

    def took(self, seconds: float) -> None:
        """A step was done in so many seconds."""
        self.bytes = min(2 * self.bytes, self._most) if seconds <= QUICK_S else self._least
