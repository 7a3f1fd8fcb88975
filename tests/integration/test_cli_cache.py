"""The command line on the cache itself: cache status, ls, map, verify, cull, drop, clear; stats."""

from __future__ import annotations

import time

import pytest

from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

KIB = 1 << 10
DATA = random_bytes(1 << 20)


@pytest.fixture
def url(served: Served, netcache: Commands) -> str:
    """A resource of which two extents are cached."""
    url = served.put("d/data.bin", DATA)
    assert netcache("warm", url, "--offset", "4KiB", "--count", "8KiB").code == 0
    assert netcache("warm", url, "--offset", "512KiB", "--count", "4KiB").code == 0
    return url


def test_status(url: str, netcache: Commands) -> None:
    """The document with all its keys; for people the same in lines."""
    document = netcache("cache", "status", "--json", "--cache-size", "1GiB").document
    assert list(document) == [
        "directory",
        "filesystem",
        "block_size",
        "format",
        "bytes",
        "objects",
        "limit",
        "culling",
        "dirty",
        "missing",
    ]
    assert document["directory"] == str(netcache.cache)
    assert document["objects"] == 1
    assert document["bytes"] >= 12 * KIB
    assert document["limit"] == 1 << 30
    assert document["culling"] is False
    assert document["dirty"] == []
    text = netcache("cache", "status").text
    assert f"directory:    {netcache.cache}\n" in text
    assert " in 1 object\n" in text


def test_status_makes_an_empty_cache(netcache: Commands) -> None:
    """Nothing is held yet, and that is no error."""
    assert netcache("cache", "status", "--json").document["objects"] == 0


def test_ls(url: str, netcache: Commands) -> None:
    """URL, size, bytes cached, content state, validator, last use."""
    (item,) = netcache("cache", "ls", "--json").document
    assert list(item) == ["url", "size", "cached_bytes", "content", "etag", "last_used", "pinned"]
    assert (item["url"], item["size"], item["cached_bytes"]) == (url, len(DATA), 12 * KIB)
    assert item["content"] == "BACKFS_MAP"
    assert item["pinned"] is False
    assert abs(item["last_used"] - time.time()) < 600
    (line,) = netcache("cache", "ls").lines
    assert line.split()[:3] == [str(len(DATA)), str(12 * KIB), "BACKFS_MAP"]
    assert line.endswith(f"  {url}")
    assert "\t" not in line


def test_map_as_json(url: str, netcache: Commands) -> None:
    """The extents, sorted, end exclusive."""
    assert netcache("cache", "map", "--json", url).document == {
        "url": url,
        "size": len(DATA),
        "block_size": 4096,
        "content": "BACKFS_MAP",
        "cached_bytes": 12 * KIB,
        "extents": [[4096, 12288], [524288, 528384]],
    }


def test_map_as_a_picture(url: str, netcache: Commands) -> None:
    """In a pipe 80 columns; `COLUMNS` and the encoding are minded."""
    text = netcache("cache", "map", url).text
    assert text.startswith(f"{url}\n1.0 MiB, 12.0 KiB cached (1.2%) in 2 extents\n")
    assert "│·██·" in text
    narrow = netcache("cache", "map", url, COLUMNS="40").lines
    assert all(len(line) <= 40 for line in narrow[4:])
    plain = netcache("cache", "map", url, PYTHONIOENCODING="ascii").text
    assert plain.isascii()
    assert "|.##." in plain


def test_map_of_what_is_not_cached(netcache: Commands) -> None:
    """Exit code 8, and the URL."""
    ran = netcache("cache", "map", "http://127.0.0.1:1/x")
    assert ran.code == 8
    assert "http://127.0.0.1:1/x" in ran.error


def test_drop_forgets(url: str, served: Served, netcache: Commands) -> None:
    """The object is gone, the resource is not; dropping again frees nothing."""
    assert netcache("cache", "drop", url, "--json").document["freed"] >= 12 * KIB
    assert netcache("cache", "ls").out == b""
    assert netcache("cat", url).out == DATA
    netcache("cache", "drop", url)
    assert netcache("cache", "drop", url).text == "0 B given free\n"


def test_clear_forgets_everything(url: str, netcache: Commands) -> None:
    """Nothing is held any more."""
    assert netcache("cache", "clear").text.endswith(" given free\n")
    assert netcache("cache", "status", "--json").document["objects"] == 0


def test_cull_makes_room(url: str, served: Served, netcache: Commands) -> None:
    """Down to the size that is named."""
    document = netcache("cache", "cull", "--to", "0", "--json").document
    assert document["objects"] == 1
    assert document["freed"] >= 12 * KIB
    assert netcache("cache", "cull").text == "0 objects discarded, 0 B given free\n"


def test_pin_keeps_from_culling_until_unpin(url: str, netcache: Commands) -> None:
    """Listed as pinned, and not culled; twice is as good as once."""
    assert netcache("pin", url).text == "1 pinned\n"
    assert netcache("pin", url, "--json").document == {"pinned": 1}
    assert netcache("cache", "ls", "--json").document[0]["pinned"] is True
    assert netcache("cache", "cull", "--to", "0", "--json").document == {"objects": 0, "freed": 0}
    assert netcache("unpin", url, "--json").document == {"unpinned": 1}
    assert netcache("unpin", url).text == "0 unpinned\n"
    assert netcache("cache", "ls", "--json").document[0]["pinned"] is False
    assert netcache("cache", "cull", "--to", "0", "--json").document["objects"] == 1


def test_what_is_pinned_before_it_is_cached_is_pinned(url: str, netcache: Commands) -> None:
    """A pin belongs to the URL."""
    netcache("cache", "drop", url)
    netcache("pin", url)
    netcache("warm", url)
    assert netcache("cache", "ls", "--json").document[0]["pinned"] is True


def test_verify(url: str, netcache: Commands) -> None:
    """Nothing is wrong with a cache that was left alone."""
    assert netcache("cache", "verify").text == "nothing is wrong\n"
    assert netcache("cache", "verify", url, "--json").document == {"problems": []}


def test_no_cache_command_asks_a_server(url: str, served: Served, netcache: Commands) -> None:
    """They work on what is here."""
    served.forget()
    for args in (["status"], ["ls"], ["map", url], ["verify"], ["cull"], ["drop", url], ["clear"]):
        assert netcache("cache", *args).code == 0
    assert served.count() == 0


def test_stats_add_up_over_processes(url: str, netcache: Commands) -> None:
    """The groups of netfs and fscache; what earlier commands counted is in them."""
    before = netcache("stats", "--json").document
    assert before["DownOps"]["bytes"] == 12 * KIB
    netcache("cat", url, "--offset", "600KiB", "--count", "1")
    assert netcache("stats", "--json").document["DownOps"]["bytes"] == 16 * KIB
    assert any(line.startswith("DownOps : DL=") for line in netcache("stats").lines)


def test_stats_for_prometheus(url: str, netcache: Commands) -> None:
    """HELP, TYPE and one sample a counter, each name once."""
    lines = netcache("stats", "--prometheus").lines
    samples = dict(line.split() for line in lines if not line.startswith("#"))
    assert samples["netcache_down_ops_bytes_total"] == str(12 * KIB)
    assert "# TYPE netcache_down_ops_bytes_total counter" in lines
    assert "# TYPE netcache_objs_rr gauge" in lines
    assert len(lines) == 3 * len(samples)
