"""Damage to cached bytes as a client meets it: fetched again, alone, or said loudly."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import netcache
from netcache._core.content import Content
from netcache.errors import IntegrityError
from tests.integration.conftest import NewClient
from tests.support.damage import flip
from tests.support.served import Served, random_bytes
from tests.support.stores import object_file

KIB, MIB = 1024, 1 << 20
BLOCK = 4 * KIB
DATA = random_bytes(2 * MIB + 1234)
LEVELS = pytest.mark.parametrize("verify", ["open", "read"])

Reader = Callable[[netcache.Client, str], bytes]


def by_read(client: netcache.Client, url: str) -> bytes:
    """All at once."""
    with client.open(url) as file:
        return file.read()


@LEVELS
def test_a_block_behind_a_hole_is_proven_alone(
    served: Served, new_client: NewClient, verify: str
) -> None:
    """A small resource of which only the middle is cached: the read comes to an end, and hits."""
    url = served.put("small", DATA[: 10 * BLOCK])
    client = new_client(verify=verify, readahead=0)
    for _ in range(2):
        with client.open(url) as file:
            assert file.pread(100, 5 * BLOCK) == DATA[5 * BLOCK : 5 * BLOCK + 100]
            assert file.pread(2 * BLOCK, 4 * BLOCK) == DATA[4 * BLOCK : 6 * BLOCK]
    assert served.body_bytes() == 2 * BLOCK


def by_small_reads(client: netcache.Client, url: str) -> bytes:
    """Front to back, 5000 bytes at a time."""
    with client.open(url) as file:
        return b"".join(iter(lambda: file.read(5000), b""))


def by_random_reads(client: netcache.Client, url: str) -> bytes:
    """In pieces, in any order."""
    pieces = list(range(0, len(DATA), 7000))
    random.Random(3).shuffle(pieces)
    with client.open(url) as file:
        read = {start: file.pread(7000, start) for start in pieces}
    return b"".join(read[start] for start in sorted(read))


def by_readinto(client: netcache.Client, url: str) -> bytes:
    """Into a buffer."""
    buffer = bytearray(len(DATA))
    with client.open(url) as file:
        assert file.preadinto(buffer, 0) == len(DATA)
    return bytes(buffer)


def by_view(client: netcache.Client, url: str) -> bytes:
    """As memory."""
    with client.open(url) as file:
        return bytes(file.view(0, len(DATA)))


def by_get(client: netcache.Client, url: str) -> bytes:
    """Into a file."""
    target = Path(client.cache.status().directory).with_name("target")
    client.get(url, target)
    return target.read_bytes()


def by_descriptor(client: netcache.Client, url: str) -> bytes:
    """Through ``fileno``, once a read has found the damage."""
    with client.open(url) as file:
        file.read()
        return os.pread(file.fileno(), len(DATA), 0)


def by_editing(client: netcache.Client, url: str) -> bytes:
    """From a file that is open for changes."""
    with client.open(url, "r+b") as file:
        return file.read()


READERS = [
    by_read,
    by_small_reads,
    by_random_reads,
    by_readinto,
    by_view,
    by_get,
    by_descriptor,
    by_editing,
]


def damaged(served: Served, new_client: NewClient, *places: int) -> str:
    """A resource that is wholly cached, with a bit flipped at each of ``places``."""
    url = served.put("data", DATA)
    with new_client() as client:
        client.warm(url)
        assert client.cache.map(url).content is Content.ALL
        path = object_file(Path(client.cache.status().directory))
    for place in places:
        flip(path, 8 * place)
    served.forget()
    return url


@LEVELS
@pytest.mark.parametrize("reader", READERS)
def test_damaged_blocks_are_fetched_again_alone(
    served: Served, new_client: NewClient, verify: str, reader: Reader
) -> None:
    """Two blocks are damaged, two blocks are fetched, and nobody notices but the counters."""
    url = damaged(served, new_client, 5 * BLOCK + 7, MIB + 1)
    warnings: list[str] = []
    client = new_client(verify=verify, on_warning=warnings.append)
    assert reader(client, url) == DATA
    assert served.body_bytes() == 2 * BLOCK
    assert client.stats()["CaRdOps"]["rf"] == 2
    assert len(warnings) == 1
    assert url in warnings[0]
    served.forget()
    assert reader(new_client(verify=verify), url) == DATA
    assert served.body_bytes() == 0


def test_only_what_is_read_is_compared(served: Served, new_client: NewClient) -> None:
    """Damage further on costs nothing before it is met."""
    url = damaged(served, new_client, MIB)
    client = new_client(validate="never")
    with client.open(url) as file:
        assert file.pread(100, 0) == DATA[:100]
        assert client.stats()["CaRdOps"]["rf"] == 0
        assert file.pread(100, MIB) == DATA[MIB : MIB + 100]
        assert client.stats()["CaRdOps"]["rf"] == 1
    assert served.body_bytes() == BLOCK


def test_level_open_compares_a_block_once(served: Served, new_client: NewClient) -> None:
    """What was found sound is trusted as long as it is open; that is what the level means."""
    url = damaged(served, new_client)
    client = new_client(validate="never", verify="open")
    with client.open(url) as file:
        assert file.pread(100, 0) == DATA[:100]
        flip(object_file(Path(client.cache.status().directory)), 0)
        assert file.pread(100, 0) != DATA[:100]


def test_level_read_compares_each_time(served: Served, new_client: NewClient) -> None:
    """Also a block that was sound a moment ago, on every way to read it."""
    url = damaged(served, new_client)
    client = new_client(validate="never", verify="read")
    path = object_file(Path(client.cache.status().directory))
    buffer = bytearray(100)
    with client.open(url) as file:
        for number in range(3):
            assert file.pread(100, 0) == DATA[:100]
            flip(path, number)
        assert file.preadinto(buffer, 0) == 100
        assert buffer == DATA[:100]
        flip(path, 9)
        assert file.view(0, 100) == DATA[:100]
    assert served.body_bytes() == 4 * BLOCK


def test_level_none_trusts(served: Served, new_client: NewClient) -> None:
    """For those whose disk checks itself."""
    url = damaged(served, new_client, 50)
    with new_client(verify="none").open(url) as file:
        assert file.read() != DATA
    assert served.body_bytes() == 0


async def test_asynchronous_reads(served: Served, new_client: NewClient, tmp_path: Path) -> None:
    """The same through ``AsyncClient``, several readers at once."""
    url = damaged(served, new_client, 0, MIB, len(DATA) - 1)
    async with netcache.AsyncClient(cache_dir=tmp_path / "cache") as client:

        async def read() -> bytes:
            file = await client.open(url)
            try:
                return await file.pread(len(DATA), 0)
            finally:
                await file.close()

        assert await asyncio.gather(*(read() for _ in range(4))) == [DATA] * 4
    assert served.body_bytes() == 2 * BLOCK + len(DATA) % BLOCK


def test_a_zeroed_file_is_fetched_again(served: Served, new_client: NewClient) -> None:
    """All of it, once."""
    url = damaged(served, new_client)
    client = new_client()
    path = object_file(Path(client.cache.status().directory))
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert by_read(client, url) == DATA
    assert served.body_bytes() == len(DATA)


@LEVELS
def test_a_file_that_is_cut_while_it_is_open(
    served: Served, new_client: NewClient, verify: str
) -> None:
    """What is gone is fetched again."""
    url = damaged(served, new_client)
    client = new_client(verify=verify)
    with client.open(url) as file:
        assert file.pread(100, 0) == DATA[:100]
        os.truncate(object_file(Path(client.cache.status().directory)), MIB)
        assert file.read() == DATA
    assert served.body_bytes() == len(DATA) - MIB


@LEVELS
def test_damage_offline_is_said_loudly(served: Served, new_client: NewClient, verify: str) -> None:
    """Neither a wrong byte nor "not cached"."""
    url = damaged(served, new_client, MIB)
    client = new_client(offline=True, verify=verify)
    with client.open(url) as file:
        assert file.pread(BLOCK, 0) == DATA[:BLOCK]
        with pytest.raises(IntegrityError, match="damaged, and offline"):
            file.pread(BLOCK, MIB - 100)
        assert file.pread(BLOCK, MIB + BLOCK) == DATA[MIB + BLOCK :][:BLOCK]


@LEVELS
def test_damage_under_another_version_is_said_loudly(
    served: Served, new_client: NewClient, verify: str
) -> None:
    """The bytes of the version that is shown are nowhere any more (promise P1)."""
    url = damaged(served, new_client, MIB)
    client = new_client(verify=verify)
    with client.open(url) as file:
        assert file.pread(BLOCK, 0) == DATA[:BLOCK]
        served.put("data", random_bytes(len(DATA), seed=9))
        assert file.pread(BLOCK, BLOCK) == DATA[BLOCK:][:BLOCK]
        with pytest.raises(IntegrityError, match="another version"):
            file.pread(BLOCK, MIB)


def test_damage_under_another_version_before_the_first_read(
    served: Served, new_client: NewClient
) -> None:
    """Nothing was shown yet: the new version is."""
    url = damaged(served, new_client, 0)
    new = random_bytes(len(DATA), seed=9)
    served.put("data", new)
    assert by_read(new_client(), url) == new


def test_an_edit_never_blesses_damage(served: Served, new_client: NewClient) -> None:
    """What an edit carries over into the new version's object is compared first."""
    url = damaged(served, new_client, 5 * BLOCK + 7, MIB + 1)
    with new_client(verify="none").open(url, "r+b") as file:
        file.pwrite(b"edited", 300_000)
    assert (served.root / "data").read_bytes()[300_000:300_006] == b"edited"
    assert by_read(new_client(), url) == (served.root / "data").read_bytes()
