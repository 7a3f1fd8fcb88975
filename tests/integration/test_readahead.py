"""Readahead through the client: what a scan asks the server for, and when."""

from __future__ import annotations

import random

from netcache._core.content import Content
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes

KIB, MIB, B = 1024, 1 << 20, 4096
DATA = random_bytes(4 * MIB + 100, 3)


def ranges(served: Served) -> list[str]:
    """The ranges that were asked for."""
    return [record["range"] for record in served.requests("GET")]


def test_ura1_a_scan_opens_its_window(served: Served, new_client: NewClient) -> None:
    """U-RA1: one block, four blocks ahead, eight blocks ahead; always whole blocks (U-RA5)."""
    url = served.put("data", DATA)
    with new_client(readahead="1MiB").open(url) as file:
        assert file.read(B) == DATA[:B]
        assert ranges(served) == ["bytes=0-4095"]
        assert file.read(B) == DATA[B : 2 * B]
        assert ranges(served)[1] == f"bytes={B}-{6 * B - 1}"
        assert file.read(3 * B) == DATA[2 * B : 5 * B]
    for asked in ranges(served):
        low, high = (int(number) for number in asked.removeprefix("bytes=").split("-"))
        assert low % B == 0
        assert (high + 1) % B == 0


def test_ura1_the_next_window_comes_while_the_last_one_is_used(
    served: Served, new_client: NewClient
) -> None:
    """Reads that hit keep the readahead going: a scan misses a few times, not once a window."""
    url = served.put("data", DATA)
    client = new_client(readahead="256KiB")
    with client.open(url) as file:
        data = b"".join(iter(lambda: file.read(8 * KIB), b""))
    assert data == DATA
    assert served.body_bytes() == len(DATA)
    # With 16 KiB to begin with, and half a window at a time in the end.
    assert served.count("GET") <= 8 + len(DATA) // (128 * KIB)


def test_ura2_scattered_reads_and_seeks_fetch_nothing_extra(
    served: Served, new_client: NewClient
) -> None:
    """U-RA2: the touched blocks, and what the scan before the seek had asked for."""
    url = served.put("data", DATA)
    client = new_client(readahead="1MiB")
    picks = random.Random(5)
    touched: set[int] = set()
    with client.open(url) as file:
        for _ in range(40):
            start = picks.randrange(len(DATA) - 10_000)
            file.pread(10_000, start)
            touched |= set(range(start // B, (start + 9_999) // B + 1))
    assert served.body_bytes() == len(touched) * B


def test_ura3_each_open_file_has_its_own_window(served: Served, new_client: NewClient) -> None:
    """U-RA3: two files on one inode, one scanning, one jumping."""
    url = served.put("data", DATA)
    client = new_client(readahead="1MiB")
    with client.open(url) as scanning, client.open(url) as jumping:
        for at in range(0, 64 * B, B):
            assert scanning.pread(B, at) == DATA[at : at + B]
            assert jumping.pread(10, (at * 7919) % MIB) == DATA[(at * 7919) % MIB :][:10]
        assert scanning._handle._readahead.window >= 32 * B  # type: ignore[attr-defined]
        assert jumping._handle._readahead.window == 0  # type: ignore[attr-defined]


def test_ura4_cached_reads_do_not_shrink_the_window(served: Served, new_client: NewClient) -> None:
    """U-RA4: a scan over a part that is cached goes on ahead with the window that it had."""
    url = served.put("data", DATA)
    client = new_client(readahead="256KiB")
    client.warm(url, MIB, MIB)
    with client.open(url) as file:
        windows = []
        for at in range(0, 3 * MIB, 16 * KIB):
            assert file.pread(16 * KIB, at) == DATA[at : at + 16 * KIB]
            windows.append(file._handle._readahead.window)  # type: ignore[attr-defined]
    assert max(windows) == 256 * KIB
    reached = windows.index(256 * KIB)
    assert set(windows[reached:]) == {256 * KIB}


def test_ura5_a_scan_ends_with_the_resource(served: Served, new_client: NewClient) -> None:
    """Never past the end, and nothing twice."""
    url = served.put("data", DATA)
    with new_client(readahead="8MiB").open(url) as file:
        for at in range(0, len(DATA), 100_000):
            assert file.pread(100_000, at) == DATA[at : at + 100_000]
    assert served.body_bytes() == len(DATA)


def test_ura6_readahead_stops_under_the_dirty_cap(served: Served, new_client: NewClient) -> None:
    """U-RA6: while memory is short for what is dirty, a scan fetches what it reads and no more."""
    url = served.put("data", DATA)
    client = new_client(readahead="1MiB")
    short = True
    with client.open(url) as file:
        file.read(B)
        client._core.remote().engine.under_pressure = lambda: short
        for at in range(B, 20 * B, B):
            assert file.pread(B, at) == DATA[at : at + B]
        assert served.body_bytes() == 20 * B
        short = False
        for at in range(20 * B, 60 * B, B):
            assert file.pread(B, at) == DATA[at : at + B]
    assert served.body_bytes() > 60 * B


def test_what_is_fetched_is_bounded_by_the_window(served: Served, new_client: NewClient) -> None:
    """Bytes fetched stay within the touched blocks and one window, wherever a scan stops."""
    picks = random.Random(11)
    for number in range(12):
        url = served.put(f"data{number}", DATA)
        client = new_client(readahead="128KiB")
        served.forget()
        read, step = 0, picks.choice([1000, B, 30_000, 300_000])
        with client.open(url) as file:
            for _ in range(picks.randrange(1, 60)):
                read += len(file.read(step))
        client.close()
        assert served.body_bytes() <= -(-read // B) * B + 128 * KIB, (number, step, read)


def test_a_scan_leaves_an_object_without_a_map(served: Served, new_client: NewClient) -> None:
    """Windows come side by side, and are recorded in order: content ALL."""
    url = served.put("data", DATA)
    client = new_client(readahead="1MiB")
    with client.open(url) as file:
        while file.read(50_000):
            pass
    assert client.cache.map(url).content is Content.ALL
