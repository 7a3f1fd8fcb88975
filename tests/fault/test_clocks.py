"""Clocks that jump: expiry, the times of checks and of use, and pauses do not break."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import netcache
from netcache.backends.memory import MemoryServer
from netcache.errors import TransientError
from tests.support.memory_rig import URL, sync_client
from tests.support.served import random_bytes

DATA = random_bytes(3 * 4096 + 5)
DAY_S = 86400.0
JUMPS = [-50 * 365 * DAY_S, -DAY_S, -1.0, 1.0, DAY_S, 50 * 365 * DAY_S]


class Clock:
    """The wall clock of this process, with an offset; what measures pauses is untouched."""

    def __init__(self) -> None:
        self.offset_s = 0.0
        self._real = time.time

    def __call__(self) -> float:
        """Seconds since 1970, as set."""
        return self._real() + self.offset_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that can be set."""
    made = Clock()
    monkeypatch.setattr(time, "time", made)
    return made


@pytest.fixture
def server() -> MemoryServer:
    """A server with one resource."""
    made = MemoryServer()
    made.store(URL, DATA)
    return made


def read(client: netcache.Client) -> bytes:
    """All of the resource, by a new open."""
    with client.open(URL) as file:
        return file.read()


def test_a_check_does_not_last_longer_because_the_clock_was_set_back(
    tmp_path: Path, clock: Clock, server: MemoryServer
) -> None:
    """A check of "tomorrow" is none: the server is asked, and the new version is shown."""
    for jump_s in (-DAY_S, -50 * 365 * DAY_S):
        clock.offset_s = 0.0
        with sync_client(tmp_path / str(jump_s), server, validate="1h") as client:
            assert read(client) == server.files[URL].data
        clock.offset_s = jump_s
        server.store(URL, random_bytes(5000, int(-jump_s)))
        with sync_client(tmp_path / str(jump_s), server, validate="1h") as client:
            assert read(client) == server.files[URL].data


def test_a_clock_that_jumps_forward_costs_a_check_and_no_byte(
    tmp_path: Path, clock: Clock, server: MemoryServer
) -> None:
    """What was checked a moment ago is old: one question, the bytes are there."""
    with sync_client(tmp_path, server, validate="1h") as client:
        read(client)
    clock.offset_s = DAY_S
    server.requests.clear()
    with sync_client(tmp_path, server, validate="1h") as client:
        assert read(client) == DATA
        assert client.stats()["DownOps"]["bytes"] == 0
        assert len(server.requests) == 1
        assert read(client) == DATA
        assert len(server.requests) == 1


@pytest.mark.parametrize("jump_s", JUMPS)
def test_everything_works_after_a_jump(
    tmp_path: Path, clock: Clock, server: MemoryServer, jump_s: float
) -> None:
    """Reads, edits with a journal, recovery, lists, checks, culling, in the same client."""
    server.store(URL + "2", DATA)
    options = {"durability": "journal", "write_mode": "back", "validate": "1h"}
    with sync_client(tmp_path, server, **options) as client:
        read(client)
        file = client.open(URL, "r+b")
        file.pwrite(b"before", 0)
        clock.offset_s = jump_s
        file.flush()
        file.pwrite(b"after", 4096)
        file.close()
        expected = b"before" + DATA[6:4096] + b"after" + DATA[4101:]
        assert server.files[URL].data == expected
        assert read(client) == expected
        client.get(URL + "2", tmp_path / "got")
        assert {item.url for item in client.cache.objects()} == {URL, URL + "2"}
        assert client.cache.verify() == []
        assert client.edits.unsent() == []
    with sync_client(tmp_path, server, **options) as client:
        objects, _ = client.cache.cull(0)
        assert objects == 2
        assert client.cache.status().objects == 0
        assert read(client) == expected


@pytest.mark.parametrize("jump_s", JUMPS)
def test_what_was_used_last_goes_last_whatever_the_clock_says(
    tmp_path: Path, clock: Clock, server: MemoryServer, jump_s: float
) -> None:
    """Culling goes by the order of use, not by times: newer objects of an older time stay."""
    urls = [f"{URL}{number}" for number in range(6)]
    for url in urls:
        server.store(url, DATA)
    with sync_client(tmp_path, server) as client:
        for url in urls[:3]:
            client.warm(url)
        clock.offset_s = jump_s
        for url in urls[3:]:
            client.warm(url)
    with sync_client(tmp_path, server) as client:
        held = client.cache.status().allocated_bytes
        client.cache.cull(held * 2 // 3)
        left = {item.url for item in client.cache.objects()}
    assert left >= set(urls[4:]), "the newest are kept"
    assert left < set(urls)


def test_pauses_between_attempts_do_not_follow_the_wall_clock(
    tmp_path: Path, clock: Clock, server: MemoryServer
) -> None:
    """A day that passes in a jump neither ends the attempts nor makes one wait for it."""
    answered = 0

    def busy() -> Exception:
        nonlocal answered
        answered += 1
        clock.offset_s += (-1) ** answered * DAY_S
        return TransientError("busy", url=URL, retry_after_s=0.01)

    server.answers.fail("body", busy, count=2)
    with sync_client(tmp_path, server, retries=3) as client:
        assert read(client) == DATA
    assert answered == 2
