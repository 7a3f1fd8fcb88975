"""The exerciser: operations on one edited file, and on an array of bytes, compared all the time.

An operation is a tuple of a name and numbers; bytes to write come from the operation's number, so a
list of operations is a whole test case and can be replayed.  After each ``fsync`` and ``close`` the
bytes at the server are compared, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

Op = tuple[object, ...]

LOG_LENGTH = 40


class Editable(Protocol):
    """What is tested: a writable file of the synchronous face, or something like it."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read."""

    def pwrite(self, data: bytes, offset: int, *, dsync: bool = False, atomic: bool = False) -> int:
        """Write."""

    def truncate(self, size: int) -> int:
        """Cut or extend."""

    def view(self, offset: int, length: int) -> memoryview:
        """Read as memory."""

    def fsync(self) -> None:
        """Send."""

    def close(self) -> None:
        """Send, and close."""

    @property
    def size(self) -> int:
        """The size."""


class MismatchError(AssertionError):
    """The file is not what the model says; bears the operations that led there."""


class Exerciser:
    """``reopen`` opens the file for editing; ``at_server`` tells the bytes there; ``shown`` those
    that a file opened for reading shows; ``drop`` forgets what is cached."""

    def __init__(
        self,
        model: bytes,
        reopen: Callable[[], Editable],
        at_server: Callable[[], bytes],
        shown: Callable[[], bytes],
        drop: Callable[[], object],
    ) -> None:
        self.model = bytearray(model)
        self.done: list[Op] = []
        self._reopen = reopen
        self._at_server = at_server
        self._shown = shown
        self._drop = drop
        self._file = reopen()

    def run(self, ops: Sequence[Op]) -> None:
        """Do all of them, then close."""
        for op in ops:
            self.step(op)
        self.step(("close",))

    def step(self, op: Op) -> None:
        """Do one operation on both, and compare."""
        self.done.append(op)
        name, *numbers = op
        getattr(self, f"_{name}")(*numbers)
        if name != "close" and self._file.size != len(self.model):
            self._fail(f"the size is {self._file.size}, not {len(self.model)}")

    # Operations.

    def _read(self, start: int, length: int) -> None:
        self._compare("read", start, self._file.pread(length, start), length)

    def _mapread(self, start: int, length: int) -> None:
        self._compare("mapread", start, bytes(self._file.view(start, length)), length)

    def _write(self, start: int, length: int, *flags: str) -> None:
        data = self._bytes(length)
        options = dict.fromkeys(flags, True)
        self._file.pwrite(data, start, **options)
        self._put(start, data)
        if flags:
            self._compare_server()

    def _append(self, length: int) -> None:
        self._write(len(self.model), length)

    def _copy(self, start: int, length: int, to: int) -> None:
        data = self._file.pread(length, start)
        self._compare("copy", start, data, length)
        if data:
            self._file.pwrite(data, to)
            self._put(to, data)

    def _truncate(self, size: int) -> None:
        self._file.truncate(size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    def _fsync(self) -> None:
        self._file.fsync()
        self._compare_server()

    def _close(self) -> None:
        self._file.close()
        self._compare_server()

    def _again(self) -> None:
        self._close()
        self._file = self._reopen()

    def _show(self) -> None:
        self._fsync()
        if self._shown() != self.model:
            self._fail("a file opened for reading shows other bytes than the server has")

    def _forget(self) -> None:
        self._drop()

    # Comparing.

    def _bytes(self, length: int) -> bytes:
        return random.Random(len(self.done)).randbytes(length)

    def _put(self, start: int, data: bytes) -> None:
        self.model.extend(bytes(max(0, start - len(self.model))))
        self.model[start : start + len(data)] = data

    def _compare(self, what: str, start: int, found: bytes, length: int) -> None:
        expected = bytes(self.model[start : start + length])
        if found != expected:
            self._fail(f"{what} at {start}: {difference(found, expected)}")

    def _compare_server(self) -> None:
        found = self._at_server()
        if found != self.model:
            self._fail(f"at the server: {difference(found, bytes(self.model))}")

    def _fail(self, why: str) -> None:
        steps = "\n".join(f"  {op!r}" for op in self.done[-LOG_LENGTH:])
        raise MismatchError(f"{why}\nthe last of {len(self.done)} operations:\n{steps}")


def difference(found: bytes, expected: bytes) -> str:
    """Where two strings of bytes begin to differ."""
    if len(found) != len(expected):
        return f"{len(found)} bytes instead of {len(expected)}"
    first = next(
        at for at, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]
    )
    return f"byte {first} is {found[first]}, not {expected[first]}"


def random_ops(seed: int, count: int, largest: int) -> list[Op]:
    """``count`` operations on a file of at most ``largest`` bytes, the same for the same seed."""
    picks = random.Random(seed)
    return [_random_op(picks, largest) for _ in range(count)]


_WEIGHTS = {
    "read": 10,
    "mapread": 4,
    "write": 14,
    "append": 3,
    "copy": 4,
    "truncate": 3,
    "fsync": 3,
    "again": 1,
    "show": 1,
    "forget": 1,
}


def _random_op(picks: random.Random, largest: int) -> Op:
    name = picks.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    start = picks.randrange(largest)
    if picks.random() < 0.3:
        start &= -4096
    length = min(largest - start, picks.choice([1, 100, 4096, 8192, 20_000, 70_000]))
    length = picks.randint(1, max(1, length))
    if name in ("read", "mapread"):
        return name, start, length
    if name == "write":
        flag = picks.random()
        flags = ("dsync",) if flag < 0.03 else ("atomic",) if flag < 0.05 else ()
        return (name, start, length, *flags)
    if name == "append":
        return name, min(length, 5000)
    if name == "copy":
        return name, start, length, picks.randrange(largest - length + 1)
    if name == "truncate":
        return name, picks.choice([start, 0]) if picks.random() < 0.1 else start
    return (name,)
