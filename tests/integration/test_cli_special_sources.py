"""What is put and tells no size: pipes, devices, files that are made while they are read."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

MIB = 1 << 20
DATA = random_bytes(9 * MIB + 77)
LIMIT_S = 30


def wait_until_open(pid: int, path: Path) -> None:
    """Until the process has it open."""
    for _ in range(1_000_000):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(f"/proc/{pid}/fd/{number}") == os.path.realpath(path):
                    return
    raise AssertionError(f"{path} is not opened")


@pytest.mark.parametrize("data", [b"", b"little", DATA], ids=["empty", "small", "large"])
@pytest.mark.parametrize("path", ["/dev/stdin", "/proc/self/fd/0"])
def test_a_pipe_by_its_path(served: Served, netcache: Commands, path: str, data: bytes) -> None:
    """All that comes out of it, as from `-`; what was there is replaced by that, not by nothing."""
    url = served.put("a", b"old")
    ran = netcache("put", path, url, stdin=data)
    assert (ran.code, ran.err) == (0, "")
    assert f" {len(data)} bytes" in ran.text
    assert (served.root / "a").read_bytes() == data
    served.forget()
    assert netcache("cat", url).out == data
    assert served.body_bytes() == 0


def test_what_a_shell_gives_for_the_output_of_a_command(served: Served, netcache: Commands) -> None:
    """`put <(tar c dir) URL`: a pipe that another process writes."""
    (netcache.home / "data").write_bytes(DATA)
    url = served.put("a", b"old")
    words = [str(word) for word in netcache.line("put", "/dev/null", url)]
    command = shlex.join(words).replace("/dev/null", "<(cat data)")
    done = subprocess.run(
        ["bash", "-c", command],
        env=netcache.environ,
        cwd=netcache.home,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (served.root / "a").read_bytes() == DATA


def test_a_fifo_is_read_to_its_end(served: Served, netcache: Commands) -> None:
    """Also when its writer comes after the reader."""
    url = served.put("a", b"old")
    fifo = netcache.home / "fifo"
    os.mkfifo(fifo)
    with netcache.started("put", "fifo", url) as process:
        # Opening waits for the command to have opened its end.
        fifo.write_bytes(DATA)
        assert process.wait(LIMIT_S) == 0
    assert (served.root / "a").read_bytes() == DATA


def test_a_fifo_among_several_sources(served: Served, netcache: Commands) -> None:
    """It has a name, so it may lie in a folder like a file."""
    os.mkfifo(netcache.home / "fifo")
    (netcache.home / "plain").write_bytes(b"plain")
    writer = threading.Thread(target=(netcache.home / "fifo").write_bytes, args=(b"piped",))
    writer.start()
    try:
        ran = netcache("put", "plain", "fifo", served.url + "folder")
    finally:
        writer.join(LIMIT_S)
    assert (ran.code, ran.err) == (0, "")
    assert (served.root / "folder/plain").read_bytes() == b"plain"
    assert (served.root / "folder/fifo").read_bytes() == b"piped"


def test_a_fifo_whose_writer_says_nothing_can_be_given_up(
    served: Served, netcache: Commands
) -> None:
    """One Ctrl-C ends it, and what was there stays."""
    url = served.put("a", b"old")
    fifo = netcache.home / "fifo"
    os.mkfifo(fifo)
    # Opening it waits for the command to have opened its end.
    with netcache.started("put", "fifo", url) as process, fifo.open("wb"):
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130
    assert (served.root / "a").read_bytes() == b"old"


def test_a_fifo_without_a_writer_can_be_given_up(served: Served, netcache: Commands) -> None:
    """Nobody ever opens the other end."""
    url = served.put("a", b"old")
    os.mkfifo(netcache.home / "fifo")
    with netcache.started("put", "fifo", url) as process:
        wait_until_open(process.pid, netcache.home / "fifo")
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130
    assert (served.root / "a").read_bytes() == b"old"


def test_a_file_that_is_made_while_it_is_read(served: Served, netcache: Commands) -> None:
    """procfs tells size 0 of what has bytes."""
    url = served.put("a", b"old")
    ran = netcache("put", "/proc/filesystems", url)
    assert (ran.code, ran.err) == (0, "")
    assert (served.root / "a").read_bytes() == Path("/proc/filesystems").read_bytes()


def test_an_empty_file_stays_an_empty_file(served: Served, netcache: Commands) -> None:
    """With its time, as any other."""
    (netcache.home / "empty").touch()
    os.utime(netcache.home / "empty", (1_600_000_000, 1_600_000_000))
    assert netcache("put", "empty", served.url + "a").code == 0
    status = (served.root / "a").stat()
    assert (status.st_size, int(status.st_mtime)) == (0, 1_600_000_000)


def test_a_socket_is_no_source(served: Served, netcache: Commands) -> None:
    """One line, and what was there stays."""
    url = served.put("a", b"old")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(netcache.home / "socket"))
        ran = netcache("put", "socket", url)
    assert ran.code == 2
    assert ran.error == "netcache: upload of socket failed: it is a socket, which cannot be read"
    assert (served.root / "a").read_bytes() == b"old"


@pytest.mark.parametrize("small", [True, False])
def test_a_file_that_tells_more_than_it_has(
    served: Served, netcache: Commands, small: bool
) -> None:
    """sysfs tells a page of whatever it has; what has that many bytes is not that."""
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled" if small else "/proc/kallsyms")
    if not path.exists():
        pytest.skip(f"there is no {path} here")
    url = served.put("a", b"old")
    ran = netcache("put", path, url)
    assert (ran.code, ran.err) == (0, "")
    assert (served.root / "a").read_bytes() == path.read_bytes()


def test_a_socket_that_is_stdin_is_read(served: Served, netcache: Commands) -> None:
    """As `-` is: it cannot be opened again by its name."""
    url = served.put("a", b"old")
    for source in ("-", "/dev/stdin", "/dev/fd/0"):
        ours, theirs = socket.socketpair()
        with ours, netcache.started("put", source, url, stdin=theirs) as process:
            theirs.close()
            ours.sendall(source.encode() + DATA[:MIB])
            ours.shutdown(socket.SHUT_WR)
            assert process.wait(LIMIT_S) == 0, source
        assert (served.root / "a").read_bytes() == source.encode() + DATA[:MIB]


@pytest.mark.parametrize("path", ["/dev/stdin", "/proc/self/fd/0", "/dev/fd/0"])
def test_what_is_open_already_has_no_name_in_a_folder(
    served: Served, netcache: Commands, path: str
) -> None:
    """It was stored under the number of its descriptor."""
    (netcache.home / "plain").write_bytes(b"plain")
    for args in ((path, served.url + "folder/"), ("plain", path, served.url + "folder")):
        ran = netcache("put", *args, stdin=b"piped")
        assert ran.code in (2, 6)
        assert "has no name to be stored under in" in ran.error
        assert ran.error.count(path) == 1
    assert sorted(os.listdir(served.root)) == ["folder"]
    assert os.listdir(served.root / "folder") == ["plain"]


def test_what_is_not_there_is_named_once(served: Served, netcache: Commands) -> None:
    """Of several sources each error bears the name of its own before it."""
    (netcache.home / "plain").write_bytes(b"plain")
    ran = netcache("put", "nope", "plain", served.url + "folder")
    assert (ran.code, ran.error) == (6, "netcache: nope: no such file or directory")
