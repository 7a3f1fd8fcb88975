"""The exerciser: operations on one edited file, and on an array of bytes, compared all the time.

An operation is a tuple of a name and numbers; bytes to write come from the operation's number, so a
list of operations is a whole test case and can be replayed.

What is compared: every byte that is read; the size after each operation; the bytes at the server
after each ``fsync`` and ``close``; and what a third file, which was opened for reading before the
changes, shows: its version or ``StaleError``.  ``watch`` adds comparisons after every operation:
``"bytes"`` reads all of the file, ``"server"`` sends, and compares the bytes at the server and
those that a file opened for reading shows, too.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import netcache
from tests.fsx.faces import Editable
from tests.support.bytemodel import ByteModel

Op = tuple[object, ...]

LOG_LENGTH = 40
WATCHES = ("", "bytes", "server")


class MismatchError(AssertionError):
    """The file is not what the model says; bears the operations that led there."""


class Exerciser:
    """``reopen`` opens the file for editing, ``reader`` for reading; ``at_server`` tells the bytes
    there; ``drop`` forgets what is cached.  ``counts`` are what was done."""

    def __init__(
        self,
        model: bytes,
        reopen: Callable[[], Editable],
        reader: Callable[[], Editable],
        at_server: Callable[[], bytes],
        drop: Callable[[], object],
        watch: str = "",
    ) -> None:
        self.model = ByteModel(model)
        self.done: list[Op] = []
        self.counts: Counter[str] = Counter()
        self._reopen = reopen
        self._reader = reader
        self._at_server = at_server
        self._drop = drop
        self._watch = watch
        self._file = reopen()
        self._other: Editable | None = None
        self._held: tuple[Editable, ByteModel] | None = None

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
        self.counts[str(name)] += 1
        if name == "close":
            return
        if self._file.size != self.model.size:
            self._fail(f"the size is {self._file.size}, not {self.model.size}")
        if self._watch == "server":
            self._show()
        if self._watch:
            self._read(0, self.model.size + 1)

    def abandon(self) -> None:
        """Close everything after a mismatch, whatever there is to say."""
        for file in (self._file, self._other, self._held and self._held[0]):
            if file is not None:
                file.abort()

    # Operations.

    def _read(self, start: int, length: int) -> None:
        self._compare("read", start, self._file.pread(length, start), length)

    def _mapread(self, start: int, length: int) -> None:
        self._compare("mapread", start, bytes(self._file.view(start, length)), length)

    def _write(self, start: int, length: int, *flags: str) -> None:
        data = self._bytes(length)
        options = dict.fromkeys(flags, True)
        self._file.pwrite(data, start, **options)
        self.model.write(start, data)
        if flags:
            self._compare_server()

    def _append(self, length: int) -> None:
        self._write(self.model.size, length)

    def _copy(self, start: int, length: int, to: int) -> None:
        data = self._file.pread(length, start)
        self._compare("copy", start, data, length)
        if data:
            self._file.pwrite(data, to)
            self.model.write(to, data)

    def _truncate(self, size: int) -> None:
        self._file.truncate(size)
        self.model.truncate(size)

    def _fsync(self) -> None:
        self._file.fsync()
        self._compare_server()

    def _close(self) -> None:
        self._let_go()
        if self._other is not None:
            self._other.close()
            self._compare_server()
        self._file.close()
        self._compare_server()

    def _again(self) -> None:
        """Close one writer, and open another; a second one stays as it is."""
        self._file.close()
        self._compare_server()
        self._file = self._reopen()

    def _turn(self) -> None:
        """Go on with the second writer of the same client."""
        if self._other is None:
            self._other = self._reopen()
        self._file, self._other = self._other, self._file

    def _show(self) -> None:
        """What a file shows that is opened for reading after an ``fsync``."""
        self._fsync()
        file = self._reader()
        try:
            found = file.pread(self.model.size + 1, 0)
        finally:
            file.close()
        if found != self.model.data:
            self._fail(f"opened for reading: {difference(found, bytes(self.model.data))}")

    def _hold(self) -> None:
        """Open for reading, and keep it open: what it shows from now on is this version."""
        self._fsync()
        self._let_go()
        file = self._reader()
        self._held = (file, ByteModel(bytes(self.model.data)))
        self._peek(0, 1)

    def _peek(self, start: int, length: int) -> None:
        """Read in what is open for reading, whatever was changed since."""
        if self._held is None:
            return
        file, version = self._held
        try:
            found = file.pread(length, start)
        except netcache.StaleError:
            self.counts["stale"] += 1
            self._let_go()
            return
        self.counts["shown"] += 1
        expected = version.part(start, start + length)
        if found != expected:
            self._fail(f"peek at {start}: {difference(found, expected)}")

    def _forget(self) -> None:
        self._drop()

    # Comparing.

    def _let_go(self) -> None:
        if self._held is not None:
            self._held[0].close()
            self._held = None

    def _bytes(self, length: int) -> bytes:
        return random.Random(len(self.done)).randbytes(length)

    def _compare(self, what: str, start: int, found: bytes, length: int) -> None:
        expected = self.model.part(start, start + length)
        if found != expected:
            self._fail(f"{what} at {start}: {difference(found, expected)}")

    def _compare_server(self) -> None:
        found = self._at_server()
        if found != self.model.data:
            self._fail(f"at the server: {difference(found, bytes(self.model.data))}")

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
    "turn": 2,
    "show": 1,
    "hold": 1,
    "peek": 4,
    "forget": 1,
}


def _random_op(picks: random.Random, largest: int) -> Op:
    name = picks.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    start = picks.randrange(largest)
    if picks.random() < 0.3:
        start &= -4096
    length = min(largest - start, picks.choice([1, 100, 4096, 8192, 20_000, 70_000]))
    length = picks.randint(1, max(1, length))
    if name in ("read", "mapread", "peek"):
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
