"""How long to wait before looking again at what another process brings.

Many may be looking, on few processors: each look is to find much.  At first it is a short time,
for what is wanted may be short; then ever longer, up to where the reader would notice.  Towards the
end it is no longer than the rest should take.

Pure: it is told what was found, and says how long.
"""

from __future__ import annotations

PAUSE_MIN_S, PAUSE_MAX_S = 0.002, 0.05
"""How long a wait is, at least and at most."""

ENOUGH_BYTES = 64 << 20
"""Where a wait brings more than this, the next is shorter."""


class Following:
    """The waits of one reader of one file behind whoever brings its bytes.

    ``pause_s`` is how long to wait now.  ``reached`` is how far is known to be there.
    """

    __slots__ = ("pause_s", "reached")

    def __init__(self) -> None:
        self.pause_s = PAUSE_MIN_S
        self.reached = -1

    def begin(self, position: int, reached: int) -> None:
        """A wait for ``position`` begins.

        Everything between where the last wait ended and ``reached`` is there by now: one for
        what comes next goes on with it.
        """
        if position != reached:
            self.pause_s = PAUSE_MIN_S
        self.reached = position

    def looked(self, reached: int, came: int, rest: int) -> None:
        """After a wait: everything up to ``reached`` is there, ``came`` bytes more than before;
        ``rest`` bytes are to come until all is there."""
        before_s, self.reached = self.pause_s, reached
        if came <= ENOUGH_BYTES:
            self.pause_s = min(before_s * 1.5, PAUSE_MAX_S)
        else:
            self.pause_s = max(before_s / 2, PAUSE_MIN_S)
        if came:
            self.pause_s = max(PAUSE_MIN_S, min(self.pause_s, before_s * rest / came))
