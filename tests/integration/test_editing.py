"""Editing: what is sent, what is kept, who hears of what."""

from __future__ import annotations

import contextlib
import random
import threading
from pathlib import Path

import pytest

import netcache
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes, serve

MIB = 1 << 20
BLOCK = 4096
BIG = random_bytes(8 * MIB + 123, 5)


def patched(data: bytes, start: int, new: bytes) -> bytes:
    """``data`` with ``new`` at ``start``."""
    return data[:start] + bytes(max(0, start - len(data))) + new + data[start + len(new) :]


def uploaded_bytes(served: Served) -> int:
    """How many bytes of bodies the server was sent."""
    return sum(
        record["bytes_received"]
        for record in served.requests()
        if record["method"] in ("PUT", "PATCH")
    )


@pytest.mark.parametrize("write_mode", ["through", "back"])
def test_an_edit_sends_the_blocks_it_touches_and_fetches_nothing(
    served: Served, new_client: NewClient, write_mode: str
) -> None:
    """4 KiB in a cached object: so many bytes go out, none come in, and the cache has them."""
    url = served.put("big", BIG)
    client = new_client(write_mode=write_mode)
    client.warm(url)
    served.forget()
    with client.open(url, "r+b") as file:
        file.pwrite(b"n" * BLOCK, 3 * MIB)
    assert uploaded_bytes(served) == BLOCK
    assert served.body_bytes() == 0
    expected = patched(BIG, 3 * MIB, b"n" * BLOCK)
    assert (served.root / "big").read_bytes() == expected
    served.forget()
    with client.open(url) as file:
        assert file.read() == expected
    assert served.body_bytes() == 0


def test_an_edit_of_a_cold_object_fetches_only_what_it_cuts(
    served: Served, client: netcache.Client
) -> None:
    """Whole blocks need nothing; a part of one needs the rest of that block."""
    url = served.put("big", BIG)
    with client.open(url, "r+b") as file:
        file.pwrite(b"n" * BLOCK, 2 * BLOCK)
    assert served.body_bytes() == 0
    with client.open(url, "r+b") as file:
        file.pwrite(b"m", 10 * BLOCK + 7)
    assert served.body_bytes() <= 2 * BLOCK
    expected = patched(patched(BIG, 2 * BLOCK, b"n" * BLOCK), 10 * BLOCK + 7, b"m")
    assert (served.root / "big").read_bytes() == expected


def test_an_edit_is_conditional_on_what_it_was_made_from(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """P7: a conflict is an error, the other's bytes stay, ours can be saved."""
    url = served.put("big", BIG)
    client.warm(url)
    file = client.open(url, "r+b")
    theirs = random_bytes(len(BIG), 6)
    served.put("big", theirs)
    file.pwrite(b"mine", 5 * MIB)
    with pytest.raises(netcache.ConflictError):
        file.fsync()
    with pytest.raises(netcache.ConflictError):
        file.close()
    assert (served.root / "big").read_bytes() == theirs
    file.save_as(tmp_path / "mine")
    assert (tmp_path / "mine").read_bytes() == patched(BIG, 5 * MIB, b"mine")
    file.abort()
    with pytest.raises(netcache.ClosedError):
        file.save_as(tmp_path / "again")
    assert client.open(url).read() == theirs


def test_changes_alone_can_be_saved_when_the_rest_is_gone(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """Unchanged bytes that nobody has any more are an error, unless they are not wanted."""
    client = new_client(write_mode="back")
    url = served.put("big", BIG)
    file = client.open(url, "r+b")
    file.pwrite(b"n" * BLOCK, 0)
    served.put("big", random_bytes(len(BIG), 6))
    with pytest.raises(netcache.ConflictError):
        file.close()
    with pytest.raises(netcache.StaleError):
        file.save_as(tmp_path / "all")
    assert not (tmp_path / "all").exists()
    file.save_as(tmp_path / "changes", changes_only=True)
    assert (tmp_path / "changes").read_bytes()[:BLOCK] == b"n" * BLOCK
    file.abort()


def test_writers_of_one_client_see_each_other_at_once(
    served: Served, client: netcache.Client
) -> None:
    """U-WT3; and the one that closes first sends for both."""
    url = served.put("big", BIG)
    with client.open(url, "r+b") as one, client.open(url, "r+b") as two:
        one.pwrite(b"from one", 1000)
        assert two.pread(8, 1000) == b"from one"
        two.pwrite(b"from two", 2000)
        assert one.pread(8, 2000) == b"from two"
    expected = patched(patched(BIG, 1000, b"from one"), 2000, b"from two")
    assert (served.root / "big").read_bytes() == expected


def test_a_reader_keeps_its_version_while_the_object_moves_on(
    served: Served, client: netcache.Client
) -> None:
    """P1 across an edit by the same client: the file, and views of it, stay what they were."""
    url = served.put("big", BIG)
    client.warm(url)
    with client.open(url) as before:
        view = before.view(0, 3 * BLOCK)
        assert bytes(view) == BIG[: 3 * BLOCK]
        with client.open(url, "r+b") as file:
            file.pwrite(b"n" * BLOCK, BLOCK)
        assert bytes(view) == BIG[: 3 * BLOCK]
        assert before.read() == BIG
    with client.open(url, "r+b") as file:
        file.pwrite(b"m" * BLOCK, 0)
    assert bytes(view) == BIG[: 3 * BLOCK]
    assert client.open(url).read(2 * BLOCK) == b"m" * BLOCK + b"n" * BLOCK


def test_dsync_returns_when_the_server_has_it(served: Served, new_client: NewClient) -> None:
    """U-WT2: in write-back mode, too."""
    client = new_client(write_mode="back")
    url = served.put("big", BIG)
    with client.open(url, "r+b") as file:
        file.pwrite(b"sync", 77, dsync=True)
        assert (served.root / "big").read_bytes()[77:81] == b"sync"


def test_an_atomic_write_is_one_exchange_or_einval(served: Served, new_client: NewClient) -> None:
    """U-WT5: neither split nor joined with what was written before it."""
    client = new_client(write_mode="back")
    url = served.put("big", BIG)
    with client.open(url, "r+b") as file:
        file.pwrite(b"before", 0)
        served.forget()
        file.pwrite(b"a" * (3 * MIB), MIB, atomic=True)
        sizes = [record["bytes_received"] for record in served.requests("PATCH")]
        assert sizes == [BLOCK, 3 * MIB]
        with pytest.raises(ValueError, match="atomic") as caught:
            file.pwrite(bytes(33 * MIB), 0, atomic=True)
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == 22


def test_write_back_holds_until_it_is_asked(served: Served, new_client: NewClient) -> None:
    """Nothing is sent by a write; ``fsync`` sends all of it once."""
    client = new_client(write_mode="back")
    url = served.put("big", BIG)
    with client.open(url, "r+b") as file:
        for _ in range(5):
            file.pwrite(b"n" * BLOCK, 0)
        assert uploaded_bytes(served) == 0
        file.fsync()
        assert uploaded_bytes(served) == BLOCK
        file.fsync()
        assert uploaded_bytes(served) == BLOCK


def test_above_the_hard_limit_a_writer_sends(served: Served, new_client: NewClient) -> None:
    """U-WB1: so no more than the limit and one write is unsent at any time."""
    client = new_client(write_mode="back", dirty_soft="512KiB", dirty_hard="1MiB")
    url = served.put("big", BIG)
    with client.open(url, "r+b") as file:
        for start in range(0, 8 * MIB, 256 << 10):
            file.pwrite(b"n" * (256 << 10), start)
        assert uploaded_bytes(served) >= 8 * MIB - (MIB + (256 << 10))
    assert (served.root / "big").read_bytes() == b"n" * (8 * MIB) + BIG[8 * MIB :]


def test_the_flusher_sends_without_being_asked(served: Served, new_client: NewClient) -> None:
    """U-WB3: after the interval; and once it is sent, it is quiet."""
    client = new_client(write_mode="back", flush_interval=0.05)
    url = served.put("big", BIG)
    with client.open(url, "r+b") as file:
        file.pwrite(b"n" * BLOCK, 0)
        assert arrives(served, lambda: uploaded_bytes(served) == BLOCK)
    assert uploaded_bytes(served) == BLOCK


def test_a_failing_file_does_not_stop_the_others(served: Served, new_client: NewClient) -> None:
    """U-WB4, and T25: its error waits for its own next ``fsync``, once for each open file."""
    client = new_client(write_mode="back", flush_interval=0.05, retries=0)
    bad, good = served.put("bad", BIG), served.put("good", BIG)
    served.server.set_faults([FaultRule(path="/bad", method=("PATCH", "PUT"), status=500)])
    with client.open(bad, "r+b") as one, client.open(bad, "r+b") as two:
        one.pwrite(b"n" * BLOCK, 0)
        with client.open(good, "r+b") as other:
            other.pwrite(b"n" * BLOCK, 0)
            assert arrives(served, lambda: (served.root / "good").read_bytes()[:1] == b"n")
            assert arrives(served, lambda: len(refused(served)) > 1)
        served.server.set_faults([])
        for file in (one, two):
            with pytest.raises(netcache.NetCacheError, match="500"):
                file.fsync()
            file.fsync()
    assert (served.root / "bad").read_bytes() == patched(BIG, 0, b"n" * BLOCK)


def refused(served: Served) -> list[object]:
    """The uploads that the plan refused."""
    return [record for record in served.requests() if record["status"] == 500]


def arrives(served: Served, condition: object) -> bool:
    """Wait until ``condition`` holds; False after a long time."""
    waited = threading.Event()
    assert callable(condition)
    for _ in range(2000):
        if condition():
            return True
        waited.wait(0.005)
    return False


@pytest.mark.parametrize("way", ["PATCH", "PUT", "whole"])
def test_a_lost_reply_is_no_conflict(served: Served, new_client: NewClient, way: str) -> None:
    """All attempts were done, and all replies lost: the next ``fsync`` finds what it sent."""
    client = new_client(write_mode="back", retries=0)
    url = served.put("big", BIG)
    rules = [FaultRule(method=("PATCH", "PUT"), lose_reply=True, count=1)]
    if way != "PATCH":
        rules.append(FaultRule(method=("OPTIONS",), remove_headers=("Accept-Patch", "DAV")))
    if way == "whole":
        rules.append(FaultRule(method=("OPTIONS",), remove_headers=("X-Accept-Partial-Put",)))
    served.server.set_faults(rules)
    with client.open(url, "r+b") as file:
        file.pwrite(b"first", 5 * BLOCK)
        with pytest.raises(netcache.TransientError):
            file.fsync()
        file.pwrite(b"second", 9 * BLOCK)
        file.fsync()
    expected = patched(patched(BIG, 5 * BLOCK, b"first"), 9 * BLOCK, b"second")
    assert (served.root / "big").read_bytes() == expected
    with client.open(url) as file:
        assert file.read() == expected


def test_without_updates_of_parts_the_whole_is_sent(tmp_path: Path, new_client: NewClient) -> None:
    """From the cache and the server, in one exchange, under the same condition."""
    with serve(tmp_path / "plain") as served:
        served.server.set_faults(
            [
                FaultRule(
                    method=("OPTIONS",),
                    remove_headers=("Accept-Patch", "DAV", "X-Accept-Partial-Put"),
                )
            ]
        )
        url = served.put("big", BIG)
        client = new_client()
        with client.open(url, "r+b") as file:
            file.pwrite(b"n", 4 * MIB)
            file.truncate(6 * MIB)
            file.truncate(7 * MIB)
        expected = patched(BIG, 4 * MIB, b"n")[: 6 * MIB] + bytes(MIB)
        assert (served.root / "big").read_bytes() == expected
        assert served.count("PATCH") == 0
        assert uploaded_bytes(served) == 7 * MIB
        served.forget()
        assert client.open(url).read() == expected
        assert served.body_bytes() == 0
        client.close()


@pytest.mark.parametrize("use_cache", [True, False])
def test_writes_past_the_end_leave_zeros(
    served: Served, new_client: NewClient, use_cache: bool
) -> None:
    """A gap is zeros at once, and at the server; it costs no bytes of the network."""
    client = new_client(use_cache=use_cache)
    url = served.put("small", b"head")
    with client.open(url, "r+b") as file:
        file.pwrite(b"far", 10 * MIB)
        assert file.pread(8, 0) == b"head" + bytes(4)
        assert file.pread(16, 10 * MIB - 8) == bytes(8) + b"far"
        file.truncate(11 * MIB)
    assert uploaded_bytes(served) < 20 * BLOCK
    expected = b"head" + bytes(10 * MIB - 4) + b"far" + bytes(MIB - 3)
    assert (served.root / "small").read_bytes() == expected
    assert client.open(url).read() == expected


@pytest.mark.parametrize("cached", [True, False])
def test_many_scattered_writes_are_not_as_many_exchanges(
    served: Served, new_client: NewClient, cached: bool
) -> None:
    """What lies near is joined, where the bytes between are here; else the whole is cheaper."""
    client = new_client(write_mode="back")
    url = served.put("big", BIG)
    if cached:
        client.warm(url)
    expected = BIG
    with client.open(url, "r+b") as file:
        for start in range(0, 8 * MIB, 64 << 10):
            file.pwrite(b"n" * 100, start + 50)
            expected = patched(expected, start + 50, b"n" * 100)
    assert served.count("PATCH") + served.count("PUT") == 1
    assert (served.root / "big").read_bytes() == expected


@pytest.mark.parametrize("cached", [True, False])
def test_a_large_file_that_was_rewritten_is_one_exchange(
    served: Served, new_client: NewClient, cached: bool
) -> None:
    """Parts of it would be several, and a server copies the file for each; nothing is fetched."""
    client = new_client(write_mode="back")
    url = served.put("big", bytes(40 * MIB))
    expected = random_bytes(40 * MIB, 5)
    if cached:
        client.warm(url)
    served.forget()
    starts = list(range(0, 40 * MIB, MIB))
    random.Random(5).shuffle(starts)
    with client.open(url, "r+b") as file:
        for start in starts:
            file.pwrite(expected[start : start + MIB], start)
    assert (served.count("PATCH"), served.count("PUT")) == (0, 1)
    assert served.body_bytes() < BLOCK
    assert (served.root / "big").read_bytes() == expected
    assert client.open(url).read() == expected


def test_an_aborted_edit_sends_nothing_more(served: Served, new_client: NewClient) -> None:
    """In write-back mode: nothing at all."""
    client = new_client(write_mode="back")
    url = served.put("big", BIG)
    for mode in ("r+b", "w+b"):
        with contextlib.suppress(KeyError), client.open(url, mode) as file:
            file.pwrite(b"n", 0)
            raise KeyError
    assert (served.root / "big").read_bytes() == BIG
    assert uploaded_bytes(served) == 0


def test_counters_return_to_zero(served: Served, new_client: NewClient) -> None:
    """Nothing is left alive after edits, failed ones included (T22)."""
    client = new_client(retries=0)
    url = served.put("big", BIG)
    served.server.set_faults([FaultRule(method=("PATCH",), status=500, count=1)])
    file = client.open(url, "r+b")
    file.pwrite(b"n", 0)
    with pytest.raises(netcache.NetCacheError):
        file.fsync()
    file.close()
    assert set(client.stats()["Objs"].values()) == {0}
    assert client.stats()["UpldOps"]["uf"] == 1


def test_the_private_file_has_no_name(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """A killed writer leaves nothing behind in the cache directory."""
    url = served.put("big", BIG)
    file = client.open(url, "w+b")
    file.write(b"n" * MIB)
    found = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert all(path.stat().st_blocks * 512 < MIB for path in found)
    file.abort()


def test_a_move_takes_unsent_writes_along(served: Served, new_client: NewClient) -> None:
    """What was written under the old name is under the new one, and the writer hears of it."""
    client = new_client(write_mode="back")
    url = served.put("old", BIG)
    file = client.open(url, "r+b")
    file.pwrite(b"n" * BLOCK, 0)
    client.mv(url, served.url + "new")
    assert (served.root / "new").read_bytes() == patched(BIG, 0, b"n" * BLOCK)
    file.pwrite(b"m", 0)
    with pytest.raises(netcache.ConflictError):
        file.close()
    file.abort()
    assert not (served.root / "old").exists()
