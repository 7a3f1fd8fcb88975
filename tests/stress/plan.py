"""What a run of the stress test is to do, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """A run.  It ends after ``ops`` operations or ``seconds``, whichever comes first.

    ``kill_every``: about so many operations lie between two kills (0: none).
    ``largest``: the most bytes of a resource, but for ``big`` ones, which are 16 times as long.
    ``locks`` False: no lock between processes does anything.
    """

    processes: int = 4
    ops: int = 1 << 62
    seconds: float = 60.0
    seed: int = 1
    kill_every: int = 60
    names: int = 6
    largest: int = 200_000
    locks: bool = True
    cache_bytes: int | None = 2_500_000


@dataclass(frozen=True)
class Place:
    """Where a run takes place."""

    root: Path
    url: str

    @property
    def cache(self) -> Path:
        """The cache directory of all processes."""
        return self.root / "cache"

    @property
    def book(self) -> Path:
        """The book of versions."""
        return self.root / "book"

    @property
    def served(self) -> Path:
        """The folder that the server serves."""
        return self.root / "www"

    @property
    def requests(self) -> Path:
        """The server's log; each request tells in ``user_agent`` whose it was."""
        return self.root / "requests"

    @property
    def flushed(self) -> Path:
        """The edits that ``flush`` returned for, and how they ended; a line each."""
        return self.root / "flushed"


@dataclass
class Outcome:
    """What came of a run: operations done, by name; kills; what was wrong."""

    done: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ops(self) -> int:
        """How many operations were done."""
        return self.done.total()
