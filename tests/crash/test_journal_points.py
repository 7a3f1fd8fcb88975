"""The journal of edits, crashed at every one of its calls: killed, and by power cuts that leave any
part of what was not synced, by the rules of ``crash_disk``.

``NETCACHE_CRASH_JOURNAL=200`` takes that many runs.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.doubt import Doubt
from netcache._core.extent import Extent, ExtentSet
from netcache._core.journal_record import JournalRecord
from netcache._core.sizes import Sizes
from netcache._netfs import journal as journal_module
from netcache._netfs.journal import Journal
from tests.support.crash_journal import Kept, Promises, TracedOs, check, materialise, states

RUNS = int(os.environ.get("NETCACHE_CRASH_JOURNAL", "3"))
SIZE = 6 * 512


class Edit:
    """An edit in the journal, and what the next process must find of it."""

    def __init__(self, journal: Journal, traced: TracedOs, promises: Promises) -> None:
        self.traced, self.promises = traced, promises
        self.entry = journal.begin()
        self.text = bytes(SIZE)
        self.dirty = ExtentSet()
        self.number = 0
        self._promise(Kept((None,), (self.text,)))

    def write(self, chance: random.Random) -> None:
        """Bytes of which nothing is promised yet; they may tear what was there."""
        start = chance.randrange(SIZE - 1)
        data = chance.randbytes(chance.randint(1, min(900, SIZE - start)))
        self.text = self.text[:start] + data + self.text[start + len(data) :]
        self.dirty.add(start, start + len(data))
        kept = self.promises[self.entry.name]
        self._promise(kept._replace(texts=(*kept.texts, self.text)))
        self.traced.pwrite(self.entry.data.fileno(), data, start)

    def save(self, chance: random.Random) -> None:
        """``flush``: before it returns the old record or the new one is there, then the new."""
        self.number += 1
        record = JournalRecord(
            "http://h/x",
            Version(Validator(ValidatorKind.STRONG_ETAG, f'"{self.number}"'), SIZE, None),
            Sizes(SIZE, SIZE, SIZE),
            tuple(self.dirty),
            Doubt.of_part(SIZE, Extent(0, 512), []) if chance.random() < 0.5 else None,
        )
        kept = self.promises[self.entry.name]
        self._promise(kept._replace(records=(*kept.records, record)))
        self.entry.save(lambda: record)
        self._promise(Kept((record,), (self.text,)))

    def end(self) -> None:
        """All of it is at the server: it may be found until that is recorded, and then is not."""
        kept = self.promises[self.entry.name]
        self._promise(kept._replace(records=(*kept.records, None)))
        self.entry.remove()
        self._promise(Kept((None,), kept.texts))

    def _promise(self, kept: Kept) -> None:
        self.promises[self.entry.name] = kept
        self.traced.system.note(dict(self.promises))


def scenario(root: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> TracedOs:
    """Two edits, written, flushed and ended in any order."""
    traced = TracedOs(root)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "os", traced)
        journal, promises = Journal(str(root)), Promises()
        edits = [Edit(journal, traced, promises) for _ in range(2)]
        for _ in range(6):
            edit = chance.choice(edits)
            edit.write(chance)
            if chance.random() < 0.6:
                edit.save(chance)
        edits[0].end()
        edits[1].save(chance)
    for edit in edits:
        edit.entry.release()
    return traced


@pytest.mark.slow
@pytest.mark.timeout(60 + 20 * RUNS)
def test_p4_what_flush_returned_for_is_found_after_a_crash_at_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its bytes; what was not saved is not believed; what has ended does not come back."""
    points = 0
    for seed in range(RUNS):
        chance = random.Random(seed)
        (tmp_path / str(seed)).mkdir()
        traced = scenario(tmp_path / str(seed), chance, monkeypatch)
        for name, image, promises in states(traced, chance, drawn=4):
            points += 1
            after = tmp_path / "after"
            materialise(image, after)
            try:
                check(after, promises)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {name}: {error}") from error
            shutil.rmtree(after)
    print(f"{points} crash points of the journal")
    assert points > 100 * RUNS


@pytest.mark.parametrize("lie", ["fdatasync", "fsync"])
def test_a_sync_that_does_nothing_comes_to_light(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    """The test of the test: without one of the syncs some crash loses a flushed edit."""
    monkeypatch.setattr(TracedOs, lie, lambda *_: None)
    (tmp_path / "run").mkdir()
    chance = random.Random(1)
    traced = scenario(tmp_path / "run", chance, monkeypatch)
    wrong = 0
    for _, image, promises in states(traced, chance, drawn=0):
        materialise(image, tmp_path / "after")
        try:
            check(tmp_path / "after", promises)
        except AssertionError:
            wrong += 1
        shutil.rmtree(tmp_path / "after")
    assert wrong
