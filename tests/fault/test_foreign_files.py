"""Foreign things in a cache directory: FIFOs, sockets, folders, links, devices, files of others."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netcache
from netcache.errors import CacheError
from tests.support.disk_driver import watched
from tests.support.disk_faults import DiskFaults
from tests.support.disk_stage import DATA, OTHER, OTHER_URL, UP_URL, URL, Stage

SECRET = b"not a part of any cache"


def fifo(place: Path, outside: Path) -> None:
    """Nobody is at the other end: who opens it carelessly waits for ever."""
    os.mkfifo(place)


def unix_socket(place: Path, outside: Path) -> None:
    """Cannot be opened at all."""
    here = os.getcwd()
    # The name of a socket must be short.
    os.chdir(place.parent)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(place.name)
    finally:
        os.chdir(here)


def folder(place: Path, outside: Path) -> None:
    """With something in it."""
    place.mkdir()
    (place / "inside").write_bytes(SECRET)


def link_to_file(place: Path, outside: Path) -> None:
    """Points to a file that is none of our business."""
    place.symlink_to(outside / "file")


def link_to_folder(place: Path, outside: Path) -> None:
    """Points to a folder that is none of our business."""
    place.symlink_to(outside)


def dangling_link(place: Path, outside: Path) -> None:
    """Points nowhere."""
    place.symlink_to(outside / "nothing")


def empty_file(place: Path, outside: Path) -> None:
    """Without a label."""
    place.write_bytes(b"")


def other_file(place: Path, outside: Path) -> None:
    """Of another program."""
    place.write_bytes(SECRET * 1000)


KINDS = [
    fifo,
    unix_socket,
    folder,
    link_to_file,
    link_to_folder,
    dangling_link,
    empty_file,
    other_file,
]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A cache that holds two resources, and no client yet."""
    faults = DiskFaults(tmp_path / "cache")
    made = Stage(tmp_path, faults)
    made.server.store(URL, DATA)
    made.server.store(OTHER_URL, OTHER)
    with made.new_client() as client:
        for url in (URL, OTHER_URL):
            client.get(url, tmp_path / "got")
        client.ls("http://memory.invalid/")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    with watched() as noise:
        yield made
        made.close()
    assert noise == []
    assert os.listdir(outside) == ["file"], "nothing is made or removed behind a link"
    assert (outside / "file").read_bytes() == SECRET


def objects(stage: Stage) -> list[Path]:
    """The files of the cached resources."""
    return [path for path in (stage.cache / "cache").rglob("D*") if path.is_file()]


def replace(place: Path, kind: Callable[[Path, Path], None], outside: Path) -> None:
    """Put something foreign in its place."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    kind(place, outside)


def use(stage: Stage) -> None:
    """Everything a client does; what is about the cache may say that it cannot."""
    client = stage.client
    for url, data in ((URL, DATA), (OTHER_URL, OTHER)):
        with client.open(url) as file:
            assert file.read() == data
    client.get(URL, stage.home / "got")
    assert (stage.home / "got").read_bytes() == DATA
    with client.open(OTHER_URL, "r+b") as file:
        file.pwrite(b"new", 5)
    assert stage.at_server(OTHER_URL) == OTHER[:5] + b"new" + OTHER[8:]
    client.ls("http://memory.invalid/")
    cache = client.cache
    for work in (
        cache.status,
        lambda: list(cache.objects()),
        lambda: cache.map(URL),
        cache.verify,
        lambda: cache.verify(repair=True),
        cache.stats,
        client.edits.unsent,
        lambda: cache.cull(0),
        lambda: cache.drop(URL),
        cache.clear,
    ):
        with contextlib.suppress(netcache.NotCachedError), stage.about_cache():
            work()
    with client.open(URL) as file:
        assert file.read() == DATA
    for line in [*stage.warnings, *map(str, stage.refused)]:
        assert "\n" not in line
    assert len(stage.warnings) <= 1, stage.warnings


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_something_foreign_where_an_object_should_be_is_a_miss(
    stage: Stage, kind: Callable[[Path, Path], None]
) -> None:
    """It is replaced by the object that is fetched, and looked after without harm."""
    for place in objects(stage):
        replace(place, kind, stage.home / "outside")
    use(stage)
    assert stage.warnings == []
    assert stage.refused == []
    with stage.client.open(URL) as file:
        file.read()
    assert stage.client.cache.extents(URL) == [(0, len(DATA))]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "name", ["format", "probe", "stats", "CACHEDIR.TAG", "cache", "graveyard", "uploads", "usage"]
)
def test_something_foreign_in_place_of_what_a_cache_consists_of(
    stage: Stage, name: str, kind: Callable[[Path, Path], None]
) -> None:
    """Repaired, or one clear line, and everything comes from the server."""
    replace(stage.cache / name, kind, stage.home / "outside")
    use(stage)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_something_foreign_in_place_of_a_folder_of_objects(
    stage: Stage, kind: Callable[[Path, Path], None]
) -> None:
    """A volume, or a part of one, is no folder: reads come from the server."""
    for part in {path.parent for path in objects(stage)}:
        replace(part, kind, stage.home / "outside")
    use(stage)
    stage.close()
    for volume in list((stage.cache / "cache").iterdir()):
        replace(volume, kind, stage.home / "outside")
    stage.warnings.clear()
    stage.refused.clear()
    stage.server.store(OTHER_URL, OTHER)
    use(stage)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_foreign_things_beside_objects_are_left_alone_by_reads(
    stage: Stage, kind: Callable[[Path, Path], None]
) -> None:
    """They stand everywhere; nothing but looking after the cache even sees them."""
    folders = [stage.cache, *(path for path in stage.cache.rglob("*") if path.is_dir())]
    for number, place in enumerate(folders):
        kind(place / f"foreign{number}", stage.home / "outside")
    use(stage)
    assert stage.warnings == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_names_that_are_not_utf8_are_counted_and_cleared_like_others(
    stage: Stage, kind: Callable[[Path, Path], None]
) -> None:
    """Counting them failed the reads that needed room, and clearing them ended in a traceback."""
    folders = [path for path in (stage.cache / "cache").rglob("*") if path.is_dir()]
    for place in [stage.cache / "cache", stage.cache / "graveyard", *folders]:
        kind(place / os.fsdecode(b"foreign\xff\xfe"), stage.home / "outside")
    # A cache with a limit has to know what it holds, and this one does not.
    (stage.cache / "usage").unlink(missing_ok=True)
    stage.options["cache_size"] = 1 << 20
    stage.client.pin(URL)
    with stage.client.open(UP_URL, "wb") as file:
        file.write(DATA)
    stage.client.cache.drop(URL)
    use(stage)
    assert stage.warnings == []
    assert stage.refused == []


def test_a_cache_directory_that_is_something_else_is_refused_with_one_line(tmp_path: Path) -> None:
    """A file, a FIFO, a link to a folder: a line that says so, and the client works."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    for kind in (fifo, unix_socket, other_file, link_to_folder, dangling_link):
        home = tmp_path / kind.__name__
        home.mkdir()
        stage = Stage(home, DiskFaults(home / "cache"))
        stage.server.store(URL, DATA)
        kind(stage.cache, outside)
        with stage.client.open(URL) as file:
            assert file.read() == DATA
        (line,) = stage.warnings
        assert line.startswith("going on without a cache: ")
        with pytest.raises(CacheError):
            stage.client.cache.status()
        stage.close()
    assert os.listdir(outside) == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a device file needs root")
def test_a_device_in_place_of_an_object_is_never_read(stage: Stage) -> None:
    """Opening it could do anything; it is not believed, and it is replaced."""
    for place in objects(stage):
        place.unlink()
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    use(stage)
    assert stage.warnings == []
