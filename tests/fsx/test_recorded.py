"""Recorded sequences that found bugs in the kernel (T10, T11), byte for byte.

Each is done in four ways: as it is; with all bytes read after each operation; sent after each one,
with the bytes at the server and in the cache compared; and once for each place in it with
everything sent and forgotten there.  T11 is also done with each of its requests failing.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import netcache
from netcache.backends.memory_answers import Answers
from tests.fsx.exerciser import WATCHES, Op
from tests.fsx.rig import MODES, SERVERS, Kind, exerciser
from tests.support.samples import numbers

T10_SIZE = 0x82864
T10: list[Op] = [
    ("truncate", 0x1BBAE),
    ("write", 0x3EF2E, 0xF9C8),
    ("write", 0x67E05, 0xCB5A),
    ("mapread", 0x57781, 0x85B6),
    ("copy", 0x5D3D, 0x10329, 0x54FAC),
    ("write", 0x64710, 0x1C2B),
    ("mapread", 0x64000, 0x1000),
]
T11_SIZE = 0
T11: list[Op] = [
    ("truncate", 0x927C0),
    ("write", 0x63FB8, 0x53C8),
    ("copy", 0xB704, 0x19B9, 0x24429),
    ("write", 0x2402B, 0x144A2),
    ("write", 0x204D5, 0x140A0),
    ("copy", 0x1F72C, 0x137D0, 0x7A906),
    ("read", 0, 0x927C0),
]
PLAIN = [Kind(*kind) for kind in itertools.product(SERVERS, MODES, [True, False])]
WATCHED = [
    kind._replace(face=face, watch=watch)
    for kind in PLAIN
    for face in ("sync", "async")
    for watch in WATCHES
]


def forgotten(ops: list[Op], after: int) -> list[Op]:
    """``ops`` with everything sent and forgotten after the operation of that index."""
    return [*ops[: after + 1], ("fsync",), ("forget",), *ops[after + 1 :]]


@pytest.mark.parametrize("kind", WATCHED, ids=str)
def test_t10_zero_point_behind_the_end_at_the_server(tmp_path: Path, kind: Kind) -> None:
    """Extended here, and the server's end lies inside a block: that block is not all zeros."""
    with exerciser(tmp_path, kind, size=T10_SIZE) as file:
        file.run(T10)


@pytest.mark.parametrize("kind", WATCHED, ids=str)
def test_t11_partial_record_under_a_whole_overwrite(tmp_path: Path, kind: Kind) -> None:
    """A block that is partly written, then written whole, copied from and to."""
    with exerciser(tmp_path, kind, size=T11_SIZE) as file:
        file.run(T11)


@pytest.mark.parametrize("kind", PLAIN, ids=str)
def test_t10_sent_and_forgotten_at_each_place(tmp_path: Path, kind: Kind) -> None:
    """What is evicted has to come back from the server as it was."""
    for after in range(len(T10)):
        with exerciser(tmp_path / f"{after}", kind, size=T10_SIZE) as file:
            file.run(forgotten(T10, after))


@pytest.mark.parametrize("kind", PLAIN, ids=str)
def test_t11_sent_and_forgotten_at_each_place(tmp_path: Path, kind: Kind) -> None:
    """What is evicted has to come back from the server as it was."""
    for after in range(len(T11)):
        with exerciser(tmp_path / f"{after}", kind, size=T11_SIZE) as file:
            file.run(forgotten(T11, after))


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "reply-lost"])
@pytest.mark.parametrize(
    "kind", [kind for kind in PLAIN if kind.server.startswith("memory")], ids=str
)
def test_t11_with_faults_in_the_middle(tmp_path: Path, kind: Kind, lost: bool) -> None:
    """Each request fails once, before it is done or after; what then raised is done again, and
    every byte is right."""
    ops = [step for op in T11 for step in (op, ("fsync",), ("forget",))]
    for nth in itertools.islice(numbers(4, 2 * lost + kind.use_cache), 200):
        answers = OneFault(nth, after=lost)
        with exerciser(tmp_path / f"{nth}", kind, size=0x30000, answers=answers) as file:
            file.run(ops)
        if answers.count < nth:
            break
    assert answers.count > len(T11), "requests did fail"


class OneFault(Answers):
    """The ``nth`` request fails, ``after`` it was done or before; ``count`` tells how many came."""

    def __init__(self, nth: int, *, after: bool) -> None:
        super().__init__()
        self._nth = nth
        self._after = after
        self.count = 0

    async def act(self, verb: str, *, after: bool = False) -> None:
        """Count, or raise."""
        if verb == "body" or after != self._after:
            return
        self.count += 1
        if self.count == self._nth:
            raise netcache.TransientError("on purpose")
