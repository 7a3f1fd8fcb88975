"""Random sequences of operations on an edited file, by seed; and the exerciser itself."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.fsx.__main__ import attempt, replay
from tests.fsx.exerciser import MismatchError, random_ops
from tests.fsx.faces import FACES
from tests.fsx.patient import RandomFaults
from tests.fsx.rig import MODES, SERVERS, Kind, exerciser

LARGEST = 300_000
KINDS = [Kind(*kind) for kind in itertools.product(SERVERS, MODES, [True, False], FACES)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_random_sequences(tmp_path: Path, kind: Kind) -> None:
    """A short run of each kind; ``python -m tests.fsx`` does long ones."""
    seed = 1 + KINDS.index(kind)
    with exerciser(tmp_path, kind, size=100_000, seed=seed) as file:
        file.run(random_ops(seed, 150, LARGEST))


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.server.startswith("memory")], ids=str
)
def test_random_sequences_and_faults(tmp_path: Path, kind: Kind) -> None:
    """Requests fail and replies are lost, all along; what raised is done again, nothing is lost."""
    seed = 1 + KINDS.index(kind)
    answers = RandomFaults(seed, 0.2)
    with exerciser(tmp_path, kind, size=100_000, seed=seed, answers=answers) as file:
        file.run(random_ops(seed, 100, LARGEST))
    assert answers.sent >= 3


@pytest.mark.parametrize("watch", ["bytes", "server"])
def test_all_is_compared_after_each_operation(tmp_path: Path, watch: str) -> None:
    """Nothing hides between two reads, or two uploads."""
    with exerciser(tmp_path, Kind("memory", "back", True, watch=watch), size=100_000) as file:
        file.run(random_ops(77, 60, LARGEST))


def test_what_is_held_open_is_looked_at(tmp_path: Path) -> None:
    """A file open for reading does show its version while another is made, not only errors."""
    with exerciser(tmp_path, Kind("memory", "back", True), size=100_000) as file:
        file.run([("show",), ("hold",), ("write", 10, 5000), ("fsync",), ("peek", 0, 50_000)])
        assert file.counts["shown"] == 2
        assert not file.counts["stale"]


def test_the_exerciser_notices(tmp_path: Path) -> None:
    """A byte that is not what it should be fails, and the operations are told."""
    with exerciser(tmp_path, Kind("memory", "back", True), size=10_000) as file:
        file.step(("hold",))
        file.step(("write", 100, 50))
        file.model.data[120] ^= 1
        with pytest.raises(MismatchError, match=r"read at 100: byte 20 is .*\n.*\n.*\n.*write"):
            file.step(("read", 100, 50))
        with pytest.raises(MismatchError, match="mapread at 119: byte 1 is"):
            file.step(("mapread", 119, 50))
        with pytest.raises(MismatchError, match="at the server: byte 120 is"):
            file.step(("fsync",))
        file.model.data[120] ^= 1
        file.model.data.append(7)
        with pytest.raises(MismatchError, match="the size is 10000, not 10001"):
            file.step(("turn",))
        file.model.data.pop()
        file.step(("close",))


def test_a_failed_run_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did is saved with everything that is needed to do it again."""
    monkeypatch.chdir(tmp_path)
    kind = Kind("memory", "through", False, "async")
    impossible = [("write", 0, 10), ("truncate", -1), ("read", 0, 10)]
    failure = attempt(kind, 5, [*impossible])
    assert "not a size" in failure
    saved = tmp_path / f"fsx-{kind}-5.json"
    assert str(saved.name) in failure
    assert "not a size" in replay(saved)
    case = json.loads(saved.read_text())
    case["ops"] = [["write", 0, 10], ["read", 0, 10]]
    saved.write_text(json.dumps(case))
    assert replay(saved) == ""


def test_the_same_seed_gives_the_same_operations() -> None:
    """A failure can be repeated from its seed alone."""
    assert random_ops(5, 300, LARGEST) == random_ops(5, 300, LARGEST)
    assert random_ops(5, 300, LARGEST) != random_ops(6, 300, LARGEST)
