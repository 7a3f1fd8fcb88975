"""New names: at the server, in the cache, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import netcache
from tests.integration.conftest import NewClient
from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

OLD, NEW = random_bytes(70_001, 1), random_bytes(50_003, 2)


@pytest.fixture
def command(tmp_path: Path) -> Commands:
    """The command line in a home of its own."""
    return Commands(tmp_path)


def cached(client: netcache.Client) -> set[str]:
    """The URLs of what is cached."""
    return {found.url for found in client.cache.objects()}


def test_file_and_both_its_names(served: Served, client: netcache.Client) -> None:
    """The bytes are at the new name; nothing is cached under either that is no longer true."""
    a, b = served.put("a", NEW), served.put("b", OLD)
    client.warm([a, b])
    assert client.mv(a, b) == b
    assert cached(client) == set()
    with client.open(b) as file:
        assert file.read() == NEW
    with pytest.raises(netcache.NotFoundError), client.open(a) as file:
        file.read()


def test_open_files_keep_their_version(served: Served, client: netcache.Client) -> None:
    """Who had the file open under its old name, or the one that gave way, sees what he saw."""
    a, b = served.put("a", NEW), served.put("b", OLD)
    with client.open(a) as at_a, client.open(b) as at_b:
        assert at_a.read() == NEW
        assert at_b.read() == OLD
        client.mv(a, b)
        assert at_a.pread(1_000, 5) == NEW[5:1_005]
        assert at_b.pread(1_000, 5) == OLD[5:1_005]


def test_folder_and_all_that_lies_in_it(served: Served, client: netcache.Client) -> None:
    """Objects and listings below both names are forgotten, others stay."""
    inside = [served.put(f"d/{name}", OLD) for name in ("a", "e/b")]
    other = served.put("dd", OLD)
    client.warm([*inside, other])
    client.ls(served.url + "d/")
    assert client.mv(served.url + "d", served.url + "f/g/") == served.url + "f/g/"
    assert cached(client) == {other}
    assert [entry.name for entry in client.ls(served.url + "f/g")] == ["a", "e"]
    assert (served.root / "f/g/e/b").read_bytes() == OLD
    assert not (served.root / "d").exists()


def test_listing_of_a_folder_that_moved_is_not_shown_offline(
    served: Served, client: netcache.Client, new_client: NewClient
) -> None:
    """It is not what is there any more."""
    served.put("d/a", OLD)
    client.ls(served.url + "d/")
    client.mv(served.url + "d", served.url + "e")
    with pytest.raises(netcache.NotCachedError):
        new_client(offline=True).ls(served.url + "d/")


def test_into_a_folder(served: Served, client: netcache.Client) -> None:
    """A file goes into a URL that ends with a slash, under its own name."""
    served.put("x/a%b ä", OLD)
    url = served.url + "x/a%25b%20%C3%A4"
    assert client.mv(url, served.url + "y/z/") == served.url + "y/z/a%25b%20%C3%A4"
    assert (served.root / "y/z/a%b ä").read_bytes() == OLD


def test_without_a_cache(served: Served, new_client: NewClient) -> None:
    """The server's half alone."""
    client = new_client(use_cache=False)
    client.mv(served.put("a", OLD), served.url + "b")
    served.put("d/c", OLD)
    client.mv(served.url + "d", served.url + "e")
    assert (served.root / "b").read_bytes() == (served.root / "e/c").read_bytes() == OLD


async def test_asynchronously(served: Served, tmp_path: Path) -> None:
    """The same name, awaitable."""
    async with netcache.AsyncClient(cache_dir=tmp_path / "cache") as client:
        await client.mv(served.put("a", OLD), served.url + "b")
    assert (served.root / "b").read_bytes() == OLD


def test_refusals_leave_the_cache_as_it_was(served: Served, client: netcache.Client) -> None:
    """What did not move is still cached."""
    a, b = served.put("a", NEW), served.put("b", OLD)
    client.warm([a, b])
    with pytest.raises(netcache.ConflictError):
        client.mv(a, b, no_clobber=True)
    with pytest.raises(netcache.ConflictError):
        client.mv(a, served.url + "c", if_match='"other"')
    assert cached(client) == {a, b}
    assert (served.root / "a").read_bytes() == NEW


# The command line.


def test_mv(served: Served, command: Commands) -> None:
    """Silent when it is done."""
    a = served.put("a", OLD)
    ran = command("mv", a, served.url + "b")
    assert (ran.code, ran.text, ran.err) == (0, "", "")
    assert (served.root / "b").read_bytes() == OLD
    ran = command("--json", "mv", served.url + "b", served.url + "d/")
    assert ran.document == {"from": served.url + "b", "url": served.url + "d/b"}


def test_mv_exit_codes(served: Served, command: Commands) -> None:
    """Each from a real cause, with its one line."""
    a, b = served.put("a", OLD), served.put("b", NEW)
    served.put("d/x", NEW)
    for args, code, part in (
        ((served.url + "none", b), 3, "none"),
        ((a, b, "--no-clobber"), 4, b),
        ((a, served.url + "c", "--if-match", '"x"'), 4, a),
        ((a, served.url + "d"), 4, "folder"),
        ((a, "http://127.0.0.1:1/c"), 2, "one server"),
        ((a, a), 2, "same"),
        ((served.url + "d", served.url + "d/e"), 2, "itself"),
        ((a,), 2, "URL"),
        ((a, "local"), 2, "local"),
        ((a, served.url + "c", "--offline"), 8, a),
    ):
        ran = command("mv", *args)
        assert (ran.code, ran.text) == (code, ""), ran.err
        assert part in ran.error
    assert (served.root / "a").read_bytes() == OLD
    assert (served.root / "b").read_bytes() == NEW
    ran = command("--json", "mv", a, b, "--no-clobber")
    document = json.loads(ran.error)
    assert (document["code"], document["url"]) == (4, b)


def test_mv_of_what_a_reader_has_cached(served: Served, command: Commands) -> None:
    """Another process's cache on the same folder knows of it."""
    a = served.put("a", OLD)
    assert command("cat", a).out == OLD
    assert command("mv", a, served.url + "b").code == 0
    assert command("--offline", "cat", a).code == 8
    assert command("cat", served.url + "b").out == OLD
