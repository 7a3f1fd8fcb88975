"""P8: without a server, and when it comes back; negative answers; stale-if-error."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import netcache
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.commands import Commands
from tests.support.damage import flip
from tests.support.served import Served, random_bytes

B = 4096
ONE, OTHER = random_bytes(16 * B, 1), random_bytes(16 * B, 2)
DOWN = FaultRule(status=503)


def read(client: netcache.Client, url: str, start: int = 0, length: int = B) -> bytes:
    """Open and read."""
    with client.open(url) as file:
        return file.pread(length, start)


def test_without_the_server_all_that_is_cached_can_be_read_and_the_rest_is_named(
    served: Served, new_client: NewClient
) -> None:
    """Each cached extent, each listing; for the rest ``NotCachedError``, at once."""
    url = served.put("d/data", ONE)
    online = new_client(readahead=0)
    for block in (0, 3, 4, 9):
        read(online, url, block * B)
    listed = online.ls(served.url + "d/")
    online.close()
    served.server.stop()
    client = new_client(offline=True)
    cached = {
        block
        for start, end in client.cache.extents(url)
        for block in range(start // B, -(-end // B))
    }
    assert cached == {0, 3, 4, 9}
    for block in range(16):
        if block in cached:
            assert read(client, url, block * B) == ONE[block * B : block * B + B]
        else:
            with pytest.raises(netcache.NotCachedError, match="offline, and not cached") as raised:
                read(client, url, block * B)
            assert raised.value.url == url
    assert client.ls(served.url + "d/") == listed
    assert client.stat(url).size == len(ONE)
    for call in (client.ls, client.stat):
        with pytest.raises(netcache.NotCachedError, match="offline"):
            call(served.url + "unknown/x")


def test_a_damaged_listing_is_not_shown(served: Served, new_client: NewClient) -> None:
    """Its bytes were not compared with their sums: another name was shown."""
    served.put("d/data", ONE)
    online = new_client()
    cache = Path(online.cache.status().directory)
    online.ls(served.url + "d/")
    online.close()
    served.server.stop()
    (kept,) = (path for path in (cache / "cache").rglob("@*/*") if b"data" in path.read_bytes())
    flip(kept, 8 * kept.read_bytes().index(b"data"))
    client = new_client(offline=True)
    for _ in range(2):
        with pytest.raises(netcache.NotCachedError, match="offline, and not cached"):
            client.ls(served.url + "d/")


def test_a_listing_tells_offline_what_is_there_and_what_is_not(
    served: Served, new_client: NewClient
) -> None:
    """Of resources that nobody has read: metadata, or that they are not there."""
    url = served.put("d/data", ONE)
    (listed,) = new_client().ls(served.url + "d/")
    client = new_client(offline=True)
    assert client.stat(url) == listed
    with pytest.raises(netcache.NotFoundError, match="last listed"):
        client.stat(served.url + "d/other")


def test_a_negative_answer_is_kept_and_ends_with_the_resource_coming_back(
    served: Served, new_client: NewClient
) -> None:
    """Offline it is the last that is known; with the server the object counts again, unfetched."""
    url = served.put("data", ONE)
    never = served.url + "never"
    online = new_client()
    online.warm(url)
    hidden = (served.root / "data").rename(served.root.parent / "hidden")
    for gone in (url, never):
        with pytest.raises(netcache.NotFoundError):
            read(online, gone)
    offline = new_client(offline=True)
    for gone in (url, never):
        for ask in (offline.stat, lambda gone: read(offline, gone)):
            with pytest.raises(netcache.NotFoundError, match="last asked"):
                ask(gone)
    offline.close()
    hidden.rename(served.root / "data")
    served.forget()
    again = new_client()
    assert read(again, url, 0, 16 * B) == ONE
    assert [record["status"] for record in served.requests()] == [304]
    assert read(new_client(offline=True), url, 0, 16 * B) == ONE


def test_a_negative_answer_counts_no_more_when_something_newer_is_known(
    served: Served, new_client: NewClient
) -> None:
    """What came back and was culled is not cached; it is not gone.  Dropping forgets answers."""
    url = served.put("data", ONE)
    hidden = (served.root / "data").rename(served.root.parent / "hidden")
    online = new_client()
    with pytest.raises(netcache.NotFoundError):
        online.stat(url)
    hidden.rename(served.root / "data")
    online.warm(url)
    online.close()
    culling = new_client()
    culling.cache.cull(0)
    assert not list(culling.cache.objects())
    with pytest.raises(netcache.NotCachedError):
        read(new_client(offline=True), url)
    with pytest.raises(netcache.NotFoundError):
        culling.stat(served.url + "never")
    culling.cache.drop(served.url + "never")
    with pytest.raises(netcache.NotCachedError):
        new_client(offline=True).stat(served.url + "never")


def test_a_negative_answer_ends_with_what_is_made_uploaded_or_listed_after_it(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """Its folder made, its listing seen, its bytes sent: then nothing says any more that it is not
    there; of what no reply proves nothing older is shown either."""
    url = served.url + "d"
    unproven = [FaultRule(method=("PUT",), validator="none")]
    with new_client() as client:
        for name in ("d", "d/file", "later"):
            with pytest.raises(netcache.NotFoundError):
                client.stat(served.url + name)
        (tmp_path / "empty").mkdir()
        client.put(tmp_path / "empty", url, recursive=True)
        served.server.set_faults(unproven)
        client.put(io.BytesIO(ONE), url + "/file")
        client.warm(served.put("old", ONE))
        (served.root / "old").unlink()
        client.put(io.BytesIO(OTHER), served.url + "old")
        served.server.set_faults()
        served.put("later", ONE)
        client.ls(served.url)
        assert client.cache.extents(served.url + "old") == []
    with new_client(offline=True) as offline:
        assert offline.stat(url).type == "directory"
        assert offline.stat(served.url + "later").size == len(ONE)
        with pytest.raises(netcache.NotCachedError):
            offline.stat(url + "/file")
        for name in ("d/file", "old"):
            with pytest.raises(netcache.NotCachedError):
                read(offline, served.url + name)


def test_reconnecting_converges(served: Served, new_client: NewClient) -> None:
    """What changed, went and came meanwhile is seen by the next client with a server."""
    urls = {name: served.put(name, ONE) for name in ("same", "changed", "gone")}
    with new_client() as before:
        before.ls(served.url)
        for url in urls.values():
            before.warm(url)
    served.put("changed", OTHER)
    (served.root / "gone").unlink()
    served.put("new", OTHER)
    with new_client(offline=True) as offline:
        assert [read(offline, url) for url in urls.values()] == 3 * [ONE[:B]]
        assert [entry.name for entry in offline.ls(served.url)] == sorted(urls, key=str)
    online = new_client()
    assert read(online, urls["same"], 0, 16 * B) == ONE
    assert read(online, urls["changed"], 0, 16 * B) == OTHER
    with pytest.raises(netcache.NotFoundError):
        read(online, urls["gone"])
    online.ls(served.url)
    online.close()
    with new_client(offline=True) as offline:
        assert [entry.name for entry in offline.ls(served.url)] == ["changed", "new", "same"]
        assert read(offline, urls["changed"], 0, 16 * B) == OTHER
        with pytest.raises(netcache.NotFoundError):
            read(offline, urls["gone"])


def test_stale_if_error_shows_what_is_cached_and_spares_the_server(
    served: Served, new_client: NewClient
) -> None:
    """A failing server is asked once; what is not cached is its error; it is no default."""
    url = served.put("data", ONE)
    new_client().warm(url, 0, 2 * B)
    served.server.set_faults([DOWN])
    strict = new_client(retries=0)
    with pytest.raises(netcache.TransientError):
        read(strict, url)
    client = new_client(stale_if_error="always", retries=0, readahead=0)
    served.forget()
    for _ in range(5):
        assert read(client, url) == ONE[:B]
    assert served.count() == 1
    assert client.stats()["Updates"]["stale"] == 5
    with pytest.raises(netcache.TransientError):
        read(client, url, 8 * B)
    served.server.set_faults()
    served.put("data", OTHER)
    assert read(new_client(stale_if_error="always"), url) == OTHER[:B]


def test_stale_if_error_has_an_age_and_is_not_for_what_is_known_to_have_changed(
    served: Served, new_client: NewClient
) -> None:
    """Checked too long ago: the error.  Denied, and then no answer: the error, too."""
    url = served.put("data", ONE)
    new_client().warm(url)
    served.server.set_faults([DOWN])
    assert read(new_client(stale_if_error="1h", retries=0), url) == ONE[:B]
    with pytest.raises(netcache.TransientError):
        read(new_client(stale_if_error=0, retries=0), url)
    served.put("data", OTHER)
    served.server.set_faults([FaultRule(method=("GET",), status=503)])
    with pytest.raises(netcache.TransientError):
        read(new_client(stale_if_error="always", retries=0), url)
    for bad in ("sometimes", -1):
        with pytest.raises(netcache.UsageError):
            new_client(stale_if_error=bad)


def test_the_command_line_takes_the_policy(served: Served, tmp_path: Path) -> None:
    """``--stale-if-error``; offline errors have codes of their own."""
    command = Commands(tmp_path)
    url = served.put("data", ONE)
    assert command("warm", url).code == 0
    served.server.set_faults([DOWN])
    assert command("cat", url, "--retries", "0").code == 5
    assert command("cat", url, "--retries", "0", "--stale-if-error", "always").code == 0
    assert command("cat", url, "--stale-if-error", "soon").code == 2
    served.server.set_faults()
    assert command("stat", served.url + "x").code == 3
    assert command("stat", served.url + "x", "--offline").code == 3
    assert command("stat", served.url + "y", "--offline").code == 8
