"""Trees through the client and the bundled server."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

import netcache
from netcache._core.progress import ProgressEvent
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes
from tests.support.treecheck import failures, names_below

NAMES = [
    "plain.txt",
    "with space",
    "100%",
    "%2F",
    "a#b?c=d&e",
    "new\nline",
    "-rf",
    "ünïcödé 日本語",
    os.fsdecode(b"bytes\xff\xfe"),
    "'quote\"",
    "...",
    "x" * 200,
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A local tree: strange names, nested and empty folders, files of all sizes."""
    root = tmp_path / "tree"
    for number, name in enumerate(NAMES):
        folder = root / name / "sub"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(random_bytes(number * 1000, number))
    (root / "empty" / "deeper").mkdir(parents=True)
    (root / "zero").touch()
    (root / "large").write_bytes(random_bytes(3 << 20, 99))
    os.utime(root / "large", (1_234_567_890, 1_234_567_890))
    return root


def contents(root: Path) -> dict[str, bytes | None]:
    """All names of a tree, with the bytes of files."""
    return {
        name: None if (root / name).is_dir() else (root / name).read_bytes()
        for name in names_below(root)
    }


def test_a_tree_goes_up_and_comes_back(
    served: Served, client: netcache.Client, tree: Path, tmp_path: Path
) -> None:
    """Byte for byte, name for name, time for time; a second sync transfers nothing."""
    url = served.url + "t"
    files = len(NAMES) + 2
    up = client.put(tree, url, recursive=True)
    assert (up.copied, up.errors) == (files, [])
    assert contents(served.root / "t") == contents(tree)
    served.forget()
    again = client.sync(tree, url, delete=True)
    assert (again.copied, again.unchanged, again.deleted) == (0, files, 0)
    assert served.count("PUT") == served.count("DELETE") == 0
    down = client.sync(url + "/", tmp_path / "back", delete=True)
    assert (down.copied, down.errors) == (files, [])
    assert contents(tmp_path / "back") == contents(tree)
    assert (tmp_path / "back" / "large").stat().st_mtime == 1_234_567_890
    served.forget()
    again = client.sync(url, tmp_path / "back", delete=True)
    assert (again.copied, again.unchanged, again.deleted) == (0, files, 0)


def test_what_was_put_comes_back_out_of_the_cache(
    served: Served, client: netcache.Client, tree: Path, tmp_path: Path
) -> None:
    """Dropping the local copy and getting it again fetches no file."""
    url = served.url + "t"
    client.put(tree, url, recursive=True)
    before = contents(tree)
    shutil.rmtree(tree)
    report = client.get(url, tree, recursive=True)
    assert contents(tree) == before
    assert report.fetched_bytes == 0


def test_sync_makes_dst_like_src(
    served: Served, client: netcache.Client, tree: Path, tmp_path: Path
) -> None:
    """Edits, additions, removals and changes of type, both ways; a dry run tells the same."""
    url = served.url + "t"
    client.put(tree, url, recursive=True)
    back = tmp_path / "back"
    client.get(url, back, recursive=True)
    (tree / "large").write_bytes(random_bytes(3 << 20, 100))
    shutil.rmtree(tree / "empty")
    (tree / "empty").write_bytes(b"a file now")
    (tree / "zero").unlink()
    (tree / "zero").mkdir()
    (tree / "zero" / "in").touch()
    (tree / "plain.txt" / "sub" / "plain.txt").unlink()
    for source, dest in ((tree, url), (url, back)):
        dry = client.sync(source, dest, delete=True, dry_run=True)
        real = client.sync(source, dest, delete=True)
        assert real.as_json() == dry.as_json()
        assert (real.copied, real.deleted, real.errors) == (3, 4, [])
    assert contents(served.root / "t") == contents(tree) == contents(back)


def test_a_dry_run_sends_nothing(served: Served, client: netcache.Client, tree: Path) -> None:
    """Only questions reach the server."""
    client.sync(tree, served.url + "t", delete=True, dry_run=True)
    assert {record["method"] for record in served.requests()} <= {"GET", "HEAD", "OPTIONS"}
    assert names_below(served.root) == []


def test_links_in_dest_are_not_followed(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """Neither files nor folders are written or deleted behind them."""
    served.put("t/folder/file", b"new")
    served.put("t/link", b"new")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "folder").symlink_to(outside)
    (dest / "link").symlink_to(outside / "file")
    (dest / "gone").symlink_to(outside)
    report = client.sync(served.url + "t", dest, delete=True)
    assert report.errors == []
    assert contents(outside) == {"file": b"precious"}
    assert contents(dest) == {"folder": None, "folder/file": b"new", "link": b"new"}


async def test_a_cancelled_sync_goes_on_where_it_stopped(served: Served, tmp_path: Path) -> None:
    """Nothing partial is left, and what has arrived is neither asked for nor written again."""
    for number in range(100):
        served.put(f"t/{number}", random_bytes(10_000, number))
    url, dest = served.url + "t", tmp_path / "dest"
    loop = asyncio.get_running_loop()
    arrived = 0

    def stop(event: ProgressEvent) -> None:
        nonlocal arrived
        arrived += event.kind == "done"
        if arrived == 5:
            loop.call_soon_threadsafe(task.cancel)

    async with netcache.AsyncClient(cache_dir=tmp_path / "cache", transfers=1) as client:
        task = asyncio.create_task(client.sync(url, dest, progress=stop))
        with pytest.raises(asyncio.CancelledError):
            await task
        there = contents(dest)
        assert 5 <= len(there) < 100
        assert all(data == random_bytes(10_000, int(name)) for name, data in there.items())
        report = await client.sync(url, dest)
    assert (report.copied, report.unchanged) == (100 - len(there), len(there))
    assert len(names_below(dest)) == 100


def test_one_bad_file_does_not_stop_the_others(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """A name that cannot be made on one side is told; the rest arrives."""
    for name in ("a", "b", "c"):
        served.put(f"t/{name}", b"data")
    dest = tmp_path / "dest"
    (dest / "b" / "sub").mkdir(parents=True)
    report = client.get(served.url + "t", dest, recursive=True)
    assert failures(report) == {"b": 1}
    assert names_below(dest) == ["a", "b", "b/sub", "c"]


def test_several_trees_land_under_their_names(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """In DEST, each under its own."""
    served.put("one/a", b"1")
    served.put("two/a", b"2")
    urls = [served.url + "one", served.url + "two/"]
    client.get(urls, tmp_path / "dest", recursive=True)
    assert contents(tmp_path / "dest") == {"one": None, "one/a": b"1", "two": None, "two/a": b"2"}


def test_a_file_is_got_and_put_as_one(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """``get -r`` and ``put -r`` of a file are those of that file."""
    url = served.put("f", b"data")
    client.get(url, tmp_path / "file", recursive=True)
    assert (tmp_path / "file").read_bytes() == b"data"
    client.put(tmp_path / "file", served.url + "g", recursive=True)
    assert (served.root / "g").read_bytes() == b"data"


def test_a_missing_source_is_exit_code_3_and_empties_nothing(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """On either side."""
    served.put("t/a", b"data")
    with pytest.raises(netcache.NotFoundError):
        client.sync(tmp_path / "none", served.url + "t", delete=True)
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "keep").touch()
    with pytest.raises(netcache.NotFoundError):
        client.sync(served.url + "none", dest, delete=True)
    assert (names_below(served.root), names_below(dest)) == (["t", "t/a"], ["keep"])


def test_ls_warm_and_rm_of_trees(served: Served, client: netcache.Client, tmp_path: Path) -> None:
    """Every name is listed, every byte brought once, and then all is gone."""
    served.put("t/a/x", b"data")
    served.put("t/b", b"data")
    url = served.url + "t"
    assert [info.name for info in client.ls(url, recursive=True)] == ["a", "a/x", "b"]
    first, second = (client.warm(url, recursive=True) for _ in range(2))
    assert (first.copied, second.copied, second.unchanged) == (2, 0, 2)
    assert client.rm(url, recursive=True).deleted == 4
    assert names_below(served.root) == []
    with pytest.raises(netcache.NotFoundError):
        client.rm(url, recursive=True)


def test_offline_trees_come_out_of_the_cache(
    served: Served, new_client: NewClient, tree: Path, tmp_path: Path
) -> None:
    """What was got before, listings and all, is there without a server."""
    url = served.url + "t"
    with new_client() as client:
        client.put(tree, url, recursive=True)
        client.ls(url, recursive=True)
    served.forget()
    report = new_client(offline=True).get(url, tmp_path / "back", recursive=True)
    assert report.errors == []
    assert contents(tmp_path / "back") == contents(tree)
    assert served.count() == 0


def test_what_is_neither_file_nor_folder_at_the_server_keeps_its_copy(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """A FIFO, a link that leads nowhere and one that leads out are there: here nothing goes."""
    names, copy = ["dangling", "fifo", "out"], tmp_path / "copy"
    for name in names:
        served.put(f"t/d/{name}", name.encode())
    url = f"{served.url}t/"
    assert client.sync(url, copy, delete=True).copied == 3
    for name in names:
        (served.root / "t" / "d" / name).unlink()
    (served.root / "t" / "d" / "dangling").symlink_to("nowhere")
    (served.root / "t" / "d" / "out").symlink_to(tmp_path)
    os.mkfifo(served.root / "t" / "d" / "fifo")
    report = client.sync(url, copy, delete=True)
    assert (report.copied, report.deleted, report.errors) == (0, 0, [])
    assert report.skipped == [f"d/{name}" for name in names]
    assert contents(copy / "d") == {name: name.encode() for name in names}
    assert client.ls(f"{url}d/") == []
    failed = client.rm(url, recursive=True)
    assert [error.name for error in failed.errors] == ["d"]
    assert sorted(os.listdir(served.root / "t" / "d")) == names
