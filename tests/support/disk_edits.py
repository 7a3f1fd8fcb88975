"""Files that are edited while the disk of the cache fails."""

from __future__ import annotations

from pathlib import Path

from netcache._netfs.journal import Journal
from tests.support.disk_stage import (
    BLOCK,
    DATA,
    OTHER,
    PATCH,
    UP_URL,
    URL,
    Scenario,
    Stage,
    adding_to,
    cached,
    half_cached,
    orphaned_edit,
    patched,
)

SCENARIOS: list[Scenario] = []
scenario = adding_to(SCENARIOS)


@scenario(half_cached)
def edit(stage: Stage) -> None:
    """``r+b``: unaligned writes, read back, sent by ``fsync`` and ``close``."""
    first = patched(DATA, PATCH, BLOCK + 9)
    second = patched(first, b"end", len(DATA) + 10)
    with stage.losing(URL, DATA, first, second), stage.client.open(URL, "r+b") as file:
        file.pwrite(PATCH, BLOCK + 9)
        assert file.pread(len(PATCH), BLOCK + 9) == PATCH
        file.fsync()
        assert stage.at_server(URL) == first
        file.pwrite(b"end", len(DATA) + 10)
    assert stage.refused or stage.at_server(URL) == second
    with stage.client.open(URL) as reader:
        assert reader.read() == stage.at_server(URL)


@scenario(cached, write_mode="back")
def edit_cached(stage: Stage) -> None:
    """The same over what is cached, held back until the close."""
    versions = [DATA]
    for at in (0, 2 * BLOCK + 1, 5 * BLOCK):
        versions.append(patched(versions[-1], PATCH, at))
    with stage.losing(URL, *versions), stage.client.open(URL, "r+b") as file:
        for at in (0, 2 * BLOCK + 1, 5 * BLOCK):
            file.pwrite(PATCH, at)
        assert file.pread(len(DATA), 0) == versions[-1]
    assert stage.refused or stage.at_server(URL) == versions[-1]
    with stage.client.open(URL) as reader:
        assert reader.read() == stage.at_server(URL)


@scenario(cached)
def cut_and_stretch(stage: Stage) -> None:
    """``truncate``, shorter and longer."""
    cut = DATA[: BLOCK + 5]
    stretched = cut.ljust(3 * BLOCK, b"\0")
    expected = patched(stretched, PATCH, BLOCK)
    with stage.losing(URL, DATA, cut, expected), stage.client.open(URL, "r+b") as file:
        file.truncate(BLOCK + 5)
        file.fsync()
        assert stage.at_server(URL) == cut
        file.truncate(3 * BLOCK)
        file.pwrite(PATCH, BLOCK)
    assert stage.refused or stage.at_server(URL) == expected


@scenario()
def write_anew(stage: Stage) -> None:
    """``w+b``: written in any order, published at the close."""
    stage.server.store(UP_URL, OTHER)
    with stage.losing(UP_URL, OTHER), stage.client.open(UP_URL, "w+b") as file:
        file.pwrite(DATA[BLOCK:], BLOCK)
        file.pwrite(DATA[:BLOCK], 0)
        assert file.pread(len(DATA), 0) == DATA
    assert stage.refused or stage.at_server(UP_URL) == DATA


@scenario(cached, durability="journal", write_mode="back")
def edit_journaled(stage: Stage) -> None:
    """What ``flush`` returned for is in the journal, whatever becomes of the process."""
    stage.server.store(UP_URL, DATA)
    with stage.about_cache():
        # Without a journal there is no edit that survives: it says so when it is opened.
        file = stage.client.open(UP_URL, "r+b")
    if stage.refused:
        return
    first = patched(DATA, PATCH, BLOCK)
    second = patched(first, PATCH, 3 * BLOCK)
    with stage.losing(UP_URL, DATA, first, second), file:
        file.pwrite(PATCH, BLOCK)
        with stage.about_cache():
            file.flush()
            with stage.faults.paused():
                assert journaled(stage, UP_URL) == {BLOCK: PATCH}
        file.pwrite(PATCH, 3 * BLOCK)
        assert file.pread(len(PATCH), BLOCK) == PATCH
    assert stage.refused or stage.at_server(UP_URL) == second


def journaled(stage: Stage, url: str) -> dict[int, bytes]:
    """What the journal on the disk holds of edits of ``url``."""
    journal = Journal(str(stage.cache))
    held: dict[int, bytes] = {}
    for name in journal.names():
        record = journal.peek(name)
        if record is not None and record.url == url:
            data = (Path(journal.folder) / name / "data").read_bytes()
            for start, end in record.dirty:
                held[start] = data[start:end].ljust(end - start, b"\0")
    return held


@scenario(orphaned_edit, open=False)
def recover(stage: Stage) -> None:
    """What a killed process left is uploaded, or stays in the journal."""
    with stage.about_cache():
        stage.client.edits.recover()
    with stage.faults.paused():
        if stage.at_server(URL) == DATA:
            assert journaled(stage, URL)[BLOCK] == PATCH
        else:
            assert stage.at_server(URL) == patched(DATA, PATCH, BLOCK)
    with stage.client.open(URL) as file:
        assert file.read() == stage.at_server(URL)
