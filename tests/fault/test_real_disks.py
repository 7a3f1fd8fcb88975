"""Real disks that are full, over their quota, broken, read-only, or lack something.

Skipped by name where such a disk cannot be had.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from netcache.errors import CacheError
from tests.support import real_disks
from tests.support.commands import Commands
from tests.support.damage import stray_tables
from tests.support.disk_driver import check_back, watched
from tests.support.disk_faults import DiskFaults
from tests.support.disk_stage import DATA, OTHER, OTHER_URL, PATCH, URL, Stage, patched
from tests.support.filesystems import Unavailable
from tests.support.served import Served, random_bytes, serve

BIG = random_bytes(3 << 20, 9)
BIG_URL = "http://memory.invalid/big"
Mount = Callable[[str], real_disks.Disk]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a disk by name; skips where there is none."""
    with ExitStack() as stack:

        def mounted(kind: str) -> real_disks.Disk:
            try:
                disk: real_disks.Disk = stack.enter_context(getattr(real_disks, kind)())
                return disk
            except Unavailable as reason:
                pytest.skip(f"no {kind}: {reason}")

        yield mounted


def stage_on(disk: real_disks.Disk) -> Stage:
    """A client whose cache is on the disk; what it downloads goes elsewhere."""
    stage = Stage(disk.path, DiskFaults(disk.path / "cache"))
    for url, data in ((URL, DATA), (OTHER_URL, OTHER), (BIG_URL, BIG)):
        stage.server.store(url, data)
    return stage


def use(stage: Stage, place: Path) -> None:
    """Read, download, upload, edit: all of it has to work."""
    client = stage.client
    stage.server.store(OTHER_URL, OTHER)
    with client.open(BIG_URL) as file:
        assert file.read() == BIG
        assert bytes(file.view(5, 9000)) == BIG[5:9005]
    client.get(BIG_URL, place / "got")
    assert (place / "got").read_bytes() == BIG
    client.put(place / "got", BIG_URL + "2")
    assert stage.at_server(BIG_URL + "2") == BIG
    with client.open(OTHER_URL, "r+b") as file:
        file.pwrite(PATCH, 5)
        file.pwrite(BIG, 2 * len(PATCH))
        assert file.pread(len(PATCH), 5) == PATCH
    assert stage.at_server(OTHER_URL) == patched(patched(OTHER, PATCH, 5), BIG, 2 * len(PATCH))
    with client.open(BIG_URL + "3", "wb") as file:
        file.write(BIG)
    assert stage.at_server(BIG_URL + "3") == BIG


@pytest.mark.parametrize("kind", ["ext4", "quota"])
def test_a_full_disk_costs_nothing_but_the_caching(mount: Mount, tmp_path: Path, kind: str) -> None:
    """Full before the client, and full under it: everything works, one line tells, and with room
    again the same client caches."""
    disk = mount(kind)
    with watched() as noise:
        stage = stage_on(disk)
        with stage.client.open(URL) as file:
            assert file.read() == DATA
        disk.fill()
        use(stage, tmp_path)
        with stage.client.open(URL) as file:
            assert file.read() == DATA
        with stage.about_cache():
            stage.client.warm(BIG_URL)
        for line in [*stage.warnings, *map(str, stage.refused)]:
            assert "\n" not in line
        assert len(stage.warnings) == 1, stage.warnings
        disk.empty()
        check_back(stage)
        stage.close()
        disk.fill()
        stage.warnings.clear()
        use(stage, tmp_path)
        assert len(stage.warnings) == 1
        disk.empty()
        stage.server.store(OTHER_URL, OTHER)
        check_back(stage)
        stage.close()
    assert noise == []


def test_a_journal_on_a_full_disk_says_so_and_the_edit_arrives(mount: Mount) -> None:
    """``flush`` raises; with room again it does what it is for; ``close`` sends in any case."""
    disk = mount("ext4")
    stage = stage_on(disk)
    stage.options.update(durability="journal", write_mode="back")
    with stage.client.open(URL, "r+b") as file:
        file.pwrite(PATCH, 1)
        file.flush()
        disk.fill()
        file.pwrite(BIG, 8000)
        with pytest.raises(CacheError, match="No space left"):
            file.flush()
        assert file.pread(len(BIG), 8000) == BIG
        disk.empty()
        file.flush()
        disk.fill()
    assert stage.at_server(URL) == patched(patched(DATA, PATCH, 1), BIG, 8000)
    disk.empty()
    assert stage.client.edits.unsent() == []
    stage.close()


def test_a_disk_that_is_pulled_out_costs_nothing_but_the_caching(
    mount: Mount, tmp_path: Path
) -> None:
    """Every call is an I/O error (ext4's shutdown): the client works, one line tells, and a cache
    on another disk at the same place is used when it is there."""
    disk = mount("ext4")
    with watched() as noise:
        stage = stage_on(disk)
        reader = stage.client.open(URL)
        assert reader.pread(5000, 0) == DATA[:5000]
        disk.shut_down()
        use(stage, tmp_path)
        assert reader.read() == DATA
        reader.close()
        assert len(stage.warnings) == 1, stage.warnings
        for look in (stage.client.cache.status, stage.client.cache.verify):
            with pytest.raises(CacheError):
                look()
        stage.close()
    assert noise == []


def test_a_disk_that_becomes_read_only_costs_nothing_but_the_caching(
    mount: Mount, tmp_path: Path
) -> None:
    """Reads are right, writes arrive, and when it is writable again the same client caches."""
    disk = mount("ext4")
    stage = stage_on(disk)
    assert stage.client.cache.status().objects == 0
    try:
        disk.remount("ro")
    except Unavailable:
        # The client has a file open for writing.
        stage.close()
        disk.remount("ro")
    use(stage, tmp_path)
    assert len(stage.warnings) == 1, stage.warnings
    disk.remount("rw")
    stage.server.store(OTHER_URL, OTHER)
    check_back(stage)
    stage.close()


def test_a_filesystem_without_attributes_is_refused_with_one_line(
    mount: Mount, tmp_path: Path
) -> None:
    """It says what is missing and what to do; everything works from the server."""
    stage = stage_on(mount("ramfs"))
    use(stage, tmp_path)
    (line,) = stage.warnings
    assert "no extended attributes for users" in line
    assert "name a directory on another filesystem" in line
    with pytest.raises(CacheError, match="extended attributes"):
        stage.client.cache.status()
    stage.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server with one resource."""
    with serve(tmp_path / "www") as running:
        running.put("data.bin", BIG)
        yield running


@pytest.mark.parametrize("kind", ["ext4", "ramfs"])
def test_commands_work_with_a_cache_that_cannot_be_used(
    mount: Mount, tmp_path: Path, served: Served, kind: str
) -> None:
    """``cat``, ``get``, ``put`` exit with 0 and one warning; ``cache status`` with 9."""
    disk = mount(kind)
    disk.path.chmod(0o755)
    commands = Commands(tmp_path)
    commands.environ["NETCACHE_CACHE_DIR"] = str(disk.path / "cache")
    if kind == "ext4":
        assert commands("cat", served.url + "data.bin", "--count", "10").out == BIG[:10]
        disk.fill()
    url = served.url + "data.bin"
    done = commands("cat", url)
    assert (done.code, done.out) == (0, BIG)
    assert done.error.startswith("netcache: warning: going on without ")
    done = commands("get", url, tmp_path / "got")
    assert done.code == 0
    assert (tmp_path / "got").read_bytes() == BIG
    assert len(done.err.splitlines()) == 1
    done = commands("put", tmp_path / "got", served.url + "up.bin")
    assert done.code == 0
    assert (served.root / "up.bin").read_bytes() == BIG
    assert len(done.err.splitlines()) <= 1
    done = commands("warm", url)
    assert done.code == 9
    assert len(done.err.splitlines()) <= 2
    if kind == "ramfs":
        done = commands("cache", "status")
        assert done.code == 9
        assert "extended attributes" in done.error


def test_the_whole_of_a_cache_works_without_nameless_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``O_TMPFILE``: files with private names take their place, and none is left."""
    real = os.open

    def without(path: object, flags: int, *args: object, **more: object) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", without)
    stage = Stage(tmp_path, DiskFaults(tmp_path / "cache"))
    for url, data in ((URL, DATA), (OTHER_URL, OTHER), (BIG_URL, BIG)):
        stage.server.store(url, data)
    use(stage, tmp_path)
    stage.server.store(OTHER_URL, OTHER)
    check_back(stage)
    assert stage.warnings == []
    assert "O_TMPFILE" in stage.client.cache.status().missing
    assert stage.client.cache.verify() == []
    assert stray_tables(stage.cache) == []
    stage.close()
    assert os.listdir(stage.cache / "graveyard") == []
    assert [path for path in (stage.cache / "cache").rglob(".*") if path.is_file()] == []
