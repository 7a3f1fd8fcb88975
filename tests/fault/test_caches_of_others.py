"""Cache directories that are taken away, or that belong to somebody else."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import netcache
from netcache.backends.memory import MemoryBackend, MemoryServer
from netcache.errors import CacheError
from tests.support.commands import Commands
from tests.support.disk_driver import watched
from tests.support.disk_faults import DiskFaults
from tests.support.disk_stage import BLOCK, DATA, OTHER, OTHER_URL, PATCH, URL, Stage, patched
from tests.support.served import Served, random_bytes, serve

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="to be another user needs root")
NOBODY = 65534


def test_files_go_on_when_the_cache_directory_is_removed_under_them(tmp_path: Path) -> None:
    """Open files show their version to the end, edits arrive, and the next opens are cached again
    in a directory made anew; one line tells."""
    stage = Stage(tmp_path, DiskFaults(tmp_path / "cache"))
    stage.server.store(URL, DATA)
    stage.server.store(OTHER_URL, OTHER)
    client = stage.client
    with watched() as noise:
        reader, editor = client.open(URL), client.open(OTHER_URL, "r+b")
        assert reader.pread(BLOCK, 0) == DATA[:BLOCK]
        editor.pwrite(PATCH, 1)
        view = reader.view(0, 100)
        shutil.rmtree(stage.cache)
        assert reader.read() == DATA
        assert bytes(view) == DATA[:100]
        editor.pwrite(b"more", 2 * BLOCK)
        assert editor.pread(len(PATCH), 1) == PATCH
        editor.close()
        reader.close()
        other = patched(patched(OTHER, PATCH, 1), b"more", 2 * BLOCK)
        assert stage.at_server(OTHER_URL) == other
        client.put(__file__, "http://memory.invalid/up")
        for url, data in ((URL, DATA), (OTHER_URL, other)):
            for _ in range(2):
                with client.open(url) as file:
                    assert file.read() == data
            assert client.cache.extents(url) == [(0, len(data))]
        assert len(stage.warnings) <= 1
        assert all("\n" not in line and "removed" in line for line in stage.warnings)
        stage.close()
    assert noise == []


def test_a_journal_that_is_removed_is_told_by_flush_and_the_edit_arrives(tmp_path: Path) -> None:
    """What cannot survive any more says so; it is sent all the same."""
    stage = Stage(tmp_path, DiskFaults(tmp_path / "cache"), {"durability": "journal"})
    stage.server.store(URL, DATA)
    with stage.client.open(URL, "r+b") as file:
        file.pwrite(PATCH, 5)
        shutil.rmtree(stage.cache)
        file.pwrite(b"x", 0)
        with pytest.raises(CacheError, match="journal cannot be written"):
            file.flush()
    assert stage.at_server(URL) == patched(patched(DATA, PATCH, 5), b"x", 0)
    stage.close()


def test_asynchronous_files_go_on_when_the_cache_directory_is_removed(tmp_path: Path) -> None:
    """The same for the asynchronous face."""
    server, warnings = MemoryServer(), list[str]()
    server.store(URL, DATA)
    server.store(OTHER_URL, OTHER)

    async def work() -> None:
        async with netcache.AsyncClient(
            cache_dir=tmp_path / "cache",
            backend=lambda: MemoryBackend(server),
            readahead=0,
            on_warning=warnings.append,
        ) as client:
            file = await client.open(URL, "rb")
            assert await file.pread(BLOCK, 0) == DATA[:BLOCK]
            await asyncio.to_thread(shutil.rmtree, tmp_path / "cache")
            assert await file.pread(len(DATA), 0) == DATA
            assert bytes(await file.view(7, BLOCK)) == DATA[7 : 7 + BLOCK]
            await file.close()
            for _ in range(2):
                async with await client.open(OTHER_URL, "rb") as other:
                    assert await other.pread(len(OTHER), 0) == OTHER
            assert await client.cache.extents(OTHER_URL) == [(0, len(OTHER))]

    asyncio.run(work())
    assert len(warnings) <= 1


@needs_root
def test_the_cache_of_another_user_is_refused_and_left_alone(tmp_path: Path) -> None:
    """One line, everything from the server; not even root makes files in it."""
    stage = Stage(tmp_path, DiskFaults(tmp_path / "cache"))
    stage.server.store(URL, DATA)
    stage.cache.mkdir(mode=0o755)
    os.chown(stage.cache, NOBODY, NOBODY)
    with stage.client.open(URL) as file:
        assert file.read() == DATA
    with stage.client.open(URL, "r+b") as file:
        file.pwrite(PATCH, 5)
    assert stage.at_server(URL) == patched(DATA, PATCH, 5)
    (line,) = stage.warnings
    assert "belongs to user 65534" in line
    with pytest.raises(CacheError, match="belongs to user 65534"):
        stage.client.cache.status()
    stage.close()
    assert os.listdir(stage.cache) == []


@pytest.fixture
def served(tmp_path: Path) -> object:
    """A server with one resource."""
    with serve(tmp_path / "www") as running:
        running.put("data.bin", random_bytes(10_000))
        yield running


def run_as_nobody(commands: Commands, *args: object) -> subprocess.CompletedProcess[bytes]:
    """The command line as another user."""
    return subprocess.run(
        [sys.executable, "-m", "netcache_cli", *map(str, args)],
        env=commands.environ,
        capture_output=True,
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        timeout=60,
        check=False,
    )


@needs_root
def test_the_command_line_works_without_the_cache_of_another_user(
    tmp_path: Path, served: Served
) -> None:
    """Commands work from the server, with one warning; commands about the cache exit with 9 and
    one line that says what to do."""
    commands = Commands(tmp_path)
    url = served.url + "data.bin"
    commands.cache.mkdir(mode=0o700)
    os.chown(commands.cache, NOBODY, NOBODY)
    done = commands("cat", url)
    assert done.out == random_bytes(10_000)
    assert done.code == 0
    assert done.error.startswith("netcache: warning: going on without a cache: ")
    for verb in (("status",), ("ls",), ("clear",), ("verify",), ("cull",), ("drop", url)):
        done = commands("cache", *verb)
        assert done.code == 9
        assert "belongs to user 65534" in done.error
    assert os.listdir(commands.cache) == []


@needs_root
def test_another_user_cannot_look_into_our_cache(tmp_path: Path, served: Served) -> None:
    """Where the directory cannot even be entered it is one line, too."""
    commands = Commands(tmp_path)
    url = served.url + "data.bin"
    assert commands("cat", url).code == 0
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    try:
        done = run_as_nobody(commands, "cat", "--offline", url)
    except PermissionError:
        pytest.skip("the interpreter is not for other users here")
    assert done.returncode == 8
    done = run_as_nobody(commands, "cat", url)
    assert (done.returncode, done.stdout) == (0, random_bytes(10_000))
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"netcache: warning: going on without a cache: ")
    done = run_as_nobody(commands, "cache", "status")
    assert done.returncode == 9
    assert len(done.stderr.splitlines()) == 1
