"""Uploads that a kill cut short: what the server has acknowledged is not sent again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import netcache
from netcache._core.extent import Extent
from netcache._netfs.journal import Journal
from netcache_server import FaultRule
from tests.support.served import Served, random_bytes, serve

MIB = 1 << 20
PARTS = 4
RUN = 8 * 4096
OLD = random_bytes(PARTS * MIB, 5)
NEW = random_bytes(RUN, 6)

WRITER = """
import sys, netcache
cache, url, new, parts, end = sys.argv[1:6]
client = netcache.Client(
    cache_dir=cache, durability="journal", write_mode="back", flush_interval=1000, retries=0
)
file = client.open(url, "r+b")
for number in range(int(parts)):
    file.pwrite(open(new, "rb").read(), number << 20)
file.flush()
try:
    file.fsync()
except netcache.TransientError:
    if end == "close":
        try:
            file.close()
        except netcache.TransientError:
            pass
    print("failed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The bundled server on an empty folder."""
    with serve(tmp_path / "www") as running:
        yield running


def writer(tmp_path: Path, url: str, end: str) -> subprocess.Popen[bytes]:
    """A process that runs ``WRITER``."""
    files = [str(tmp_path / "cache"), url, str(tmp_path / "new")]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *files, str(PARTS), end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def cut_short(served: Served, tmp_path: Path, rule: FaultRule, end: str = "kill") -> str:
    """A process whose upload meets ``rule``, and that is then killed; returns the URL."""
    url = served.put("big", OLD)
    (tmp_path / "new").write_bytes(NEW)
    served.server.set_faults([rule])
    with writer(tmp_path, url, end) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"failed\n"
        child.send_signal(signal.SIGKILL)
    served.server.set_faults([])
    served.forget()
    return url


def expected() -> bytes:
    """All of the edit."""
    data = bytearray(OLD)
    for number in range(PARTS):
        data[number * MIB : number * MIB + RUN] = NEW
    return bytes(data)


@pytest.mark.parametrize("arrives", [False, True], ids=["lost", "lost-its-reply"])
@pytest.mark.parametrize(
    ("done", "end"), [*((done, "kill") for done in range(PARTS)), (0, "close"), (2, "close")]
)
def test_only_parts_that_the_server_lacks_are_sent_after_a_kill(
    served: Served, tmp_path: Path, done: int, arrives: bool, end: str
) -> None:
    """Those acknowledged before it are not; the one on its way only if it did not arrive."""
    broken = FaultRule(method=("PATCH",), skip=done, refuse=not arrives, lose_reply=arrives)
    cut_short(served, tmp_path, broken, end)
    with netcache.Client(cache_dir=tmp_path / "cache") as client:
        assert [found.error for found in client.edits.recover()] == [None]
        assert client.edits.unsent() == []
    assert (served.root / "big").read_bytes() == expected()
    sent = [record["bytes_received"] for record in served.requests("PATCH")]
    # ``close`` finds that the first one has arrived, and sends the next, whose reply is lost too.
    assert sent == [RUN] * (PARTS - done - arrives * (1 + (end == "close")))


def test_a_kill_in_the_middle_of_a_part_costs_that_part(served: Served, tmp_path: Path) -> None:
    """Two are acknowledged, the third is on its way when the process is killed: two are sent."""
    url = served.put("big", OLD)
    (tmp_path / "new").write_bytes(NEW)
    served.server.set_faults([FaultRule(method=("PATCH",), skip=2, upload_bandwidth=1.0)])
    journal = Journal(str(tmp_path / "cache"))
    with writer(tmp_path, url, "kill") as child:
        sending: Extent | None = None
        while sending is None or sending.start != 2 * MIB:
            assert child.poll() is None
            records = [journal.peek(name) for name in journal.names()]
            doubt = records[0].doubt if records and records[0] is not None else None
            sending = doubt.part if doubt is not None else None
        child.send_signal(signal.SIGKILL)
    served.server.set_faults([])
    served.forget()
    with netcache.Client(cache_dir=tmp_path / "cache") as client:
        assert [found.error for found in client.edits.recover()] == [None]
    assert (served.root / "big").read_bytes() == expected()
    assert [record["bytes_received"] for record in served.requests("PATCH")][-2:] == [RUN] * 2
    whole = [r for r in served.requests("PATCH") if r["bytes_received"] == RUN]
    assert len(whole) == 2


@pytest.mark.parametrize("arrives", [False, True], ids=["lost", "lost-its-reply"])
def test_a_whole_upload_that_arrived_is_not_sent_again(
    served: Served, tmp_path: Path, arrives: bool
) -> None:
    """Where parts cannot be changed: all of it is there, or all of it is sent."""
    url = served.put("big", OLD)
    (tmp_path / "new").write_bytes(NEW)
    no_parts = FaultRule(
        method=("OPTIONS",), remove_headers=("Accept-Patch", "DAV", "X-Accept-Partial-Put")
    )
    served.server.set_faults(
        [no_parts, FaultRule(method=("PUT",), refuse=not arrives, lose_reply=arrives)]
    )
    with writer(tmp_path, url, "kill") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"failed\n"
        child.send_signal(signal.SIGKILL)
    served.server.set_faults([no_parts])
    served.forget()
    with netcache.Client(cache_dir=tmp_path / "cache") as client:
        assert [found.error for found in client.edits.recover()] == [None]
    assert (served.root / "big").read_bytes() == expected()
    assert served.count("PUT") == (not arrives)


def test_another_writer_between_the_parts_is_a_conflict_and_the_rest_is_kept(
    served: Served, tmp_path: Path
) -> None:
    """P7: what is at the server by then is his; what was not sent is there to be saved."""
    cut_short(served, tmp_path, FaultRule(method=("PATCH",), skip=2, refuse=True))
    theirs = random_bytes(len(OLD), 8)
    served.put("big", theirs)
    with netcache.Client(cache_dir=tmp_path / "cache") as client:
        (found,) = client.edits.recover()
        assert isinstance(found.error, netcache.ConflictError)
        (edit,) = client.edits.unsent()
        assert edit.conflict
        assert edit.size == 2 * RUN
        client.edits.save(edit.name, tmp_path / "kept", changes_only=True)
    kept = (tmp_path / "kept").read_bytes()
    assert all(kept[number * MIB : number * MIB + RUN] == NEW for number in (2, 3))
    assert (served.root / "big").read_bytes() == theirs
