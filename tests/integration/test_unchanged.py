"""P2: a resource that shows another version with the same bytes keeps what is cached of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import netcache
from netcache._netfs import unchanged
from netcache._netfs.inode import Inode
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.damage import flip
from tests.support.served import Served, random_bytes

BLOCK = 4096
SIZES = [100, 16 * BLOCK + 7, 3 << 20]
"""Sums in the label, a short last block, several steps of hashing and a table of sums."""

NOT_TOLD = FaultRule(remove_headers=("Repr-Digest",))
FALSE = FaultRule(
    headers={"Repr-Digest": f"sha-256=:{base64.b64encode(bytes(range(32))).decode()}:"}
)

FALSE_ONCE = replace(FALSE, count=1)
"""A digest that nobody asked for: it shows that the server tells them."""


def touch(served: Served, name: str, data: bytes, mtime_s: int) -> None:
    """The same bytes in another file, of another time: another tag and another date."""
    served.put(name, data)
    os.utime(served.root / name, (mtime_s, mtime_s))


def read(client: netcache.Client, url: str) -> bytes:
    """All of it, through a file of its own."""
    with client.open(url) as file:
        return file.read()


def same(client: netcache.Client) -> int:
    """How often cached bytes went over to another version."""
    return client.stats()["Updates"]["same"]


def asked_for_digests(served: Served) -> int:
    """How many requests since ``forget`` asked for a digest."""
    return sum(bool(record["want_repr_digest"]) for record in served.requests())


@pytest.mark.parametrize("size", SIZES)
def test_a_touched_file_costs_one_head_and_no_byte(
    served: Served, new_client: NewClient, size: int
) -> None:
    """By this client, and by a later one, which finds the new version in the cache."""
    data = random_bytes(size, 5)
    url = served.put("data", data)
    client = new_client()
    assert read(client, url) == data
    for mtime_s in (1_600_000_000, 1_700_000_000):
        touch(served, "data", data, mtime_s)
        served.forget()
        assert read(client, url) == data
        assert [record["method"] for record in served.requests()] == ["HEAD"]
    assert same(client) == 2
    client.close()
    later = new_client()
    served.forget()
    assert read(later, url) == data
    assert [(one["method"], one["status"]) for one in served.requests()] == [("HEAD", 304)]
    assert same(later) == 0
    assert later.cache.stats()["Updates"]["same"] == 2
    assert list(later.cache.verify()) == []


def test_what_is_cached_is_hashed_once(
    served: Served, new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the resource is touched while the client lives."""
    data = random_bytes(16 * BLOCK, 6)
    url = served.put("data", data)
    client = new_client()
    read(client, url)
    hashed = 0
    real = unchanged._read_step

    def counted(inode: Inode, position: int) -> bytes:
        nonlocal hashed
        found = real(inode, position)
        hashed += len(found)
        return found

    monkeypatch.setattr(unchanged, "_read_step", counted)
    for mtime_s in range(1_600_000_000, 1_600_000_005):
        touch(served, "data", data, mtime_s)
        assert read(client, url) == data
    assert (same(client), hashed) == (5, len(data))


@pytest.mark.parametrize("rule", [NOT_TOLD, FALSE], ids=["absent", "false"])
def test_without_a_digest_that_fits_the_new_version_is_fetched(
    served: Served, new_client: NewClient, rule: FaultRule
) -> None:
    """A server that tells none is not asked again, by a later client either."""
    data = random_bytes(16 * BLOCK, 7)
    url = served.put("data", data)
    client = new_client()
    read(client, url)
    served.server.set_faults([rule])
    touch(served, "data", data, 1_600_000_000)
    served.forget()
    assert read(client, url) == data
    assert served.body_bytes() == len(data)
    assert same(client) == 0
    client.close()
    later = new_client()
    touch(served, "data", data, 1_700_000_000)
    served.forget()
    assert read(later, url) == data
    assert served.body_bytes() == len(data)
    assert asked_for_digests(served) == (rule is FALSE)


def test_a_digest_of_the_older_kind_will_do(served: Served, new_client: NewClient) -> None:
    """``Digest`` (RFC 3230), from servers that do not know ``Repr-Digest``."""
    data = random_bytes(16 * BLOCK, 19)
    url = served.put("data", data)
    client = new_client()
    read(client, url)
    told = base64.b64encode(hashlib.sha256(data).digest()).decode()
    older = FaultRule(remove_headers=("Repr-Digest",), headers={"Digest": f"sha-256={told}"})
    served.server.set_faults([older])
    touch(served, "data", data, 1_600_000_000)
    served.forget()
    assert read(client, url) == data
    assert served.body_bytes() == 0
    assert same(client) == 1


@pytest.mark.parametrize("validator", ["strong", "none"])
def test_a_file_that_is_checked_at_each_read_shows_one_content(
    served: Served, new_client: NewClient, validator: str
) -> None:
    """Each read costs a ``HEAD``; the first one that tells other bytes is an error."""
    one, other = random_bytes(16 * BLOCK, 20), random_bytes(16 * BLOCK, 21)
    url = served.put("data", one)
    rules = [FaultRule(validator="none")] if validator == "none" else []
    served.server.set_faults([*rules, FALSE_ONCE])
    client = new_client(validate="always")
    read(client, url)
    with client.open(url) as file:
        for number in range(4):
            touch(served, "data", one, 1_600_000_000 + number)
            served.forget()
            assert file.pread(BLOCK, number * BLOCK) == one[number * BLOCK :][:BLOCK]
            assert [record["method"] for record in served.requests()] == ["HEAD"]
        served.put("data", other)
        with pytest.raises(netcache.StaleError):
            file.pread(BLOCK, 0)


def test_other_bytes_of_the_same_size_are_fetched(served: Served, new_client: NewClient) -> None:
    """The digest that the server tells is that of the new bytes."""
    one, other = random_bytes(16 * BLOCK, 8), random_bytes(16 * BLOCK, 9)
    url = served.put("data", one)
    client = new_client()
    read(client, url)
    served.put("data", other)
    served.forget()
    assert read(client, url) == other
    assert served.body_bytes() == len(other)
    assert same(client) == 0


def test_what_is_cached_in_part_is_not_kept(served: Served, new_client: NewClient) -> None:
    """A digest of the whole proves nothing of a part, and is not asked for."""
    data = random_bytes(16 * BLOCK, 10)
    url = served.put("data", data)
    client = new_client(readahead=0)
    client.warm(url, 0, 4 * BLOCK)
    touch(served, "data", data, 1_600_000_000)
    served.forget()
    with client.open(url) as file:
        assert file.pread(BLOCK, 0) == data[:BLOCK]
    assert asked_for_digests(served) == 0
    assert served.body_bytes() > 0


def test_damaged_bytes_are_not_kept(served: Served, new_client: NewClient, tmp_path: Path) -> None:
    """What the sums do not fit is not there, and the rest is not the whole."""
    data = random_bytes(3 << 20, 11)
    url = served.put("data", data)
    with new_client() as client:
        read(client, url)
    (path,) = (
        path
        for path in (tmp_path / "cache" / "cache").rglob("*")
        if path.is_file() and path.stat().st_size >= len(data)
    )
    flip(path, 8 * (2 << 20))
    touch(served, "data", data, 1_600_000_000)
    later = new_client()
    assert read(later, url) == data
    assert same(later) == 0


@pytest.mark.parametrize("validate", ["open", "always"])
def test_a_file_that_is_open_goes_on_over_a_touch(
    served: Served, new_client: NewClient, validate: str
) -> None:
    """It has shown bytes of the first version, and goes on showing the same ones."""
    data = random_bytes(16 * BLOCK, 12)
    url = served.put("data", data)
    first, second = new_client(validate=validate), new_client()
    read(first, url)
    with first.open(url) as file:
        assert file.pread(BLOCK, 0) == data[:BLOCK]
        touch(served, "data", data, 1_600_000_000)
        served.forget()
        assert read(second, url) == data
        assert read(first, url) == data
        assert file.pread(BLOCK, 8 * BLOCK) == data[8 * BLOCK : 9 * BLOCK]
        assert served.count("GET") == 0
        served.put("data", random_bytes(16 * BLOCK, 13))
        if validate == "always":
            with pytest.raises(netcache.StaleError):
                file.pread(BLOCK, 0)
        else:
            assert file.pread(BLOCK, 0) == data[:BLOCK]


@pytest.mark.parametrize("validator", ["weak", "none"])
def test_without_a_strong_validator_the_digest_is_what_a_check_compares(
    served: Served, new_client: NewClient, validator: str
) -> None:
    """Once the origin is known to tell digests; it is asked by a ``HEAD`` before the bytes."""
    one, other = random_bytes(16 * BLOCK, 14), random_bytes(16 * BLOCK, 15)
    url = served.put("data", one)
    served.server.set_faults([FaultRule(validator=validator), FALSE_ONCE])
    client = new_client()
    assert read(client, url) == one
    for mtime_s in (1_610_000_000, 1_620_000_000):
        touch(served, "data", one, mtime_s)
        served.forget()
        assert read(client, url) == one
        assert [record["method"] for record in served.requests()] == ["HEAD"]
    served.put("data", other)
    served.forget()
    assert read(client, url) == other
    assert [record["method"] for record in served.requests()] == ["HEAD", "GET"]
    assert served.body_bytes() == len(other)


def test_an_origin_of_weak_validators_is_learnt_by_the_check_that_brings_the_whole(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """No request is made to find out; what was found out is remembered in the cache."""
    data = random_bytes(16 * BLOCK, 16)
    url = served.put("data", data)
    served.server.set_faults([FaultRule(validator="weak")])
    methods = []
    # (A date that is not past yet proves nothing, whenever the second turns.)
    for mtime_s in (int(time.time()) + 3600, 1_600_000_000, 1_610_000_000):
        touch(served, "data", data, mtime_s)
        served.forget()
        with new_client() as client:
            assert read(client, url) == data
        methods.append([record["method"] for record in served.requests()])
    assert methods == [["GET"], ["GET"], ["HEAD"]]
    (facts,) = json.loads((tmp_path / "cache" / "origins").read_text()).values()
    assert facts["whole_digests"] is True


class Swapped:
    """A resource whose first file comes back as it was, with its validators."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.one, self.other = random_bytes(16 * BLOCK, 17), random_bytes(20 * BLOCK, 18)
        self.url = served.put("data", self.one)

    def away(self) -> None:
        """The other version is there."""
        os.link(self._served.root / "data", self._served.root / "kept")
        self._served.put("data", self.other)

    def back(self) -> None:
        """The first one is there again."""
        os.replace(self._served.root / "kept", self._served.root / "data")
        self._served.forget()


def see_by_stat(client: netcache.Client, served: Served, url: str) -> None:
    """Its metadata, without a file."""
    del served
    assert client.stat(url).size == 20 * BLOCK


def see_by_failed_read(client: netcache.Client, served: Served, url: str) -> None:
    """The check is answered, and the read is not."""
    served.server.set_faults([FaultRule(method=("GET",), status=503)])
    with pytest.raises(netcache.NetCacheError):
        read(client, url)
    served.server.set_faults([])


def see_by_size(client: netcache.Client, served: Served, url: str) -> None:
    """The size of an open file that is not read."""
    del served
    for _ in range(2):
        with client.open(url) as file:
            assert file.seek(0, os.SEEK_END) == 20 * BLOCK


@pytest.mark.parametrize(
    "see", [see_by_stat, see_by_failed_read, see_by_size], ids=lambda see: see.__name__
)
@pytest.mark.parametrize("rules", [[], [NOT_TOLD]], ids=["digests", "no digests"])
def test_a_version_that_comes_back_before_anything_of_the_other_was_stored_is_still_there(
    served: Served,
    new_client: NewClient,
    see: Callable[[netcache.Client, Served, str], None],
    rules: list[FaultRule],
) -> None:
    """One, other, one: what was only seen takes nothing away."""
    swapped = Swapped(served)
    client = new_client(retries=0)
    served.server.set_faults(rules)
    read(client, swapped.url)
    swapped.away()
    see(client, served, swapped.url)
    swapped.back()
    assert read(client, swapped.url) == swapped.one
    assert served.body_bytes() == 0


def test_a_version_that_was_seen_first_and_read_later_is_cached(
    served: Served, new_client: NewClient
) -> None:
    """By the same file, or by another one; and it may be edited."""
    swapped = Swapped(served)
    client = new_client()
    read(client, swapped.url)
    swapped.away()
    with client.open(swapped.url) as file:
        assert file.seek(0, os.SEEK_END) == len(swapped.other)
        served.forget()
        assert file.pread(len(swapped.other), 0) == swapped.other
        assert served.body_bytes() == len(swapped.other)
    served.forget()
    assert read(client, swapped.url) == swapped.other
    assert served.body_bytes() == 0
    swapped.back()
    read(client, swapped.url)
    swapped.away()
    with client.open(swapped.url) as seen:
        assert seen.seek(0, os.SEEK_END) == len(swapped.other)
        with client.open(swapped.url, "r+b") as file:
            file.pwrite(b"edited", BLOCK + 3)
    changed = swapped.other[: BLOCK + 3] + b"edited" + swapped.other[BLOCK + 9 :]
    assert (served.root / "data").read_bytes() == changed
    assert read(client, swapped.url) == changed
