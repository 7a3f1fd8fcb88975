"""Edits that survive: killed writers, conflicts, what is kept and for whom."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import netcache
from netcache_server import FaultRule
from tests.support.served import Served, random_bytes, serve

BIG = random_bytes(3_000_123, 9)
NO_PARTS = FaultRule(
    method=("OPTIONS",), remove_headers=("Accept-Patch", "DAV", "X-Accept-Partial-Put")
)

WRITER = """
import sys, netcache
cache, url, cold = sys.argv[1:4]
client = netcache.Client(
    cache_dir=cache, durability="journal", write_mode="back", flush_interval=1000
)
if not int(cold):
    client.warm(url)
file = client.open(url, "r+b")
file.pwrite(b"first", 5000)
file.pwrite(b"n" * 8192, 1 << 20)
file.flush()
file.pwrite(b"never flushed", 2_000_000)
print("flushed", flush=True)
sys.stdin.read()
"""
EXPECTED = bytearray(BIG)
EXPECTED[5000:5005] = b"first"
EXPECTED[1 << 20 : (1 << 20) + 8192] = b"n" * 8192


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The bundled server on an empty folder."""
    with serve(tmp_path / "www") as running:
        yield running


def killed_writer(cache: Path, url: str, *, cold: bool = False) -> None:
    """Run ``WRITER`` up to its flush, and kill it."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(cache), url, str(int(cold))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"flushed\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()


@pytest.mark.parametrize("parts", [True, False], ids=["parts", "whole"])
@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
def test_what_flush_returned_for_is_uploaded_after_a_kill(
    served: Served, tmp_path: Path, parts: bool, cold: bool
) -> None:
    """By ``recover`` of any client on the directory; then there is nothing left of it."""
    served.server.set_faults([] if parts else [NO_PARTS])
    url = served.put("big", BIG)
    killed_writer(tmp_path / "cache", url, cold=cold)
    assert (served.root / "big").read_bytes() == BIG
    with netcache.Client(cache_dir=tmp_path / "cache", offline=True) as client:
        (edit,) = client.edits.unsent()
        assert edit.url == url
        assert not edit.conflict
    with netcache.Client(cache_dir=tmp_path / "cache") as client:
        client.edits.recover()
        assert client.edits.unsent() == []
        found = (served.root / "big").read_bytes()
        never = slice(2_000_000, 2_000_013)
        assert found[never] in (BIG[never], b"never flushed")
        assert found[: never.start] == EXPECTED[: never.start]
        assert found[never.stop :] == EXPECTED[never.stop :]
        with client.open(url) as file:
            assert file.read() == found
    assert list((tmp_path / "cache" / "uploads").iterdir()) == []


def test_the_next_command_uploads_it_on_the_way(served: Served, tmp_path: Path) -> None:
    """Nobody has to ask: opening a client is enough."""
    url = served.put("big", BIG)
    killed_writer(tmp_path / "cache", url)

    async def wait_for_it() -> None:
        async with netcache.AsyncClient(cache_dir=tmp_path / "cache") as client:
            await client.stat(url)
            await client.edits.recover()

    asyncio.run(wait_for_it())
    assert (served.root / "big").read_bytes()[5000:5005] == b"first"


def test_a_conflict_is_kept_for_its_user(served: Served, tmp_path: Path) -> None:
    """P7: the other's bytes stay; ours can be saved, pushed, or dropped."""
    url = served.put("big", BIG)
    killed_writer(tmp_path / "cache", url)
    theirs = random_bytes(len(BIG), 10)
    served.put("big", theirs)
    with netcache.Client(cache_dir=tmp_path / "cache") as client:
        (done,) = client.edits.recover()
        assert isinstance(done.error, netcache.ConflictError)
        assert (served.root / "big").read_bytes() == theirs
        (edit,) = client.edits.unsent()
        assert edit.conflict
        assert client.edits.recover() == []
        client.cache.clear()
        client.edits.save(edit.name, tmp_path / "changes", changes_only=True)
        assert (tmp_path / "changes").read_bytes()[5000:5005] == b"first"
        assert client.edits.push(edit.name).error is None
        found = (served.root / "big").read_bytes()
        assert found[5000:5005] == b"first"
        assert found[:4096] == theirs[:4096]
        assert client.edits.unsent() == []
        with pytest.raises(netcache.NotFoundError):
            client.edits.drop(edit.name)


@pytest.mark.parametrize("parts", [True, False], ids=["parts", "whole"])
def test_an_upload_that_arrived_before_the_kill_is_no_conflict(
    served: Served, tmp_path: Path, parts: bool
) -> None:
    """The part on its way is in the record: the server is asked whether it has it."""
    url = served.put("big", BIG)
    cache = tmp_path / "cache"
    script = WRITER.replace("sys.stdin.read()", "file.fsync()")
    script = script.replace("cache_dir=cache", "cache_dir=cache, retries=0")
    if parts:
        script = script.replace('file.pwrite(b"n" * 8192, 1 << 20)', "")
        script = script.replace('file.pwrite(b"never flushed", 2_000_000)', "")
    served.server.set_faults([FaultRule(method=("PATCH", "PUT"), lose_reply=True)])
    child = subprocess.run(
        [sys.executable, "-c", script, str(cache), url, "0"], capture_output=True, check=False
    )
    assert b"TransientError" in child.stderr
    assert (served.root / "big").read_bytes() != BIG
    served.server.set_faults([])
    with netcache.Client(cache_dir=cache) as client:
        assert [done.error for done in client.edits.recover()] == [None]
    expected = bytearray(BIG if parts else EXPECTED)
    expected[5000:5005] = b"first"
    if not parts:
        expected[2_000_000:2_000_013] = b"never flushed"
    assert (served.root / "big").read_bytes() == expected


@pytest.mark.parametrize("arrives", [False, True], ids=["lost", "lost-its-reply"])
def test_a_cut_is_not_taken_for_arrived_because_somebody_has_a_file_of_that_size(
    served: Served, tmp_path: Path, arrives: bool
) -> None:
    """What is there is compared with all that was sent: another's is a conflict, ours is not."""
    url = served.put("big", BIG)
    cache, size = tmp_path / "cache", 2_000_000
    script = (
        "import sys, netcache\n"
        "client = netcache.Client(cache_dir=sys.argv[1], durability='journal', retries=0)\n"
        "file = client.open(sys.argv[2], 'r+b')\n"
        f"file.truncate({size})\n"
        "file.flush()\n"
        "file.fsync()\n"
    )
    served.server.set_faults(
        [FaultRule(method=("PATCH", "PUT"), refuse=not arrives, lose_reply=arrives)]
    )
    child = subprocess.run(
        [sys.executable, "-c", script, str(cache), url], capture_output=True, check=False
    )
    assert b"TransientError" in child.stderr
    served.server.set_faults([])
    theirs = random_bytes(size, 10)
    if not arrives:
        served.put("big", theirs)
    with netcache.Client(cache_dir=cache) as client:
        (done,) = client.edits.recover()
        assert isinstance(done.error, type(None) if arrives else netcache.ConflictError)
        assert [bool(edit.conflict) for edit in client.edits.unsent()] == [True] * (not arrives)
    assert (served.root / "big").read_bytes() == (BIG[:size] if arrives else theirs)


CUTTER = """
import os, signal, sys, netcache
client = netcache.Client(
    cache_dir=sys.argv[1], durability="journal", write_mode="back", flush_interval=1000, retries=0
)
at, cut = map(int, sys.argv[3:5])
file = client.open(sys.argv[2], "r+b")
file.pwrite(b"sent" * 25, at)
try:
    file.fsync()
except netcache.TransientError:
    file.truncate(cut)
    file.pwrite(b"more", cut + 80)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("at", "cut"), [(5000, 1_000_000), (5000, len(BIG) + 30), (len(BIG), len(BIG) + 30)]
)
def test_a_cut_behind_an_upload_that_arrived_before_the_kill_is_made(
    served: Served, tmp_path: Path, at: int, cut: int
) -> None:
    """What the server has past the cut came back, where the file had grown again."""
    url = served.put("big", BIG)
    served.server.set_faults([FaultRule(method=("PATCH",), lose_reply=True)])
    child = subprocess.run(
        [sys.executable, "-c", CUTTER, str(tmp_path / "cache"), url, str(at), str(cut)],
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    served.server.set_faults([])
    expected = bytearray(BIG)
    expected[at : at + 100] = b"sent" * 25
    assert (served.root / "big").read_bytes() == expected
    expected = expected[:cut].ljust(cut + 80, b"\0") + b"more"
    with netcache.Client(cache_dir=tmp_path / "cache") as client:
        assert [done.error for done in client.edits.recover()] == [None]
    assert (served.root / "big").read_bytes() == expected


def test_the_edits_of_a_living_process_are_left_alone(served: Served, tmp_path: Path) -> None:
    """Whoever works on an entry holds its lock."""
    url = served.put("big", BIG)
    options = {"cache_dir": tmp_path / "cache", "durability": "journal", "write_mode": "back"}
    with netcache.Client(**options) as one, netcache.Client(**options) as two:  # type: ignore[arg-type]
        with one.open(url, "r+b") as file:
            file.pwrite(b"mine", 0)
            file.flush()
            assert two.edits.recover() == []
            assert len(two.edits.unsent()) == 1
            assert (served.root / "big").read_bytes() == BIG
        assert two.edits.unsent() == []
    assert (served.root / "big").read_bytes()[:4] == b"mine"


def test_closing_without_a_server_leaves_the_edit_in_the_journal(tmp_path: Path) -> None:
    """The error says so, and the bytes are uploaded by the next client that reaches it."""
    with serve(tmp_path / "www") as served:
        url = served.put("big", BIG)
        client = netcache.Client(
            cache_dir=tmp_path / "cache", durability="journal", write_mode="back", retries=0
        )
        file = client.open(url, "r+b")
        file.pwrite(b"mine", 0)
        served.server.set_faults([FaultRule(method=("PATCH", "PUT", "OPTIONS"), refuse=True)])
        with pytest.raises(netcache.TransientError):
            file.close()
        client.close()
        served.server.set_faults([])
        with netcache.Client(cache_dir=tmp_path / "cache") as other:
            assert [done.error for done in other.edits.recover()] == [None]
        assert (served.root / "big").read_bytes()[:4] == b"mine"


def test_an_aborted_edit_leaves_nothing(served: Served, tmp_path: Path) -> None:
    """Dropped is dropped, also after a flush."""
    url = served.put("big", BIG)
    with netcache.Client(
        cache_dir=tmp_path / "cache", durability="journal", write_mode="back"
    ) as client:
        file = client.open(url, "r+b")
        file.pwrite(b"mine", 0)
        file.flush()
        file.abort()
        assert os.listdir(tmp_path / "cache" / "uploads") == []
        assert client.edits.recover() == []
    assert (served.root / "big").read_bytes() == BIG


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage"])
def test_a_damaged_record_is_believed_by_nobody(
    served: Served, tmp_path: Path, damage: str
) -> None:
    """It is not uploaded, and not removed either: only its user can tell what it was."""
    url = served.put("big", BIG)
    killed_writer(tmp_path / "cache", url)
    (entry,) = (tmp_path / "cache" / "uploads").iterdir()
    raw = (entry / "record").read_bytes()
    changed = {
        "cut": raw[:-20],
        "flipped": raw[:30] + bytes([raw[30] ^ 1]) + raw[31:],
        "empty": b"",
        "garbage": b"\xff" * 100,
    }[damage]
    (entry / "record").write_bytes(changed)
    with netcache.Client(cache_dir=tmp_path / "cache") as client:
        assert client.edits.recover() == []
    assert (entry / "data").exists()
    assert (served.root / "big").read_bytes() == BIG


def test_an_edit_whose_base_is_nowhere_any_more_is_a_conflict_and_kept(
    served: Served, tmp_path: Path
) -> None:
    """Sent whole it needs the bytes around the change, which neither cache nor server has.

    No later client tries again: the user decides.
    """
    served.server.set_faults([NO_PARTS])
    url = served.put("small", BIG[:40_000])
    with netcache.Client(
        cache_dir=tmp_path / "cache", durability="journal", write_mode="back", readahead=0
    ) as client:
        file = client.open(url, "r+b")
        file.pwrite(b"mine", 0)
        file.flush()
        served.put("small", BIG[:40_000][::-1])
        with pytest.raises(netcache.ConflictError):
            file.fsync()
        with pytest.raises(netcache.ConflictError):
            file.close()
        (edit,) = client.edits.unsent()
        assert edit.conflict
    with netcache.Client(cache_dir=tmp_path / "cache") as other:
        assert other.edits.recover() == []
    assert (served.root / "small").read_bytes() == BIG[:40_000][::-1]
