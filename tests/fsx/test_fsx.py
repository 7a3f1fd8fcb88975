"""Random and recorded sequences of operations on an edited file (T10, T11, and by seed)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fsx.exerciser import MismatchError, Op, random_ops
from tests.fsx.rig import SERVERS, exerciser

LARGEST = 300_000

T10: list[Op] = [
    ("truncate", 0x1BBAE),
    ("write", 0x3EF2E, 0xF9C8),
    ("write", 0x67E05, 0xCB5A),
    ("mapread", 0x57781, 0x85B6),
    ("copy", 0x5D3D, 0x10329, 0x54FAC),
    ("write", 0x64710, 0x1C2B),
    ("mapread", 0x64000, 0x1000),
]
T11: list[Op] = [
    ("truncate", 0x927C0),
    ("write", 0x63FB8, 0x53C8),
    ("copy", 0xB704, 0x19B9, 0x24429),
    ("write", 0x2402B, 0x144A2),
    ("write", 0x204D5, 0x140A0),
    ("copy", 0x1F72C, 0x137D0, 0x7A906),
    ("read", 0, 0x927C0),
]


def with_syncs(ops: list[Op], after: int) -> list[Op]:
    """``ops`` with everything sent and forgotten after the operation of that index."""
    return [*ops[: after + 1], ("fsync",), ("forget",), *ops[after + 1 :]]


@pytest.mark.parametrize("mode", ["through", "back"])
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])
@pytest.mark.parametrize(
    ("ops", "size"), [(T10, 0x82864), (T11, 0)], ids=["t10_zero_point", "t11_partial_record"]
)
def test_recorded_sequences(
    tmp_path: Path, ops: list[Op], size: int, server: str, mode: str, use_cache: bool
) -> None:
    """The sequences that found the kernel's bugs; also sent and evicted after each step."""
    for after in range(-1, len(ops)):
        with exerciser(
            tmp_path / f"after{after}", server=server, mode=mode, use_cache=use_cache, size=size
        ) as file:
            file.run(with_syncs(ops, after) if after >= 0 else ops)


@pytest.mark.parametrize("mode", ["through", "back"])
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_sequences(
    tmp_path: Path, seed: int, server: str, mode: str, use_cache: bool
) -> None:
    """A short run of each kind; ``python -m tests.fsx`` does long ones."""
    with exerciser(
        tmp_path, server=server, mode=mode, use_cache=use_cache, size=100_000, seed=seed
    ) as file:
        file.run(random_ops(seed, 150, LARGEST))


def test_the_exerciser_notices(tmp_path: Path) -> None:
    """A byte that is not what it should be fails, and the operations are told."""
    with exerciser(tmp_path, server="memory", mode="back", use_cache=True, size=10_000) as file:
        file.step(("write", 100, 50))
        file.model[120] ^= 1
        with pytest.raises(MismatchError, match=r"byte 20 is .*\n.*\n.*write"):
            file.step(("read", 100, 50))
        file.model[120] ^= 1
        file.step(("close",))


def test_the_same_seed_gives_the_same_operations() -> None:
    """A failure can be repeated from its seed alone."""
    assert random_ops(5, 300, LARGEST) == random_ops(5, 300, LARGEST)
    assert random_ops(5, 300, LARGEST) != random_ops(6, 300, LARGEST)
