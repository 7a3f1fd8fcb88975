"""Trees: the rules one by one, against a server in memory."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from netcache._client.report import Report
from netcache._client.trees.api import (
    TreeOptions,
    exit_code,
    get_tree,
    list_tree,
    put_tree,
    remove_tree,
    sync_tree,
    warm_tree,
)
from netcache._core.progress import ProgressEvent
from netcache.errors import (
    AccessDeniedError,
    ClosedError,
    NetCacheError,
    NotFoundError,
    RemoteProtocolError,
    TransientError,
    UsageError,
)
from netcache.spi import ResourceInfo
from tests.support.memtree import ORIGIN, MemoryTree

URL = ORIGIN + "/t"
DELETE = TreeOptions(delete=True)


@pytest.fixture
def ops() -> MemoryTree:
    """A server with an empty folder ``t``."""
    tree = MemoryTree()
    tree.add_folder("t")
    return tree


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """The local side; not there yet."""
    return tmp_path / "dest"


def names_below(folder: Path) -> list[str]:
    """All relative names in a folder."""
    return sorted(str(place.relative_to(folder)) for place in folder.rglob("*"))


def failures(report: Report) -> dict[str, int]:
    """The names that failed, with their codes."""
    return {error.name: error.code for error in report.errors}


# Ends.


async def test_a_second_run_goes_to_the_same_place(ops: MemoryTree, dest: Path) -> None:
    """DEST becomes the tree, also when it is there already; slashes at the end mean nothing."""
    ops.store("t/a/b", b"data")
    for url, place in [(URL, str(dest)), (URL + "/", f"{dest}/"), (URL, f"{dest}//")]:
        await get_tree(ops, url, place)
        assert names_below(dest) == ["a", "a/b"]


async def test_empty_folders_are_made_on_both_sides(ops: MemoryTree, dest: Path) -> None:
    """Also an empty root, also nested ones."""
    ops.add_folder("t/a/b")
    await get_tree(ops, URL, str(dest))
    assert names_below(dest) == ["a", "a/b"]
    await put_tree(ops, str(dest), ORIGIN + "/copy/deep")
    assert ("copy", "deep", "a", "b") in ops.folders
    (dest.parent / "empty").mkdir()
    await put_tree(ops, str(dest.parent / "empty"), ORIGIN + "/empty")
    assert ("empty",) in ops.folders


async def test_a_missing_source_empties_nothing(ops: MemoryTree, dest: Path) -> None:
    """Exit code 3, and what is in DEST stays."""
    dest.mkdir()
    (dest / "keep").touch()
    with pytest.raises(NotFoundError):
        await sync_tree(ops, ORIGIN + "/none", str(dest), options=DELETE)
    assert names_below(dest) == ["keep"]
    ops.store("t/keep", b"x")
    with pytest.raises(NotFoundError) as caught:
        await sync_tree(ops, str(dest / "none"), URL, options=DELETE)
    assert caught.value.exit_code == 3
    assert ops.count("delete") == 0


async def test_a_source_that_cannot_be_listed_empties_nothing(ops: MemoryTree, dest: Path) -> None:
    """The error of the root is raised, DEST is not even made."""
    ops.fail["list", ("t",)] = TransientError("the server is ill")
    with pytest.raises(TransientError):
        await sync_tree(ops, URL, str(dest), options=DELETE)
    assert not dest.exists()


async def test_sync_needs_exactly_one_url(ops: MemoryTree) -> None:
    """Two URLs or two paths are a usage error."""
    with pytest.raises(UsageError, match="both are URLs"):
        await sync_tree(ops, URL, URL)
    with pytest.raises(UsageError, match="both are local"):
        await sync_tree(ops, "a", "b")


@pytest.mark.parametrize(
    "options",
    [
        TreeOptions(checksum=True, size_only=True),
        TreeOptions(max_delete=-1),
        TreeOptions(include="*.txt"),
        TreeOptions(exclude=["["]),
    ],
)
async def test_options_without_meaning_are_refused(ops: MemoryTree, options: TreeOptions) -> None:
    """Before anything is asked of the server."""
    with pytest.raises(UsageError):
        await get_tree(ops, URL, "dest", options=options)
    assert ops.calls == []


@pytest.mark.parametrize("path", ["", "a\0b"])
async def test_a_path_without_meaning_is_refused(ops: MemoryTree, path: str) -> None:
    """Empty, or with a NUL."""
    with pytest.raises(UsageError):
        await get_tree(ops, URL, path)
    with pytest.raises(UsageError):
        await put_tree(ops, path, URL)


async def test_a_file_is_copied_as_one(ops: MemoryTree, dest: Path) -> None:
    """DEST becomes the file, or holds it when it is a folder; twice is once."""
    ops.store("t/f", b"data")
    assert (await get_tree(ops, URL + "/f", str(dest))).copied == 1
    assert dest.read_bytes() == b"data"
    assert (await get_tree(ops, URL + "/f/", str(dest))).unchanged == 1
    folder = dest.parent / "folder"
    folder.mkdir()
    for copied in (1, 0):
        assert (await get_tree(ops, URL + "/f", str(folder))).copied == copied
        assert names_below(folder) == ["f"]


async def test_a_local_file_is_uploaded_as_one(ops: MemoryTree, dest: Path) -> None:
    """The URL becomes the file, or holds it when it is a folder; twice is once."""
    dest.write_bytes(b"data")
    for copied in (1, 0):
        assert (await put_tree(ops, str(dest), ORIGIN + "/f")).copied == copied
        assert (await put_tree(ops, str(dest), URL)).copied == copied
    assert ops.tree() == {"f": b"data", "t": None, "t/dest": b"data"}


async def test_the_only_file_raises_its_own_error(ops: MemoryTree, dest: Path) -> None:
    """One item, its own exit code."""
    ops.store("t/f", b"data")
    ops.fail["get_file", ("t", "f")] = AccessDeniedError("no")
    with pytest.raises(AccessDeniedError):
        await get_tree(ops, URL + "/f", str(dest))


async def test_the_ends_are_never_replaced_by_another_type(ops: MemoryTree, dest: Path) -> None:
    """Not even with deletion: a folder for a file, or a file for a folder."""
    ops.store("t/f", b"data")
    dest.mkdir()
    (dest / "precious").touch()
    with pytest.raises(NetCacheError, match="a folder stands"):
        await sync_tree(ops, URL + "/f", str(dest), options=DELETE)
    with pytest.raises(NetCacheError, match="a file stands"):
        await sync_tree(ops, URL, str(dest / "precious"), options=DELETE)
    with pytest.raises(NetCacheError, match="a folder stands"):
        await sync_tree(ops, str(dest / "precious"), URL, options=DELETE)
    with pytest.raises(NetCacheError, match="a file stands"):
        await sync_tree(ops, str(dest), URL + "/f", options=DELETE)
    assert names_below(dest) == ["precious"]
    assert ops.tree() == {"t": None, "t/f": b"data"}


async def test_a_special_file_is_no_source(ops: MemoryTree, dest: Path) -> None:
    """A pipe would be read for ever."""
    os.mkfifo(dest)
    with pytest.raises(NetCacheError, match="neither a file nor a folder"):
        await put_tree(ops, str(dest), URL)


# Symbolic links.


async def test_a_link_in_dest_is_replaced_and_never_walked_through(
    ops: MemoryTree, dest: Path
) -> None:
    """Nothing outside DEST is written, whatever links an attacker left in it."""
    outside = dest.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    dest.mkdir()
    (dest / "folder").symlink_to(outside)
    (dest / "file").symlink_to(outside / "file")
    (dest / "dangling").symlink_to(outside / "new")
    ops.store("t/folder/file", b"evil")
    ops.store("t/file", b"evil")
    ops.store("t/dangling", b"evil")
    report = await get_tree(ops, URL, str(dest))
    assert not report.errors
    assert (outside / "file").read_bytes() == b"precious"
    assert names_below(outside) == ["file"]
    assert not any((dest / name).is_symlink() for name in ("folder", "file", "dangling"))
    assert (dest / "folder" / "file").read_bytes() == b"evil"


async def test_deletion_removes_links_and_nothing_behind_them(ops: MemoryTree, dest: Path) -> None:
    """Neither in DEST itself nor in folders that go."""
    outside = dest.parent / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (dest / "gone").mkdir(parents=True)
    (dest / "link").symlink_to(outside)
    (dest / "gone" / "link").symlink_to(outside)
    report = await sync_tree(ops, URL, str(dest), options=DELETE)
    assert names_below(dest) == []
    assert names_below(outside) == ["file"]
    assert report.deleted == 3


async def test_a_folder_swapped_for_a_link_meanwhile_is_not_deleted_through(
    ops: MemoryTree, dest: Path
) -> None:
    """What was a folder when it was listed and is a link when its names shall go."""
    outside = dest.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    (dest / "folder").mkdir(parents=True)
    (dest / "folder" / "file").touch()
    ops.store("t/new", b"x")

    def swap(event: ProgressEvent) -> None:
        if event.kind == "done":
            (dest / "folder" / "file").unlink()
            (dest / "folder").rmdir()
            (dest / "folder").symlink_to(outside)

    report = await sync_tree(ops, URL, str(dest), options=DELETE, progress=swap)
    assert (outside / "file").read_bytes() == b"precious"
    assert failures(report)


async def test_the_ends_may_be_links(ops: MemoryTree, dest: Path) -> None:
    """DEST and SRC were named by the caller: a link to a folder is that folder."""
    real = dest.parent / "real"
    real.mkdir()
    dest.symlink_to(real)
    ops.store("t/f", b"data")
    await get_tree(ops, URL, str(dest))
    assert names_below(real) == ["f"]
    await put_tree(ops, str(dest), ORIGIN + "/copy")
    assert ops.tree()["copy/f"] == b"data"


async def test_links_and_special_files_in_src_are_skipped_and_named(
    ops: MemoryTree, dest: Path
) -> None:
    """They are no error; their namesakes at the server are not deleted."""
    dest.mkdir()
    (dest / "file").touch()
    (dest / "link").symlink_to("file")
    (dest / "folder").symlink_to("..")
    os.mkfifo(dest / "pipe")
    ops.store("t/folder/kept", b"x")
    ops.store("t/gone", b"x")
    report = await sync_tree(ops, str(dest), URL, options=DELETE)
    assert sorted(report.skipped) == ["folder", "link", "pipe"]
    assert report.errors == []
    assert ops.tree() == {"t": None, "t/file": b"", "t/folder": None, "t/folder/kept": b"x"}


async def test_follow_links_copies_what_they_lead_to(ops: MemoryTree, dest: Path) -> None:
    """Files and folders; a link that leads nowhere is an error of that name."""
    outside = dest.parent / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub" / "file").write_bytes(b"data")
    dest.mkdir()
    (dest / "folder").symlink_to(outside)
    (dest / "file").symlink_to(outside / "sub" / "file")
    (dest / "nowhere").symlink_to("none")
    (dest / "itself").symlink_to("itself")
    report = await put_tree(ops, str(dest), URL, options=TreeOptions(follow_links=True))
    assert sorted(failures(report)) == ["itself", "nowhere"]
    assert ops.tree() == {
        "t": None,
        "t/file": b"data",
        "t/folder": None,
        "t/folder/sub": None,
        "t/folder/sub/file": b"data",
    }


async def test_followed_links_may_not_lead_in_circles(ops: MemoryTree, dest: Path) -> None:
    """A link to a folder above itself is an error; the others arrive."""
    (dest / "a" / "b").mkdir(parents=True)
    (dest / "a" / "b" / "up").symlink_to(dest / "a")
    (dest / "a" / "root").symlink_to(dest)
    (dest / "a" / "file").touch()
    report = await put_tree(ops, str(dest), URL, options=TreeOptions(follow_links=True))
    assert sorted(failures(report)) == ["a/b/up", "a/root"]
    assert ops.tree() == {"t": None, "t/a": None, "t/a/b": None, "t/a/file": b""}


async def test_follow_links_follows_those_in_dest_too(ops: MemoryTree, dest: Path) -> None:
    """Files arrive where the links lead; a link that is too much goes itself."""
    outside = dest.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"old")
    (outside / "other").touch()
    dest.mkdir()
    (dest / "folder").symlink_to(outside)
    (dest / "file").symlink_to(outside / "file")
    (dest / "surplus").symlink_to(outside)
    (dest / "dangling").symlink_to(outside / "none")
    ops.store("t/folder/new", b"new")
    ops.store("t/file", b"new")
    ops.store("t/dangling/file", b"new")
    options = TreeOptions(follow_links=True, delete=True, exclude=["other", "/folder/file"])
    report = await sync_tree(ops, URL, str(dest), options=options)
    assert report.errors == []
    assert (outside / "file").read_bytes() == b"new"
    assert (outside / "new").read_bytes() == b"new"
    assert (dest / "file").is_symlink()
    assert sorted(os.listdir(dest)) == ["dangling", "file", "folder"]
    assert sorted(os.listdir(outside)) == ["file", "new", "other"]


# Names.

STRANGE = [
    "with space",
    "100%",
    "%2F",
    "a#b",
    "a?b=c",
    "new\nline",
    "-rf",
    "--",
    "ünïcödé",
    "日本語",
    os.fsdecode(b"bytes\xff\xfe"),
    "back\\slash",
    "'quote\"",
    "tab\t",
    "...",
    "~",
    "a;b&c+d",
    "[x]{y}*",
    "x" * 255,
    "trailing.",
    " ",
]


async def test_strange_names_go_up_and_come_down(ops: MemoryTree, dest: Path) -> None:
    """As file and as folder, byte for byte the same name."""
    dest.mkdir()
    for name in STRANGE:
        (dest / name).write_bytes(b"1")
    (dest / "in").mkdir()
    for name in STRANGE:
        (dest / "in" / name).mkdir()
        (dest / "in" / name / name).write_bytes(b"2")
    assert (await put_tree(ops, str(dest), URL)).errors == []
    back = dest.parent / "back"
    assert (await sync_tree(ops, URL, str(back), options=DELETE)).errors == []
    assert names_below(back) == names_below(dest)
    assert (await sync_tree(ops, str(back), URL, options=DELETE)).copied == 0


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\0b", "x" * 256, "../../evil", "/etc/x"])
async def test_a_remote_name_that_cannot_be_local_is_an_item_error(name: str, dest: Path) -> None:
    """The others arrive, nothing lands elsewhere, and nothing is left out of deletion."""

    class Evil(MemoryTree):
        async def list(self, url: str) -> list[ResourceInfo]:
            infos = await super().list(url)
            return [info._replace(name=name) if info.name == "evil" else info for info in infos]

    ops = Evil()
    ops.store("t/evil", b"evil")
    ops.store("t/good", b"good")
    dest.mkdir()
    (dest / "old").touch()
    report = await sync_tree(ops, URL, str(dest), options=DELETE)
    assert [error.name for error in report.errors] == [name]
    assert exit_code(report) == 6
    assert names_below(dest.parent) == ["dest", "dest/good"]


async def test_a_name_that_stands_twice_is_an_error_once(dest: Path) -> None:
    """The first is taken: two copiers never write one file."""

    class Twice(MemoryTree):
        async def list(self, url: str) -> list[ResourceInfo]:
            return (await super().list(url)) * 2

    ops = Twice()
    ops.store("t/f", b"data")
    report = await get_tree(ops, URL, str(dest))
    assert (report.copied, failures(report)) == (1, {"f": 1})


async def test_a_tree_without_end_is_cut_off(dest: Path) -> None:
    """A server that shows a folder in every folder does not keep us for ever."""

    class Endless(MemoryTree):
        async def list(self, url: str) -> list[ResourceInfo]:
            return [ResourceInfo(url + "d/", "d", "directory", None, None, None)]

    ops = Endless()
    ops.add_folder("t")
    with pytest.raises(NetCacheError, match="folders deep"):
        await list_tree(ops, URL)
    report = await get_tree(ops, URL, str(dest), options=TreeOptions(dry_run=True))
    assert len(report.errors) == 1


# Errors of items.


async def test_one_bad_item_does_not_stop_the_others(ops: MemoryTree, dest: Path) -> None:
    """They arrive, it is reported with its own code, and the sum of it is 6."""
    for name in "abc":
        ops.store(f"t/{name}", b"x")
    ops.fail["get_file", ("t", "a")] = AccessDeniedError("not for you")
    ops.fail["get_file", ("t", "b")] = OSError(errno.ENOSPC, "No space left on device")
    report = await get_tree(ops, URL, str(dest))
    assert names_below(dest) == ["c"]
    assert failures(report) == {"a": 10, "b": 11}
    assert report.as_json()["failed"] == 2
    assert exit_code(report) == 6


async def test_the_exit_code_of_a_single_item_is_its_own() -> None:
    """0 for nothing wrong, the only item's code, 6 when others went well."""
    tree = MemoryTree()
    tree.store("t/a", b"x")
    tree.fail["put_file", ("u", "a")] = AccessDeniedError("no")
    assert exit_code(Report()) == 0
    report = await remove_tree(tree, URL)
    assert exit_code(report) == 0


async def test_a_failed_listing_protects_from_deletion(ops: MemoryTree, dest: Path) -> None:
    """What could not be looked up is not thereby gone; copies are made all the same."""
    ops.store("t/bad/lost", b"x")
    ops.store("t/good", b"x")
    ops.fail["list", ("t", "bad")] = TransientError("the server is ill")
    (dest / "bad").mkdir(parents=True)
    (dest / "bad" / "lost").touch()
    (dest / "old").touch()
    report = await sync_tree(ops, URL, str(dest), options=DELETE)
    assert names_below(dest) == ["bad", "bad/lost", "good", "old"]
    assert report.deleted == 0
    assert failures(report) == {"bad": 5, ".": 6}
    assert exit_code(report) == 6


async def test_a_failed_local_listing_protects_from_deletion(ops: MemoryTree, dest: Path) -> None:
    """The same for an upload: a local folder too deep for a path to reach."""
    ops.store("t/old", b"x")
    dest.mkdir()
    ops.fail["make_folder", ("t", "sub")] = AccessDeniedError("no")
    (dest / "sub").mkdir()
    (dest / "sub" / "f").touch()
    report = await sync_tree(ops, str(dest), URL, options=DELETE)
    assert failures(report) == {"sub": 10}
    assert ops.tree() == {"t": None}


async def test_a_folder_that_cannot_be_made_is_one_error(ops: MemoryTree, dest: Path) -> None:
    """Its contents are not tried one by one."""
    for number in range(5):
        ops.store(f"t/bad/{number}", b"x")
    ops.store("t/good", b"x")
    dest.mkdir()
    (dest / "bad").write_bytes(b"in the way")
    report = await get_tree(ops, URL, str(dest))
    assert failures(report) == {"bad": 1}
    assert (dest / "bad").read_bytes() == b"in the way"
    assert (dest / "good").exists()


async def test_type_clashes_are_resolved_by_deletion(ops: MemoryTree, dest: Path) -> None:
    """A file for a folder and a folder for a file, both ways."""
    ops.store("t/a", b"file now")
    ops.store("t/b/c", b"folder now")
    (dest / "a" / "sub").mkdir(parents=True)
    (dest / "a" / "sub" / "x").touch()
    (dest / "b").touch()
    report = await sync_tree(ops, URL, str(dest), options=DELETE)
    assert report.errors == []
    assert (report.copied, report.deleted) == (2, 4)
    assert names_below(dest) == ["a", "b", "b/c"]
    assert (dest / "a").read_bytes() == b"file now"


async def test_a_clash_with_something_excluded_stays(ops: MemoryTree, dest: Path) -> None:
    """A folder that holds excluded names does not give way to a file."""
    ops.store("t/a", b"file now")
    (dest / "a").mkdir(parents=True)
    (dest / "a" / "x.keep").touch()
    (dest / "a" / "y").touch()
    options = TreeOptions(delete=True, exclude=["*.keep"])
    report = await sync_tree(ops, URL, str(dest), options=options)
    assert failures(report) == {"a": 1}
    assert names_below(dest) == ["a", "a/x.keep"]


async def test_max_delete_forbids_all_deletion_and_no_copy(ops: MemoryTree, dest: Path) -> None:
    """More would go than may: nothing goes, copies are made, exit 6."""
    ops.store("t/new", b"x")
    dest.mkdir()
    for name in "abc":
        (dest / name).touch()
    report = await sync_tree(ops, URL, str(dest), options=TreeOptions(delete=True, max_delete=2))
    assert names_below(dest) == ["a", "b", "c", "new"]
    assert (report.copied, report.deleted, exit_code(report)) == (1, 0, 6)
    assert "3 names would go" in report.errors[0].error
    report = await sync_tree(ops, URL, str(dest), options=TreeOptions(delete=True, max_delete=3))
    assert (report.deleted, exit_code(report)) == (3, 0)


async def test_max_delete_alone_fails_with_6(ops: MemoryTree, dest: Path) -> None:
    """Also when there is nothing else to report."""
    dest.mkdir()
    (dest / "a").touch()
    options = TreeOptions(delete=True, max_delete=0)
    assert exit_code(await sync_tree(ops, URL, str(dest), options=options)) == 6


async def test_nothing_is_deleted_before_the_last_copy(ops: MemoryTree, dest: Path) -> None:
    """While files arrive, what is too much is still there."""
    dest.mkdir()
    (dest / "old").touch()
    for number in range(20):
        ops.store(f"t/{number}", b"x")
    seen: list[bool] = []

    def look(event: ProgressEvent) -> None:
        seen.append((dest / "old").exists())

    await sync_tree(ops, URL, str(dest), options=DELETE, progress=look)
    assert all(seen)
    assert not (dest / "old").exists()


async def test_a_closed_client_ends_the_tree(ops: MemoryTree, dest: Path) -> None:
    """It is not reported a thousand times as the error of each item."""
    for number in range(50):
        ops.store(f"t/{number}", b"x")
        ops.fail["get_file", ("t", str(number))] = ClosedError("closed")
    with pytest.raises(ClosedError):
        await get_tree(ops, URL, str(dest))


async def test_a_server_without_listings_can_be_uploaded_to(ops: MemoryTree, dest: Path) -> None:
    """Each file is asked for instead; a second run copies nothing."""
    ops.fail["list", ("t",)] = RemoteProtocolError("not a listing")
    ops.fail["list", ("t", "sub")] = AccessDeniedError("no listing")
    (dest / "sub").mkdir(parents=True)
    (dest / "sub" / "f").write_bytes(b"1")
    (dest / "g").write_bytes(b"2")
    for copied in (2, 0):
        report = await put_tree(ops, str(dest), URL)
        assert (report.copied, report.errors) == (copied, [])
    ops.fail["stat", ("t",)] = AccessDeniedError("no looking")
    report = await sync_tree(ops, str(dest), URL, options=DELETE)
    assert (report.copied, report.unchanged, report.deleted) == (0, 2, 0)
    assert failures(report) == {".": 1, "sub": 1}


async def test_an_upload_is_conditional_on_what_was_compared(ops: MemoryTree, dest: Path) -> None:
    """A file that somebody changes between listing and upload is not overwritten."""
    ops.store("t/f", b"old")
    dest.mkdir()
    (dest / "f").write_bytes(b"mine")
    (dest / "g").write_bytes(b"mine")

    def interfere(event: ProgressEvent) -> None:
        if event.kind == "start":
            ops.store(f"t/{event.name}", b"theirs!")

    report = await put_tree(ops, str(dest), URL, progress=interfere)
    assert failures(report) == {"f": 4, "g": 4}
    assert ops.tree() == {"t": None, "t/f": b"theirs!", "t/g": b"theirs!"}


# Changed or not.


async def test_an_edit_of_the_same_size_is_seen_both_ways(ops: MemoryTree, dest: Path) -> None:
    """By its time; and with a checksum even when the time was put back."""
    ops.store("t/f", b"one", 1_000)
    await sync_tree(ops, URL, str(dest))
    ops.store("t/f", b"two", 2_000)
    assert (await sync_tree(ops, URL, str(dest))).copied == 1
    (dest / "f").write_bytes(b"tri")
    assert (await sync_tree(ops, str(dest), URL)).copied == 1
    assert ops.tree()["t/f"] == b"tri"
    stored = ops.files["t", "f"]
    (dest / "f").write_bytes(b"fou")
    os.utime(dest / "f", (stored.mtime_s, stored.mtime_s))
    assert (await sync_tree(ops, str(dest), URL)).copied == 0
    assert (await sync_tree(ops, str(dest), URL, options=TreeOptions(checksum=True))).copied == 1


async def test_an_older_file_put_in_place_is_seen_where_times_are_kept(
    ops: MemoryTree, dest: Path
) -> None:
    """The server's time is then no upload time."""
    ops.knows_keeping = True
    ops.store("t/f", b"one", 2_000)
    dest.mkdir()
    (dest / "f").write_bytes(b"two")
    os.utime(dest / "f", (1_000, 1_000))
    assert (await sync_tree(ops, str(dest), URL)).copied == 1


async def test_size_only_ignores_times(ops: MemoryTree, dest: Path) -> None:
    """Another time and the same size is unchanged."""
    ops.store("t/f", b"one", 1_000)
    await sync_tree(ops, URL, str(dest))
    ops.store("t/f", b"two", 2_000)
    assert (await sync_tree(ops, URL, str(dest), options=TreeOptions(size_only=True))).copied == 0


async def test_a_local_time_just_below_a_second_is_that_second(ops: MemoryTree, dest: Path) -> None:
    """Times are rounded down, not to the nearest."""
    dest.mkdir()
    (dest / "f").touch()
    os.utime(dest / "f", ns=(1_999_999_999_999_999_999,) * 2)
    await put_tree(ops, str(dest), URL)
    ops.knows_keeping = True
    assert (await put_tree(ops, str(dest), URL)).unchanged == 1


async def test_a_dry_run_touches_nothing(ops: MemoryTree, dest: Path) -> None:
    """Only looking operations are called, and no folder is made."""
    ops.store("t/a/b", b"data")
    report = await sync_tree(ops, URL, str(dest), options=TreeOptions(dry_run=True))
    assert (report.copied, report.bytes) == (1, 4)
    assert not dest.exists()
    dest.mkdir()
    (dest / "c").touch()
    await sync_tree(ops, str(dest), URL, options=TreeOptions(delete=True, dry_run=True))
    await remove_tree(ops, URL, dry_run=True)
    assert {name for name, _ in ops.calls} == {"list", "stat"}


# Course.


async def test_transfers_bounds_how_many_files_move(dest: Path) -> None:
    """Never more than so many, and as many when there is enough to do."""
    ops = MemoryTree(transfers=5)
    for number in range(40):
        ops.store(f"t/{number}", b"x")
    await get_tree(ops, URL, str(dest))
    assert ops.running_max == 5


async def test_copying_begins_before_the_scan_has_ended(dest: Path) -> None:
    """With more files than the queue takes, listings wait for copiers."""
    ops = MemoryTree(transfers=1)
    for folder in range(30):
        for number in range(10):
            ops.store(f"t/{folder}/{number}", b"x")
    await get_tree(ops, URL, str(dest))
    kinds = [name for name, _ in ops.calls]
    assert kinds.index("get_file") < len(kinds) - 1 - kinds[::-1].index("list")


async def test_cancelling_leaves_nothing_partial_and_resumes(dest: Path) -> None:
    """Workers stop where they are; a second run does what is left."""
    ops = MemoryTree(transfers=4)
    for number in range(40):
        ops.store(f"t/{number}", b"x")
    ops.gate = asyncio.Event()
    reached = asyncio.Event()

    def stop(event: ProgressEvent) -> None:
        if event.kind == "start" and ops.running == 3:
            reached.set()

    task = asyncio.create_task(get_tree(ops, URL, str(dest), progress=stop))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ops.running == 0
    assert names_below(dest) == []
    ops.gate = None
    assert (await get_tree(ops, URL, str(dest))).copied == 40


async def test_a_run_again_copies_only_what_is_missing(ops: MemoryTree, dest: Path) -> None:
    """What has arrived before an error is not fetched twice."""
    for number in range(10):
        ops.store(f"t/{number}", b"x")
    ops.fail["get_file", ("t", "7")] = TransientError("cut")
    assert (await get_tree(ops, URL, str(dest))).copied == 9
    ops.fail.clear()
    report = await get_tree(ops, URL, str(dest))
    assert (report.copied, report.unchanged) == (1, 9)


async def test_progress_tells_the_whole_and_each_file(ops: MemoryTree, dest: Path) -> None:
    """A plan with all bytes; start, advance and done for each file, in order."""
    ops.store("t/a/b", b"four")
    ops.store("t/c", b"five5")
    events: list[ProgressEvent] = []
    await get_tree(ops, URL, str(dest), progress=events.append)
    assert [event.total_bytes for event in events if event.kind == "plan"][-1] == 9
    assert [event[:1] + event[2:] for event in events if event.name == "a/b"] == [
        ("start", 0, 4),
        ("advance", 4, 4),
        ("done", 4, 4),
    ]
    events.clear()
    ops.fail["get_file", ("t", "c")] = TransientError("cut")
    (dest / "c").unlink()
    await get_tree(ops, URL, str(dest), progress=events.append)
    assert {(event.kind, event.name) for event in events} == {
        ("plan", ""),
        ("unchanged", "a/b"),
        ("start", "c"),
        ("failed", "c"),
    }


async def test_unlisted_sizes_are_in_the_report(ops: MemoryTree, dest: Path) -> None:
    """Bytes are counted when a listing gives no sizes, dry or not."""
    ops.store("t/f", b"data")
    ops.listing_style = "names"
    dry = await get_tree(ops, URL, str(dest), options=TreeOptions(dry_run=True))
    assert (await get_tree(ops, URL, str(dest))).as_json() == dry.as_json()
    assert dry.bytes == 4


# A server's trees alone.


async def test_rm_removes_the_whole_tree(ops: MemoryTree) -> None:
    """Files, empty folders, the folder itself; a file alone; nothing else."""
    ops.store("t/a/b/c", b"x")
    ops.add_folder("t/e")
    ops.store("other", b"x")
    report = await remove_tree(ops, URL + "/")
    assert report.deleted == 5
    assert ops.tree() == {"other": b"x"}
    assert (await remove_tree(ops, ORIGIN + "/other")).deleted == 1
    assert ops.tree() == {}


async def test_rm_of_what_is_not_there_is_an_error(ops: MemoryTree) -> None:
    """Exit code 3."""
    with pytest.raises(NotFoundError):
        await remove_tree(ops, ORIGIN + "/none")


async def test_rm_of_the_root_empties_it(ops: MemoryTree) -> None:
    """The root of a server stays."""
    ops.store("t/f", b"x")
    assert (await remove_tree(ops, ORIGIN)).errors == []
    assert ops.tree() == {}


async def test_rm_goes_on_after_an_error_and_keeps_what_holds_it(ops: MemoryTree) -> None:
    """The error is told once; folders above it are kept without further errors."""
    ops.store("t/a/bad", b"x")
    ops.store("t/a/good", b"x")
    ops.store("t/b", b"x")
    ops.fail["delete", ("t", "a", "bad")] = AccessDeniedError("no")
    report = await remove_tree(ops, URL)
    assert failures(report) == {"a/bad": 10}
    assert ops.tree() == {"t": None, "t/a": None, "t/a/bad": b"x"}


async def test_rm_of_an_unlisted_folder_keeps_it(ops: MemoryTree) -> None:
    """What cannot be listed cannot be removed; the rest goes."""
    ops.store("t/a/f", b"x")
    ops.store("t/b", b"x")
    ops.fail["list", ("t", "a")] = AccessDeniedError("no")
    report = await remove_tree(ops, URL)
    assert failures(report) == {"a": 10}
    assert ops.tree() == {"t": None, "t/a": None, "t/a/f": b"x"}


async def test_names_that_vanish_before_they_are_deleted_are_fine(ops: MemoryTree) -> None:
    """Somebody else was faster."""
    ops.store("t/f", b"x")
    ops.fail["delete", ("t", "f")] = NotFoundError("gone")
    del ops.files["t", "f"]
    ops.store("t/f", b"x")
    report = await sync_tree(ops, str(Path(__file__).parent / "__init__.py"), URL + "/g")
    assert report.copied == 1
    report = await remove_tree(ops, URL + "/g")
    assert report.deleted == 1


async def test_ls_names_the_whole_tree_in_order(ops: MemoryTree) -> None:
    """Relative names, a folder before what it holds; a file is its own tree."""
    ops.store("t/a/x", b"1")
    ops.store("t/a-b", b"2")
    ops.add_folder("t/z")
    assert [info.name for info in await list_tree(ops, URL)] == ["a", "a/x", "a-b", "z"]
    assert [info.name for info in await list_tree(ops, URL + "/a-b")] == ["a-b"]


async def test_ls_raises_or_reports_what_it_cannot_list(ops: MemoryTree) -> None:
    """With a report the other folders are shown."""
    ops.store("t/a/x", b"1")
    ops.store("t/b/y", b"1")
    ops.fail["list", ("t", "a")] = AccessDeniedError("no")
    with pytest.raises(AccessDeniedError):
        await list_tree(ops, URL)
    report = Report()
    listed = await list_tree(ops, URL, report=report)
    assert [info.name for info in listed] == ["a", "b", "b/y"]
    assert failures(report) == {"a": 10}


async def test_warm_brings_every_file_once(ops: MemoryTree) -> None:
    """Counted as copied when bytes came, as unchanged when not, as failed when not brought."""
    for name in ("a/x", "a/y", "z", "bad"):
        ops.store(f"t/{name}", b"data")

    async def warm_one(info: ResourceInfo) -> tuple[int, int]:
        if info.name == "bad":
            raise TransientError("cut")
        return 4, 0 if info.name == "z" else 4

    report = await warm_tree(ops, URL, warm_one)
    assert (report.copied, report.unchanged, report.bytes) == (2, 1, 8)
    assert failures(report) == {"bad": 5}
    assert (await warm_tree(ops, URL + "/z", warm_one)).unchanged == 1
    with pytest.raises(TransientError):
        await warm_tree(ops, URL + "/bad", warm_one)
