"""P1 against an origin that swaps the object at any moment and misbehaves in every way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from netcache_server import FaultPlan, FaultRule
from tests.chaos.__main__ import soak
from tests.chaos.origin import MISBEHAVIOURS, ChaosOrigin
from tests.chaos.reader import MixtureError, Shown


@pytest.mark.parametrize("seed", [1, 2])
def test_no_file_shows_a_mixture_whatever_the_origin_does(tmp_path: Path, seed: int) -> None:
    """One reader, all misbehaviours (``python -m tests.chaos`` does a million reads)."""
    counts = soak(tmp_path, 700, seed, 1, 0.25)
    print(seed, dict(counts))
    assert counts["answered"] > 100
    assert counts["StaleError"] > 5
    assert counts["swaps"] > 5
    assert counts["misbehaviours"] > 20


def test_no_file_of_readers_in_several_threads_shows_a_mixture(tmp_path: Path) -> None:
    """Clients of different kinds share one cache directory."""
    counts = soak(tmp_path, 1000, 3, 3, 0.2)
    print(dict(counts))
    assert counts["answered"] > 100


@pytest.mark.parametrize("threads", [1, 3])
def test_no_file_shows_a_mixture_over_touches_that_keep_what_is_cached(
    tmp_path: Path, threads: int
) -> None:
    """Most swaps change the validators only; digests are told, false, or missing."""
    counts: Counter[str] = Counter()
    # Of several readers chance has a say in how often that is met.
    for seed in range(4, 5 if threads == 1 else 9):
        folder = tmp_path / str(seed)
        folder.mkdir()
        counts += soak(folder, 900, seed, threads, 0.15, restless=0.2, touching=0.9)
        print(seed, dict(counts))
        if counts["kept over a touch"] > 5:
            break
    assert counts["answered"] > 200
    assert counts["kept over a touch"] > 5


def test_every_effect_of_the_fault_plan_on_reads_is_among_the_misbehaviours() -> None:
    """What the server learns later is to be added here too."""
    effects = {name for one in MISBEHAVIOURS.values() for name in one}
    offered = set(FaultRule.__dataclass_fields__) - {"name", "method", "path", "range"}
    for_uploads, of_the_rule = {"upload_bandwidth", "upload_cut_after"}, {"skip", "count"}
    assert effects == offered - for_uploads - of_the_rule
    FaultPlan.from_json(json.dumps({"rules": list(MISBEHAVIOURS.values())}))


def test_the_reader_knows_a_mixture_when_he_sees_one(tmp_path: Path) -> None:
    """Of two versions, within one read and over two; truncated and inverted bytes are none."""
    origin = ChaosOrigin(tmp_path, 1)
    origin.server.stop()
    one, other = origin.contents[:2]
    size = len(one)
    assert len(other) == size
    shown = Shown(origin)
    shown.check(3, one[3:100], size)
    assert shown.version == 0
    shown.check(100, bytes(255 - byte for byte in one[100:200]), size)
    for start, data in ((200, other[200:300]), (200, one[200:250] + other[250:300])):
        with pytest.raises(MixtureError):
            shown.check(start, data, size)
    with pytest.raises(MixtureError):
        Shown(origin).check(0, one[:64] + other[64:128], size)
    with pytest.raises(MixtureError):
        shown.check(200, one[208:300], size)
