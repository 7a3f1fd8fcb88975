"""Reading through the client: what is fetched, how often, and which version is shown."""

from __future__ import annotations

import io
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import netcache
from netcache._core.content import Content
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes

KIB, MIB = 1024, 1 << 20
DATA = random_bytes(3 * MIB + 1234)


def test_a_cold_read_is_one_request(served: Served, client: netcache.Client) -> None:
    """The open is the read: open, check and read are one ranged GET."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        assert file.pread(100, 5000) == DATA[5000:5100]
    assert [(r["method"], r["status"]) for r in served.requests()] == [("GET", 206)]
    assert served.body_bytes() == 4096


def test_reading_a_whole_cold_file_is_one_request(served: Served, client: netcache.Client) -> None:
    """``read()`` does not ask for the size first."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        assert file.read() == DATA
    assert served.count() == 1


def test_warm_reads_make_no_request(served: Served, client: netcache.Client) -> None:
    """Within one open file nothing is asked for twice."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        file.read()
        served.forget()
        assert file.pread(100, MIB) == DATA[MIB : MIB + 100]
        file.seek(-10, os.SEEK_END)
        assert file.read() == DATA[-10:]
    assert served.count() == 0


def test_opening_a_cached_file_again_is_one_check(served: Served, client: netcache.Client) -> None:
    """``validate="open"``: one conditional request, no body."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        file.read()
    served.forget()
    with client.open(url) as file:
        assert file.read() == DATA
    assert [r["status"] for r in served.requests()] == [304]
    assert served.body_bytes() == 0


def test_never_asks_nothing(served: Served, client: netcache.Client, new_client: NewClient) -> None:
    """``validate="never"``: what is cached needs no server."""
    url = served.put("data", DATA)
    client.warm(url)
    served.forget()
    with new_client(validate="never").open(url) as file:
        assert file.read() == DATA
    assert served.count() == 0


def test_always_checks_each_read(served: Served, new_client: NewClient) -> None:
    """``validate="always"``: a change is noticed by the next read (P1, P2)."""
    url = served.put("data", DATA)
    with new_client(validate="always").open(url) as file:
        assert file.pread(10, 0) == DATA[:10]
        assert file.pread(10, 0) == DATA[:10]
        assert served.count() == 2
        served.put("data", DATA[::-1])
        with pytest.raises(netcache.StaleError):
            file.pread(10, 0)


def test_scattered_reads_fetch_the_touched_blocks_only(
    served: Served, client: netcache.Client
) -> None:
    """P3: the union of the touched blocks, each once."""
    url = served.put("data", DATA)
    picks = random.Random(7)
    touched: set[int] = set()
    with client.open(url) as file:
        for _ in range(60):
            start, length = picks.randrange(len(DATA)), picks.randrange(1, 20000)
            assert file.pread(length, start) == DATA[start : start + length]
            end = min(start + length, len(DATA))
            touched |= set(range(start // 4096, (end - 1) // 4096 + 1))
    last = len(DATA) // 4096
    size = sum(4096 if block < last else len(DATA) % 4096 for block in touched)
    assert served.body_bytes() == size
    assert sum(e.length for e in client.cache.extents(url)) == size


def test_many_threads_fetch_each_block_once(served: Served, client: netcache.Client) -> None:
    """P3: readers of the same cold extent wait for one exchange."""
    url = served.put("data", DATA)
    barrier = threading.Barrier(16)

    def read(seed: int) -> None:
        picks = random.Random(seed)
        with client.open(url) as file:
            barrier.wait()
            for _ in range(20):
                start = picks.randrange(len(DATA) - 50000)
                assert file.pread(50000, start) == DATA[start : start + 50000]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(read, range(16)))
    assert served.body_bytes() <= len(DATA)
    assert sum(e.length for e in client.cache.extents(url)) == served.body_bytes()


def test_one_file_many_threads(served: Served, client: netcache.Client) -> None:
    """``pread`` may be called by many threads on one file."""
    url = served.put("data", DATA)
    with client.open(url) as file, ThreadPoolExecutor(8) as pool:
        starts = [random.Random(i).randrange(len(DATA)) for i in range(100)]
        results = pool.map(lambda start: file.pread(30000, start), starts)
        for start, data in zip(starts, results, strict=True):
            assert data == DATA[start : start + 30000]
    assert served.body_bytes() <= len(DATA)


def test_a_new_version_is_shown_by_the_next_open(served: Served, client: netcache.Client) -> None:
    """Close-to-open: the change is there, and no byte of the old version with it."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        file.pread(100, 0)
    new = random_bytes(len(DATA), 9)
    served.put("data", new)
    with client.open(url) as file:
        assert file.pread(100, 0) == new[:100]
        assert file.read() == new


def test_an_open_file_shows_one_version(served: Served, client: netcache.Client) -> None:
    """P1: cached bytes of the old version, or ``StaleError``; never a mixture."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        assert file.pread(4096, 0) == DATA[:4096]
        served.put("data", DATA[::-1])
        assert file.pread(4096, 0) == DATA[:4096]
        with pytest.raises(netcache.StaleError):
            file.pread(4096, MIB)
        assert file.pread(4096, 0) == DATA[:4096]


def test_a_change_between_open_and_first_read_is_no_error(
    served: Served, client: netcache.Client
) -> None:
    """A file that has shown nothing takes the version that is there."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        file.pread(10, 0)
    with client.open(url) as file:
        served.put("data", DATA[::-1])
        assert file.pread(10, MIB) == DATA[::-1][MIB : MIB + 10]


def test_readahead_comes_behind_a_scan(served: Served, new_client: NewClient) -> None:
    """Sequential reads ask in large steps, and never past the end."""
    url = served.put("data", DATA)
    with new_client(readahead="512KiB").open(url) as file:
        data = b"".join(iter(lambda: file.read(16 * KIB), b""))
    assert data == DATA
    # While the window grows from 16 KiB, and then half a window at a time.
    assert served.count("GET") <= 6 + len(DATA) // (256 * KIB)
    assert served.body_bytes() == len(DATA)


def test_reads_at_and_past_the_end_are_empty(served: Served, client: netcache.Client) -> None:
    """T36: the end is not an error."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        assert file.pread(100, len(DATA) + 10_000) == b""
        assert file.pread(100, len(DATA)) == b""
        assert file.pread(100, len(DATA) - 1) == DATA[-1:]


def test_an_empty_file(served: Served, client: netcache.Client) -> None:
    """Nothing is there, and that is known."""
    url = served.put("empty", b"")
    with client.open(url) as file:
        assert file.read() == b""
        assert file.size == 0
        assert file.pread(10, 0) == b""


def test_the_first_read_of_a_small_cached_file_is_of_what_was_asked_for(
    served: Served, new_client: NewClient
) -> None:
    """Wherever it is: the read that proves the whole file brings more."""
    data = DATA[: 5 * KIB + 100]
    url = served.put("small", data)
    new_client().warm(url)
    served.forget()
    for length in (0, 1, 5000, 1 << 20):
        for start in (0, 1, 4095, 4096, len(data) - 1, len(data), len(data) + 1, 1 << 20):
            with new_client(validate="never").open(url) as file:
                assert file.pread(length, start) == data[start : start + length]
                assert file.pread(10, 20) == data[20:30]
    assert served.count() == 0


def test_a_missing_resource_is_a_file_not_found_error(
    served: Served, client: netcache.Client
) -> None:
    """The built-in twin is what callers catch."""
    with client.open(served.url + "nothing") as file, pytest.raises(FileNotFoundError):
        file.read()


def test_files_work_where_python_expects_files(served: Served, client: netcache.Client) -> None:
    """``io.BufferedReader`` and text on top."""
    url = served.put("text", b"one\ntwo\nthree\n")
    with client.open(url) as file, io.TextIOWrapper(io.BufferedReader(file)) as text:
        assert text.read().splitlines() == ["one", "two", "three"]


def test_view_is_read_only_and_outlives_the_file(served: Served, client: netcache.Client) -> None:
    """A view keeps its map; nobody can write through it."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        view = file.view(1000, 5000)
        assert view.readonly
    assert view == DATA[1000:6000]
    del view


@pytest.mark.parametrize("warm", [False, True], ids=["fetched piece by piece", "all there"])
def test_views_end_with_the_resource_and_with_the_file(
    served: Served, client: netcache.Client, warm: bool
) -> None:
    """However much of it is mapped: the same bytes, none behind the end, none after ``close``."""
    url, size = served.put("data", DATA), len(DATA)
    if warm:
        client.warm(url)
    with client.open(url) as file:
        for _ in range(2):
            for start, length in ((0, 10), (MIB, 2 * MIB), (size - 5, 100), (0, size), (7, 0)):
                assert file.view(start, length) == DATA[start : start + length]
            assert len(file.view(size, 1)) == len(file.view(size + 4096, 4096)) == 0
            for start, length in ((-1, 10), (10, -1), (size, -10), (-20, 30)):
                with pytest.raises(ValueError, match="neither may be negative"):
                    file.view(start, length)
    with pytest.raises(netcache.ClosedError):
        file.view(0, 10)


def test_fileno_is_exactly_the_resource(served: Served, client: netcache.Client) -> None:
    """The padding of the last block is not seen through the descriptor."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        with pytest.raises(io.UnsupportedOperation):
            file.fileno()
        file.read()
        assert os.fstat(file.fileno()).st_size == len(DATA)
        assert os.pread(file.fileno(), len(DATA) + 5000, 0) == DATA


def test_whole_downloads_end_as_all(served: Served, client: netcache.Client) -> None:
    """Content ALL: no map is ever asked for again."""
    url = served.put("data", DATA)
    client.warm(url)
    assert client.cache.map(url).content is Content.ALL
    assert client.cache.extents(url) == [(0, len(DATA))]


def test_the_cache_survives_the_client(
    served: Served, client: netcache.Client, new_client: NewClient
) -> None:
    """A later client finds sparse extents where an earlier one left them."""
    url = served.put("data", DATA)
    with client.open(url) as file:
        file.pread(10, 0)
        file.pread(10, 2 * MIB)
    client.close()
    served.forget()
    again = new_client()
    with again.open(url) as file:
        assert file.pread(10, 2 * MIB) == DATA[2 * MIB : 2 * MIB + 10]
        assert file.pread(10, MIB) == DATA[MIB : MIB + 10]
    assert served.body_bytes() == 4096


def test_offline_serves_what_is_cached_and_says_what_is_not(
    served: Served, client: netcache.Client, new_client: NewClient
) -> None:
    """P8."""
    url = served.put("data", DATA)
    other = served.put("other", DATA)
    client.ls(served.url)
    with client.open(url) as file:
        file.pread(10, 0)
    client.close()
    served.forget()
    offline = new_client(offline=True)
    with offline.open(url) as file:
        assert file.pread(10, 0) == DATA[:10]
        assert file.size == len(DATA)
        with pytest.raises(netcache.NotCachedError):
            file.pread(10, MIB)
    with offline.open(other) as file, pytest.raises(netcache.NotCachedError):
        file.read()
    assert [entry.name for entry in offline.ls(served.url)] == ["data", "other"]
    with pytest.raises(netcache.NotCachedError):
        offline.put(__file__, url)
    assert served.count() == 0


def test_without_a_cache_everything_comes_from_the_server(
    served: Served, new_client: NewClient
) -> None:
    """``use_cache=False``: right bytes, nothing on disk."""
    url = served.put("data", DATA)
    client = new_client(use_cache=False)
    with client.open(url) as file:
        assert file.pread(100, MIB) == DATA[MIB : MIB + 100]
        assert file.read() == DATA
    with pytest.raises(netcache.CacheError):
        client.cache.status()


def test_a_forked_child_may_not_use_the_client(served: Served, client: netcache.Client) -> None:
    """``ClosedError`` in the child; the parent goes on."""
    url = served.put("data", DATA)
    client.warm(url)
    file = client.open(url)
    assert file.pread(10, 0) == DATA[:10]
    child = os.fork()
    if child == 0:
        try:
            client.open(url)
        except netcache.ClosedError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert file.pread(10, 10) == DATA[10:20]
    file.close()


def test_a_closed_file_says_so(served: Served, client: netcache.Client) -> None:
    """``ClosedError`` is a ``ValueError``, as for files."""
    file = client.open(served.put("data", DATA))
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.pread(1, 0)


@pytest.mark.parametrize("loops", [1])
async def test_the_asynchronous_face_reads_the_same(
    served: Served, client: netcache.Client, loops: int
) -> None:
    """``AsyncClient``: the same bytes, the same requests."""
    del loops
    url = served.put("data", DATA)
    cache = client._core.options.cache_dir
    async with netcache.AsyncClient(cache_dir=cache) as other:
        async with await other.open(url) as file:
            assert await file.pread(100, MIB) == DATA[MIB : MIB + 100]
            assert await file.read() == DATA
            assert bytes(await file.view(5, 10)) == DATA[5:15]
            buffer = bytearray(100)
            assert await file.preadinto(buffer, 7) == 100
            assert buffer == DATA[7:107]
        with pytest.raises(netcache.ClosedError):
            await file.preadinto(buffer, 7)
        pieces = [bytes(piece) async for piece in other.cat(url, 100, 2 * MIB)]
        assert b"".join(pieces) == DATA[100 : 100 + 2 * MIB]
    assert served.body_bytes() == len(DATA)
