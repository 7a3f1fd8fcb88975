"""Devices, FIFOs and sockets as targets: written to, or left alone; no file takes their place."""

from __future__ import annotations

import io
import os
import shlex
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import netcache as library
from netcache._client.target import TargetFile
from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

DATA = random_bytes(3_000_000)
LIMIT_S = 30


def kind(path: Path) -> int:
    """What stands there, not followed."""
    return stat.S_IFMT(path.lstat().st_mode)


def special(path: Path, what: str) -> Path:
    """A FIFO, a socket, or a link to a device, in place."""
    if what == "fifo":
        os.mkfifo(path)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.symlink_to("/dev/null")
    return path


@pytest.mark.parametrize("cached", [False, True], ids=["cold", "cached"])
def test_a_fifo_gets_the_bytes(served: Served, netcache: Commands, cached: bool) -> None:
    """And nothing else is told, for stdout may be the same pipe."""
    url, fifo = served.put("a", DATA), special(netcache.home / "fifo", "fifo")
    if cached:
        netcache("warm", url)
    # Opened for both ends: neither waits for the other.
    with open(fifo, "r+b", buffering=0) as pipe:
        seen: list[bytes] = []
        reader = threading.Thread(target=lambda: seen.append(read(pipe, len(DATA))), daemon=True)
        reader.start()
        ran = netcache("get", url, fifo)
        assert (ran.code, ran.out, ran.err) == (0, b"", "")
        assert fifo.is_fifo()
        reader.join(LIMIT_S)
    assert seen == [DATA]


def read(pipe: io.FileIO, count: int) -> bytes:
    """So many bytes."""
    data = bytearray()
    while len(data) < count:
        data += pipe.read(count - len(data)) or b""
    return bytes(data)


def test_a_link_to_a_device_stays_one(served: Served, netcache: Commands) -> None:
    """`get URL /dev/null` brings the resource into the cache; a full device is one."""
    url, null = served.put("a", DATA), special(netcache.home / "null", "link")
    ran = netcache("get", url, null)
    assert (ran.code, ran.out, ran.err) == (0, b"", "")
    assert os.readlink(null) == "/dev/null"
    served.forget()
    assert netcache("cat", url).out == DATA
    assert served.body_bytes() == 0
    full = netcache.home / "full"
    full.symlink_to("/dev/full")
    ran = netcache("get", url, full)
    assert (ran.code, ran.err) == (11, f"netcache: no space left on device: {full}\n")
    assert os.readlink(full) == "/dev/full"


def test_a_reader_that_goes_away_is_an_error(served: Served, netcache: Commands) -> None:
    """Of stdout it is none; what was to go to a named pipe did not."""
    url, fifo = served.put("a", DATA), special(netcache.home / "fifo", "fifo")
    with netcache.started("get", url, fifo) as process:
        with open(fifo, "rb", buffering=0) as pipe:
            assert read(pipe, 10) == DATA[:10]
        assert process.wait(LIMIT_S) == 1
        assert process.stderr is not None
        told = process.stderr.read().decode()
    assert (
        told == f"netcache: copy of {url} to {fifo} failed: its reader went away before the end\n"
    )


@pytest.mark.parametrize("dest", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_who_writes_next_goes_on_behind_it(served: Served, netcache: Commands, dest: str) -> None:
    """What is open already is written to where it stands; it was opened anew, with an own end."""
    url, out = served.put("a", DATA), netcache.home / "out"
    command = shlex.join(str(word) for word in netcache.line("get", url, dest))
    script = f"{{ printf first; {command}; printf last; }} >{shlex.quote(str(out))}"
    subprocess.run(["bash", "-c", script], env=netcache.environ, timeout=LIMIT_S, check=True)
    assert out.read_bytes() == b"first" + DATA + b"last"


@pytest.mark.root
def test_a_device_stays_one(served: Served, netcache: Commands) -> None:
    """Of whoever may replace it."""
    null = netcache.home / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        null.open("wb").close()
    except PermissionError as error:
        pytest.skip(f"no device can be made here: {error}")
    url = served.put("a", DATA)
    for _ in ("cold", "cached"):
        ran = netcache("get", url, null)
        assert (ran.code, ran.out, ran.err) == (0, b"", "")
        assert kind(null) == stat.S_IFCHR


def test_a_link_of_a_process_to_its_stdout_is_stdout(served: Served, netcache: Commands) -> None:
    """As it is where a shell puts a pipe in the place of a file."""
    out = netcache.home / "out"
    out.symlink_to("/proc/self/fd/1")
    assert netcache("get", served.put("a", DATA), out).out == DATA
    assert out.is_symlink()


def test_the_link_of_stdout_is_special_whatever_stdout_is(tmp_path: Path) -> None:
    """A file just now."""
    code = "from netcache._client.items import is_special; print(is_special('/dev/stdout'))"
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "True\n"


@pytest.mark.parametrize("what", ["fifo", "socket", "link"])
@pytest.mark.parametrize("cached", [False, True], ids=["cold", "cached"])
def test_the_library_refuses_them(
    served: Served, client: library.Client, tmp_path: Path, what: str, cached: bool
) -> None:
    """In one line, before anything is fetched; also as the one file of a tree."""
    url, place = served.put("a", DATA), special(tmp_path / "place", what)
    if cached:
        client.warm(url)
    before = kind(place)
    served.forget()
    for bring in (client.get, client.sync):
        with pytest.raises(library.NetCacheError, match="FIFO"):
            bring(url, place)
        assert served.body_bytes() == 0
    with pytest.raises(library.NetCacheError, match="FIFO"):
        client.get(url, place, recursive=True)
    assert kind(place) == before


@pytest.mark.parametrize("what", ["fifo", "socket"])
def test_in_a_tree_only_deletion_takes_them_away(
    served: Served, netcache: Commands, what: str
) -> None:
    """The others arrive; a dry run says the same."""
    served.put("t/a", b"1")
    served.put("t/b", b"2")
    dest = netcache.home / "dest"
    dest.mkdir()
    place = special(dest / "a", what)
    before = kind(place)
    for args in (("sync", "-n"), ("sync",), ("get", "-r")):
        ran = netcache(*args, served.url + "t", dest)
        assert ran.code == 6
        assert ran.error.startswith("netcache: a: a device, FIFO or socket stands where a file ")
        assert kind(place) == before
    assert (dest / "b").read_bytes() == b"2"
    assert netcache("sync", "--delete", served.url + "t", dest).code == 0
    assert place.read_bytes() == b"1"


@pytest.mark.parametrize("what", ["fifo", "socket", "link"])
def test_an_edit_is_not_saved_over_them(
    served: Served, client: library.Client, tmp_path: Path, what: str
) -> None:
    """It is still there to be saved elsewhere."""
    place = special(tmp_path / "place", what)
    before = kind(place)
    with client.open(served.put("a", b"old"), "r+b") as file:
        file.write(b"new")
        with pytest.raises(library.NetCacheError, match="FIFO"):
            file.save_as(place)
        assert kind(place) == before
        assert file.save_as(tmp_path / "copy") == 3


def test_what_comes_while_a_file_is_made_is_not_replaced(tmp_path: Path) -> None:
    """Whoever put it there meanwhile; nothing of the file is left."""
    place = tmp_path / "place"
    target = TargetFile(str(place))
    special(place, "fifo")
    with pytest.raises(library.NetCacheError, match="FIFO"):
        target.finish(0, None)
    assert place.is_fifo()
    assert os.listdir(tmp_path) == ["place"]
