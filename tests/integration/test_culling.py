"""A cache with a limit behind the client: whatever is culled or cannot be, reads give the bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

import netcache
from netcache._cachefiles.store import bind
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes
from tests.support.stores import allocated

KIB = 1024
SIZE = 100 * KIB
LIMIT = 10 * SIZE


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache directory of ``new_client``."""
    return tmp_path / "cache"


def files(served: Served, count: int, size: int = SIZE) -> dict[str, bytes]:
    """URLs and what is there."""
    data = [random_bytes(size, number) for number in range(count)]
    return {served.put(f"file{number}", one): one for number, one in enumerate(data)}


def read(client: netcache.Client, url: str) -> bytes:
    """All of a file."""
    with client.open(url) as file:
        return file.read()


def cached(client: netcache.Client) -> int:
    """How many objects the cache has."""
    return sum(1 for _ in client.cache.objects())


def test_more_than_fits_is_read_right_and_the_limit_holds(
    served: Served, new_client: NewClient, cache: Path
) -> None:
    """Four times the cache, by one client, which keeps files open that nobody reads any more."""
    client = new_client(cache_size=LIMIT)
    everything = files(served, 40)
    for _ in range(2):
        for url, data in everything.items():
            assert read(client, url) == data
            assert allocated(cache) <= LIMIT
    assert cached(client) >= 6
    served.forget()
    last = list(everything)[-1]
    assert read(client, last) == everything[last]
    assert served.body_bytes() == 0, "what was read last is cached"


def test_a_file_that_is_larger_than_the_cache_is_read_right(
    served: Served, new_client: NewClient, cache: Path
) -> None:
    """By a read, by pieces, by get; nothing is thrown out for what cannot fit."""
    client = new_client(cache_size=LIMIT)
    (small,) = files(served, 1)
    client.warm(small)
    data = random_bytes(3 * LIMIT)
    url = served.put("large", data)
    assert read(client, url) == data
    with client.open(url) as file:
        assert b"".join(iter(lambda: file.read(64 * KIB), b"")) == data
    client.get(url, cache.parent / "got")
    assert (cache.parent / "got").read_bytes() == data
    assert allocated(cache) <= LIMIT


def test_with_all_pinned_reads_go_to_the_server(
    served: Served, new_client: NewClient, cache: Path
) -> None:
    """Nothing fails, nothing that is pinned goes."""
    client = new_client(cache_size=LIMIT)
    everything = files(served, 16)
    urls = list(everything)
    for url in urls[:8]:
        client.warm(url)
    client.pin(urls[:8])
    for url, data in everything.items():
        assert read(client, url) == data
        assert allocated(cache) <= LIMIT
    served.forget()
    for url in urls[:8]:
        assert read(client, url) == everything[url]
    assert served.body_bytes() == 0


def test_a_culler_that_was_stopped_fails_no_read(
    served: Served, new_client: NewClient, cache: Path
) -> None:
    """Somebody has the record of use and does not let go: bytes come from the server."""
    client = new_client(cache_size=LIMIT)
    everything = files(served, 14)
    urls = list(everything)
    assert read(client, urls[0]) == everything[urls[0]]
    other = bind(cache)
    with other._bound.room.change():
        for url in urls:
            assert read(client, url) == everything[url]
    other.close()
    assert allocated(cache) <= LIMIT
    client.warm(urls[-1])
    assert cached(client) >= 1


def test_a_hot_set_stays_while_a_tree_is_read_once(served: Served, new_client: NewClient) -> None:
    """A scan of twice the cache by one client; another one, later, finds what was hot."""
    everything = files(served, 24)
    urls = list(everything)
    hot = urls[:4]
    for _ in range(2):
        with new_client(cache_size=LIMIT) as client:
            for url in hot:
                read(client, url)
    with new_client(cache_size=LIMIT) as client:
        for url in urls[4:]:
            read(client, url)
    served.forget()
    with new_client(cache_size=LIMIT) as client:
        for url in hot:
            assert read(client, url) == everything[url]
    assert served.body_bytes() == 0


def test_views_and_open_files_keep_their_bytes_while_all_is_culled(
    served: Served, new_client: NewClient
) -> None:
    """What is mapped or open is not culled; what was is fetched again."""
    client = new_client(cache_size=LIMIT)
    everything = files(served, 3)
    urls = list(everything)
    for url in urls:
        client.warm(url)
    with client.open(urls[0]) as file, new_client() as other:
        view = file.view(0, SIZE)
        assert bytes(view) == everything[urls[0]]
        other.cache.cull(0)
        for url in urls[1:]:
            assert read(client, url) == everything[url]
        assert bytes(view) == everything[urls[0]]
        assert file.pread(SIZE, 0) == everything[urls[0]]
        view.release()


def test_edits_are_uploaded_and_cached_within_the_limit(
    served: Served, new_client: NewClient, cache: Path
) -> None:
    """What is not uploaded yet is never culled; a put of more than fits is not cached."""
    client = new_client(cache_size=LIMIT)
    everything = files(served, 12)
    urls = list(everything)
    with client.open(urls[0], "r+b") as edit:
        edit.pwrite(b"changed", 1000)
        for url in urls[1:]:
            assert read(client, url) == everything[url]
    expected = everything[urls[0]][:1000] + b"changed" + everything[urls[0]][1007:]
    assert read(client, urls[0]) == expected
    large = random_bytes(2 * LIMIT)
    source = cache.parent / "source"
    source.write_bytes(large)
    client.put(source, served.url + "large")
    assert read(client, served.url + "large") == large
    assert allocated(cache) <= LIMIT
