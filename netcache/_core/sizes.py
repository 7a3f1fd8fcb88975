"""The three sizes of an open file, as one value that is replaced as a whole.

``local`` is what the file is to its users; ``remote`` what the server has; at and beyond
``zero_point`` the server is known to have nothing but zeros for us.  They are read
together or not at all: a reader that saw one of them changed and another not yet would take stale
bytes of the server for zeros, or the other way round.
"""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    """Bytes; ``0 <= zero_point <= remote``."""

    local: int
    remote: int
    zero_point: int

    @classmethod
    def of(cls, size: int) -> Sizes:
        """A file just opened, of which the server has ``size`` bytes."""
        return cls(size, size, size)

    @property
    def remote_limit(self) -> int:
        """Where what the server has to say about the file ends."""
        return min(self.zero_point, self.local)

    def written(self, end: int) -> Sizes:
        """Bytes up to ``end`` were copied in."""
        return self._replace(local=max(self.local, end))

    def truncated(self, size: int) -> Sizes:
        """Cut or extended to ``size``: what the server has past a cut is not ours any more."""
        return self._replace(local=size, zero_point=min(self.zero_point, size))

    def uploaded(self, remote: int, cut: int | None = None) -> Sizes:
        """The server has ``remote`` bytes now, and each of them is ours, up to ``cut``: there the
        file was cut after they were sent.

        The zero point follows the server's size, never the local one: past its end lie bytes that
        were extended here in the meantime (T10).
        """
        return Sizes(self.local, remote, remote if cut is None else min(cut, remote))

    @property
    def needs_whole(self) -> bool:
        """Whether the server has bytes past a cut: no update of a part takes them away."""
        return self.zero_point < self.remote
