"""Faults under an exerciser: requests that fail at random or in order, and files that try again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import netcache
from netcache.backends.memory_answers import Answers
from tests.fsx.faces import Editable

T = TypeVar("T")

TRIES = 30


class RandomFaults(Answers):
    """Lets each request fail with a probability: before it is done, or so that its reply is lost.

    After a lost reply the next ``quiet`` requests are answered: what became of it can be seen.
    ``sent`` counts the faults.
    """

    def __init__(self, seed: int, probability: float, quiet: int = 3) -> None:
        super().__init__()
        self._picks = random.Random(seed)
        self._probability = probability
        self._quiet = quiet
        self._still_quiet = 0
        self.sent = 0

    async def act(self, verb: str, *, after: bool = False) -> None:
        """Go on, or raise."""
        if self._still_quiet:
            self._still_quiet -= not after
        elif self._picks.random() < self._probability:
            self.sent += 1
            self._still_quiet = self._quiet * after
            raise netcache.TransientError("reply lost" if after else "refused")
        await super().act(verb, after=after)


def patiently(work: Callable[[], T]) -> T:
    """Try again while the server is to blame; anything else is an error of ours."""
    for _ in range(TRIES):
        try:
            return work()
        except netcache.TransientError:
            continue
    raise AssertionError(f"{TRIES} attempts failed")


class PatientFile:
    """A file whose calls are made again when the server failed.

    ``doubts``: replies may be lost, so that a writer may find a version that it does not know to be
    its own before the next ``fsync`` has looked.
    """

    def __init__(self, inner: Editable, *, writes: bool, doubts: bool = False) -> None:
        self._inner = inner
        self._writes = writes
        self._doubts = writes and doubts

    def pread(self, length: int, offset: int) -> bytes:
        """Read."""
        return self._looking(lambda: self._inner.pread(length, offset))

    def pwrite(self, data: bytes, offset: int, *, dsync: bool = False, atomic: bool = False) -> int:
        """Write."""
        return patiently(lambda: self._inner.pwrite(data, offset, dsync=dsync, atomic=atomic))

    def truncate(self, size: int) -> int:
        """Cut or extend."""
        return patiently(lambda: self._inner.truncate(size))

    def view(self, offset: int, length: int) -> memoryview:
        """Read as memory."""
        return self._looking(lambda: self._inner.view(offset, length))

    def fsync(self) -> None:
        """Send."""
        patiently(self._inner.fsync)

    def close(self) -> None:
        """Send, and close: there is only one attempt at that."""
        if self._writes:
            self.fsync()
        self._inner.close()

    def abort(self) -> None:
        """Close, and send nothing more."""
        self._inner.abort()

    def _looking(self, work: Callable[[], T]) -> T:
        try:
            return patiently(work)
        except netcache.StaleError:
            if not self._doubts:
                raise
        self.fsync()
        return patiently(work)

    @property
    def size(self) -> int:
        """The size."""
        return self._inner.size
