"""The command line against the bundled server: sync, ls, stat, rm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.commands import Commands
from tests.support.served import Served


@pytest.fixture
def tree(netcache: Commands) -> Path:
    """A small local tree."""
    top = netcache.home / "tree"
    for name, text in (("a.txt", "1"), ("b.tmp", "22"), ("sub/c.txt", "333")):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def files(top: Path) -> dict[str, str]:
    """Names and contents of a tree."""
    found = (path for path in top.rglob("*") if path.is_file())
    return {path.relative_to(top).as_posix(): path.read_text() for path in found}


# sync


def test_sync_up_prints_a_summary_and_then_nothing_to_transfer(
    served: Served, netcache: Commands, tree: Path
) -> None:
    """The second run says plainly that there was nothing to do."""
    ran = netcache("sync", "tree", served.url + "t")
    assert (ran.code, ran.err) == (0, "")
    assert ran.text == "Done: 3 copied, 0 unchanged, 0 deleted, 0 failed, 6 bytes\n"
    assert files(served.root / "t") == files(tree)
    ran = netcache("sync", "tree", served.url + "t")
    assert ran.text == (
        "Nothing to transfer: 0 copied, 3 unchanged, 0 deleted, 0 failed, 0 bytes\n"
    )


def test_sync_up_sends_an_older_file_where_times_are_kept(
    served: Served, netcache: Commands, tree: Path
) -> None:
    """A backup of the same size that is put in place; an earlier command learnt of the times."""
    assert netcache("sync", "tree", served.url + "t").code == 0
    (tree / "a.txt").write_text("2")
    os.utime(tree / "a.txt", (1_000_000_000, 1_000_000_000))
    assert "1 copied, 2 unchanged" in netcache("sync", "tree", served.url + "t").text
    assert (served.root / "t/a.txt").read_text() == "2"
    assert "0 copied, 3 unchanged" in netcache("sync", "tree", served.url + "t").text


def test_sync_down_and_delete(served: Served, netcache: Commands) -> None:
    """DST becomes SRC; what is too much goes only with `--delete`."""
    served.put("t/a", b"1")
    (netcache.home / "copy").mkdir()
    (netcache.home / "copy/extra").write_text("x")
    assert netcache("sync", served.url + "t", "copy").code == 0
    assert files(netcache.home / "copy") == {"a": "1", "extra": "x"}
    ran = netcache("sync", "--delete", served.url + "t", "copy")
    assert ran.text.startswith("Done: 0 copied, 1 unchanged, 1 deleted, 0 failed, ")
    assert files(netcache.home / "copy") == {"a": "1"}


def test_sync_max_delete(served: Served, netcache: Commands, tree: Path) -> None:
    """More than N: nothing goes, copies are made, exit 6."""
    for name in "xyz":
        served.put(f"t/{name}", b"")
    ran = netcache("sync", "tree", served.url + "t", "--delete", "--max-delete", "2")
    assert ran.code == 6
    assert ran.error.startswith("netcache: ")
    assert set(files(served.root / "t")) == {"x", "y", "z", *files(tree)}


def test_sync_dry_run_changes_nothing(served: Served, netcache: Commands, tree: Path) -> None:
    """It says what would be done."""
    ran = netcache("sync", "-n", "tree", served.url + "t")
    assert ran.code == 0
    assert ran.lines[-1] == "Would be: 3 copied, 0 unchanged, 0 deleted, 0 failed, 6 bytes"
    assert not (served.root / "t").exists()


def test_sync_dry_run_names_what_would_go(served: Served, netcache: Commands, tree: Path) -> None:
    """As it names what would be copied; nothing goes."""
    served.put("t/old/x", b"1")
    ran = netcache("sync", "-n", "--delete", "tree", served.url + "t")
    assert [line for line in ran.lines if line.startswith("would delete")] == [
        "would delete  old",
        "would delete  old/x",
    ]
    assert ran.lines[-1] == "Would be: 3 copied, 0 unchanged, 2 deleted, 0 failed, 6 bytes"
    assert (served.root / "t/old/x").exists()


def test_a_limit_of_deletions_may_be_kept(served: Served, netcache: Commands, tree: Path) -> None:
    """It is no error of those syncs that delete nothing; typed without them it is one."""
    served.put("t/old", b"1")
    url = served.url + "t"
    assert netcache("sync", "tree", url, NETCACHE_MAX_DELETE="0").code == 0
    assert (served.root / "t/old").exists()
    assert netcache("sync", "tree", url, "--delete", NETCACHE_MAX_DELETE="0").code == 6
    ran = netcache("sync", "tree", url, NETCACHE_MAX_DELETE="0", NETCACHE_DELETE="1")
    assert ran.code == 6
    assert (served.root / "t/old").exists()
    ran = netcache("sync", "tree", url, "--max-delete", "0")
    assert (ran.code, "means nothing without --delete" in ran.error) == (2, True)


def test_sync_deletes_nothing_by_a_listing_that_was_kept(
    served: Served, netcache: Commands
) -> None:
    """Offline it is of any age; without deletion it will do."""
    served.put("t/a", b"1")
    assert netcache("sync", served.url + "t", "copy").code == 0
    (netcache.home / "copy/extra").write_text("x")
    ran = netcache("--offline", "sync", "--delete", served.url + "t", "copy")
    assert (ran.code, len(ran.err.splitlines())) == (8, 1)
    assert "sync with deletion from" in ran.error
    assert files(netcache.home / "copy") == {"a": "1", "extra": "x"}
    assert netcache("--offline", "sync", served.url + "t", "copy").code == 0


def test_sync_filters(served: Served, netcache: Commands, tree: Path) -> None:
    """Repeatable globs, and from the environment."""
    netcache("sync", "tree", served.url + "t", "--exclude", "*.tmp", "--exclude", "sub")
    assert set(files(served.root / "t")) == {"a.txt"}
    netcache("sync", "tree", served.url + "u", NETCACHE_INCLUDE="*.tmp")
    assert set(files(served.root / "u")) == {"b.tmp"}


def test_sync_checksum_sees_what_size_and_time_hide(
    served: Served, netcache: Commands, tree: Path
) -> None:
    """`-c` compares contents."""
    netcache("sync", "tree", served.url + "t")
    before = (tree / "a.txt").stat()
    (tree / "a.txt").write_text("2")
    os.utime(tree / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "1 copied, 2 unchanged" in netcache("sync", "-c", "tree", served.url + "t").text
    assert (served.root / "t/a.txt").read_text() == "2"


def test_sync_as_json(served: Served, netcache: Commands, tree: Path) -> None:
    """The report, as documented, and nothing on stderr."""
    ran = netcache("sync", "--json", "tree", served.url + "t")
    assert ran.err == ""
    assert ran.document == {
        "copied": 3,
        "unchanged": 0,
        "deleted": 0,
        "failed": 0,
        "bytes": 6,
        "errors": [],
    }


def test_sync_names_links_that_it_passes_over(
    served: Served, netcache: Commands, tree: Path
) -> None:
    """A symbolic link in SRC is skipped and named; that is no failure."""
    (tree / "link").symlink_to("a.txt")
    ran = netcache("sync", "tree", served.url + "t")
    assert ran.code == 0
    assert ran.error == "netcache: link: passed over (a symbolic link or no regular file)"
    document = netcache("sync", "--json", "tree", served.url + "t").document
    assert document["skipped"] == ["link"]
    assert netcache("sync", "--follow-links", "tree", served.url + "t").code == 0
    assert (served.root / "t/link").read_text() == "1"


# ls


def test_ls_prints_names(served: Served, netcache: Commands) -> None:
    """Sorted, folders with a slash; a file lists itself."""
    served.put("d/b", b"22")
    served.put("d/a\nline", b"1")
    served.put("d/sub/c", b"3")
    assert netcache("ls", served.url + "d").lines == ["a\\nline", "b", "sub/"]
    assert netcache("ls", "-r", served.url + "d").lines == ["a\\nline", "b", "sub/", "sub/c"]
    assert netcache("ls", served.url + "d/b").lines == ["b"]


def test_ls_long_has_stable_columns_without_tabs(served: Served, netcache: Commands) -> None:
    """Type, exact size, UTC time, name."""
    served.put("d/b", b"22")
    served.put("d/sub/c", b"3")
    os.utime(served.root / "d/b", (1_700_000_000, 1_700_000_000))
    ran = netcache("ls", "-l", served.url + "d")
    assert "\t" not in ran.text
    first, second = ran.lines
    assert first.split() == ["file", "2", "2023-11-14T22:13:20Z", "b"]
    assert (second.split()[0], second.split()[-1]) == ("directory", "sub/")


def test_ls_as_json(served: Served, netcache: Commands) -> None:
    """One array of `{name, url, type, size, mtime, etag}`."""
    url = served.put("d/b", b"22")
    (item,) = netcache("ls", "--json", served.url + "d").document
    assert list(item) == ["name", "url", "type", "size", "mtime", "etag"]
    assert (item["name"], item["url"], item["type"], item["size"]) == ("b", url, "file", 2)
    assert isinstance(item["mtime"], int | float)
    assert netcache("ls", "--json", "-r", served.url + "d").document[0]["name"] == "b"


def test_ls_of_an_empty_folder_is_empty(served: Served, netcache: Commands) -> None:
    """No lines; an empty array."""
    assert netcache("ls", served.url).out == b""
    assert netcache("ls", "--json", served.url).document == []


# stat


def test_stat(served: Served, netcache: Commands) -> None:
    """For people a line a figure; for programs `{url, type, size, mtime, etag}`."""
    url = served.put("b", b"22")
    os.utime(served.root / "b", (1_700_000_000, 1_700_000_000))
    ran = netcache("stat", url)
    assert ran.lines[:4] == [
        f"url:   {url}",
        "type:  file",
        "size:  2 bytes (2 B)",
        "mtime: 2023-11-14T22:13:20Z",
    ]
    document = netcache("stat", "--json", url).document
    assert list(document) == ["url", "type", "size", "mtime", "etag"]
    assert (document["size"], document["mtime"]) == (2, 1_700_000_000)
    assert f"etag:  {document['etag']}" == ran.lines[4]
    assert netcache("stat", "--json", served.url).document["type"] == "directory"


# rm


def test_rm_a_file_and_a_tree(served: Served, netcache: Commands) -> None:
    """A folder with something in it needs `-r`, on the command line."""
    url = served.put("d/a", b"1")
    served.put("d/b", b"2")
    assert netcache("rm", url).text == "Done: 0 copied, 0 unchanged, 1 deleted, 0 failed, 0 bytes\n"
    assert not (served.root / "d/a").exists()
    assert netcache("rm", served.url + "d/", NETCACHE_RECURSIVE="1").code != 0
    assert (served.root / "d/b").exists()
    assert netcache("rm", "-r", served.url + "d", "--json").document["deleted"] == 2
    assert not (served.root / "d").exists()
