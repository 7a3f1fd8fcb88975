"""Cache directories that somebody has prepared: nothing is believed, waited for or written through.

A cache can come out of an archive, or have lain open to others; root can place anything.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import netcache
from netcache.errors import CacheError
from tests.support.commands import Commands
from tests.support.served import Served, random_bytes, serve

DATA = random_bytes(300_000)
OTHER_USER = 54321

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server with one file."""
    with serve(tmp_path / "www") as running:
        running.put("f", DATA)
        yield running


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file and a folder that links may lead to."""
    folder = tmp_path / "outside"
    (folder / "folder").mkdir(parents=True)
    (folder / "file").write_bytes(b"precious")
    return folder


def looks(folder: Path) -> list[tuple[object, ...]]:
    """All that is there, with what would change when it is touched."""
    return [
        (path, path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in sorted([folder, *folder.rglob("*")])
    ]


def a_socket(path: Path) -> None:
    """A socket; its address is short, so it is made from its folder."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def a_file(path: Path) -> None:
    """A file of nonsense."""
    path.write_bytes(b"\xff" * 5000)


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "link to a file": lambda path, outside: path.symlink_to(outside / "file"),
    "link to a folder": lambda path, outside: path.symlink_to(outside / "folder"),
    "link to nothing": lambda path, outside: path.symlink_to(outside / "new"),
    "FIFO": lambda path, _: os.mkfifo(path, 0o600),
    "socket": lambda path, _: a_socket(path),
    "file": lambda path, _: a_file(path),
    "folder": lambda path, _: path.mkdir(),
}


def use(cache: Path, served: Served, target: Path) -> list[str]:
    """Read, list, edit with the journal, and ask about the cache; gives the warnings."""
    warnings: list[str] = []
    with netcache.Client(
        cache_dir=cache, timeout=10.0, durability="journal", on_warning=warnings.append
    ) as client:
        client.get(served.url + "f", target)
        assert target.read_bytes() == DATA
        with client.open(served.url + "f") as file:
            assert file.pread(1000, 200_000) == DATA[200_000:201_000]
        assert [entry.name for entry in client.ls(served.url)] == ["f"]
        for question in (
            client.cache.status,
            client.cache.objects,
            client.cache.verify,
            client.stats,
        ):
            # What is prepared may make them fail, in this way only.
            with suppress(CacheError):
                question()
    return warnings


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "FIFO"])
def test_anything_may_stand_in_the_place_of_anything(
    tmp_path: Path, served: Served, outside: Path, kind: str
) -> None:
    """Each name of a cache is replaced in turn: the right bytes come, nothing waits for ever,
    nothing outside is read into the cache or written, and what is used afterwards is sound."""
    before = looks(outside)
    cache, target = tmp_path / "cache", tmp_path / "target"
    names: set[str] = set()
    while True:
        use(cache, served, target)
        found = {str(path.relative_to(cache)) for path in cache.rglob("*")}
        fresh = sorted(found - names - {"cache", "graveyard"}) + sorted(
            {"cache", "graveyard"} - names
        )
        if not fresh:
            break
        name = fresh[0]
        names.add(name)
        path = cache / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        KINDS[kind](path, outside)
        target.unlink()
        use(cache, served, target)
        assert looks(outside) == before, name
        shutil.rmtree(cache)
        target.unlink()
    assert {"cache", "format", "probe", "stats", "uploads"} & names >= {"cache", "format", "stats"}


@pytest.mark.parametrize("name", ["uploads", "uploads/x", "uploads/x/record", "uploads/x/data"])
@pytest.mark.parametrize("kind", [*KINDS])
def test_the_journal_takes_nothing_but_files_in_folders(
    tmp_path: Path, served: Served, outside: Path, name: str, kind: str
) -> None:
    """Links in the journal would have others' files uploaded, FIFOs would stop every start."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    (cache / name).parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("record"):
        (cache / "uploads/x/data").write_bytes(b"data")
    elif name.endswith("data"):
        (cache / "uploads/x/record").write_bytes(b"record")
    KINDS[kind](cache / name, outside)
    before = looks(outside)
    use(cache, served, tmp_path / "target")
    assert looks(outside) == before
    assert served.count("PUT") == served.count("PATCH") == 0


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_cache_that_others_could_write_to_is_not_believed(
    tmp_path: Path, served: Served, mode: int
) -> None:
    """It is left alone, the server serves, and the warning says what to do; made private again by
    its owner it is a cache as before."""
    cache, target = tmp_path / "cache", tmp_path / "target"
    assert use(cache, served, target) == []
    before = looks(cache)
    cache.chmod(mode)
    (warning,) = use(cache, served, target)
    assert "could be written to by others" in warning
    assert "700" in warning
    cache.chmod(0o700)
    assert looks(cache) == before
    assert use(cache, served, target) == []


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_new_cache_becomes_private(tmp_path: Path, served: Served, mode: int) -> None:
    """An empty folder with a wide mode is taken and closed; nothing in it can be read by others,
    whatever the umask."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    before = os.umask(0)
    try:
        assert use(cache, served, tmp_path / "target") == []
    finally:
        os.umask(before)
    for path in [cache, *cache.rglob("*")]:
        assert path.lstat().st_mode & 0o077 == 0, path


@needs_root
def test_a_cache_of_another_user_is_refused(tmp_path: Path, served: Served) -> None:
    """Not even root takes what is not his: exit 9 where it is about the cache, else a warning."""
    cache = tmp_path / "cache"
    use(cache, served, tmp_path / "target")
    os.chown(cache, OTHER_USER, OTHER_USER)
    run = Commands(tmp_path)
    ran = run("cache", "status")
    assert ran.code == 9
    assert "belongs to user 54321" in ran.error
    ran = run("cat", served.url + "f")
    assert (ran.code, ran.out) == (0, DATA)
    assert "belongs to user 54321" in ran.error


@needs_root
def test_objects_of_another_user_are_not_believed(tmp_path: Path, served: Served) -> None:
    """He could change them at any time: they are fetched anew."""
    cache, target = tmp_path / "cache", tmp_path / "target"
    use(cache, served, target)
    (largest,) = [
        path
        for path in (cache / "cache").rglob("*")
        if path.is_file() and path.stat().st_size > 200_000
    ]
    os.chown(largest, OTHER_USER, OTHER_USER)
    with open(largest, "r+b") as file:
        file.write(b"evil")
    served.forget()
    use(cache, served, target)
    assert served.body_bytes() >= len(DATA)
    assert [path.stat().st_uid for path in (cache / "cache").rglob("*") if path.is_file()].count(
        OTHER_USER
    ) == 0


@needs_root
def test_edits_of_another_user_are_not_uploaded(tmp_path: Path, served: Served) -> None:
    """An edit in the journal goes out with the user's credentials, so only his own does."""
    cache = tmp_path / "cache"
    script = (
        "import netcache, os, sys\n"
        "client = netcache.Client(cache_dir=sys.argv[1], durability='journal', write_mode='back')\n"
        "file = client.open(sys.argv[2], 'r+b')\n"
        "file.pwrite(b'edited', 0)\n"
        "file.flush()\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, cache, served.url + "f"], check=True)
    entries = list((cache / "uploads").iterdir())
    assert len(entries) == 1
    for path in (entries[0], *entries[0].iterdir()):
        os.chown(path, OTHER_USER, OTHER_USER)
    run = Commands(tmp_path)
    assert run("recover").code == 0
    assert (served.root / "f").read_bytes() == DATA
    for path in (entries[0], *entries[0].iterdir()):
        os.chown(path, 0, 0)
    assert run("recover").code == 0
    assert (served.root / "f").read_bytes()[:6] == b"edited"
