"""The command line against the bundled server: get, put, cat, warm."""

from __future__ import annotations

import pytest

from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

KIB, MIB = 1 << 10, 1 << 20
DATA = random_bytes(2 * MIB + 777)


# get


def test_get_into_the_current_folder(served: Served, netcache: Commands) -> None:
    """Without DEST, under its own name, with a summary on stdout and nothing on stderr."""
    url = served.put("größe 1.bin", DATA)
    ran = netcache("get", url.replace(" ", "%20"))
    assert (ran.code, ran.err) == (0, "")
    assert (
        ran.text
        == f"Done: 1 copied, 0 unchanged, 0 deleted, 0 failed, {len(DATA)} bytes (2.0 MiB)\n"
    )
    assert (netcache.home / "größe 1.bin").read_bytes() == DATA


def test_get_to_a_file_and_into_a_folder(served: Served, netcache: Commands) -> None:
    """DEST is the file, or the existing folder that it lands in."""
    url = served.put("a", DATA)
    (netcache.home / "folder").mkdir()
    assert netcache("get", url, "other").code == 0
    assert netcache("get", url, "folder").code == 0
    assert (netcache.home / "other").read_bytes() == DATA
    assert (netcache.home / "folder" / "a").read_bytes() == DATA


def test_get_to_stdout(served: Served, netcache: Commands) -> None:
    """`-` gets the bytes and nothing else; several come one behind the other."""
    first, second = served.put("a", DATA), served.put("b", b"end")
    ran = netcache("get", first, second, "-")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == DATA + b"end"


def test_get_several_into_a_folder_that_is_made(served: Served, netcache: Commands) -> None:
    """Each under its own name."""
    urls = [served.put(name, name.encode()) for name in ("a", "b")]
    assert netcache("get", *urls, "new/folder").code == 0
    assert (netcache.home / "new/folder/a").read_bytes() == b"a"
    assert (netcache.home / "new/folder/b").read_bytes() == b"b"


def test_get_goes_through_the_cache(served: Served, netcache: Commands) -> None:
    """The second one moves no bytes, and says so."""
    url = served.put("a", DATA)
    netcache("get", url, "one")
    served.forget()
    ran = netcache("get", url, "two")
    assert ", 0 of them from the server" in ran.text
    assert served.body_bytes() == 0
    assert (netcache.home / "two").read_bytes() == DATA


def test_get_as_json(served: Served, netcache: Commands) -> None:
    """The report, as documented."""
    ran = netcache("get", "--json", served.put("a", DATA), "b")
    assert ran.document == {
        "copied": 1,
        "unchanged": 0,
        "deleted": 0,
        "failed": 0,
        "bytes": len(DATA),
        "errors": [],
    }


def test_quiet_get_prints_nothing(served: Served, netcache: Commands) -> None:
    """Exit code 0 says it all."""
    ran = netcache("-q", "get", served.put("a", DATA))
    assert (ran.code, ran.out, ran.err) == (0, b"", "")


def test_get_a_tree(served: Served, netcache: Commands) -> None:
    """DEST becomes the tree, run once or twice; without DEST, its own name does."""
    served.put("tree/a", b"1")
    served.put("tree/sub/b", b"2")
    for _ in range(2):
        assert netcache("get", "-r", served.url + "tree/", "copy").code == 0
        assert netcache("get", "-r", served.url + "tree").code == 0
    for place in ("copy", "tree"):
        found = sorted(path for path in (netcache.home / place).rglob("*") if path.is_file())
        assert [path.relative_to(netcache.home / place).as_posix() for path in found] == [
            "a",
            "sub/b",
        ]


@pytest.mark.parametrize(
    "args",
    [
        ["get", "here"],
        ["get", "here", "http://h/x"],
        ["get", "-r", "http://h/x", "-"],
        ["get", "-r", "http://h/"],
        ["put", "here"],
        ["put", "http://h/x"],
        ["put", "http://h/a", "http://h/b"],
        ["put", "-", "-", "http://h/x"],
        ["put", "-", "http://h/x/"],
        ["put", "-r", "-", "http://h/x"],
        ["put", "a", "http://h/x", "--if-match", '"e"', "--no-clobber"],
        ["put", "a", "b", "http://h/x", "--if-match", '"e"'],
        ["put", "-r", "a", "http://h/x", "--no-clobber"],
        ["sync", "a", "b"],
        ["sync", "http://h/a", "http://h/b"],
        ["sync", "a", "http://h/b", "-c", "--size-only"],
        ["sync", "a", "http://h/b", "--max-delete", "3"],
        ["warm", "-r", "http://h/x", "--count", "3"],
        ["cat", "here"],
        ["cat", "http://"],
        ["cat", "http://h/x", "--count", "-1"],
        ["nothing"],
        ["get"],
        ["get", "--nope"],
        ["demo", "--size", "1"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_exit_2(netcache: Commands, args: list[str]) -> None:
    """Before anything is asked of anybody."""
    ran = netcache(*args)
    assert ran.code == 2
    assert ran.out == b""
    assert ran.error.startswith("netcache: ")


# put


def test_put_and_read_back_from_the_cache(served: Served, netcache: Commands) -> None:
    """What is sent is cached in the same pass."""
    (netcache.home / "a").write_bytes(DATA)
    ran = netcache("put", "a", served.url + "b")
    assert (ran.code, ran.err) == (0, "")
    assert ran.text.startswith("Done: 1 copied, ")
    assert (served.root / "b").read_bytes() == DATA
    served.forget()
    assert netcache("cat", served.url + "b").out == DATA
    assert served.body_bytes() == 0


def test_put_stdin(served: Served, netcache: Commands) -> None:
    """`-` is whatever comes in, until its end."""
    ran = netcache("put", "-", served.url + "b", stdin=DATA)
    assert ran.code == 0
    assert (served.root / "b").read_bytes() == DATA


def test_put_several_and_into_a_folder(served: Served, netcache: Commands) -> None:
    """Each under its own name; a slash at the end means a folder."""
    for name in "abc":
        (netcache.home / name).write_text(name)
    assert netcache("put", "a", "b", served.url + "several").code == 0
    assert netcache("put", "c", served.url + "several/").code == 0
    assert sorted(path.name for path in (served.root / "several").iterdir()) == ["a", "b", "c"]


def test_put_a_tree(served: Served, netcache: Commands) -> None:
    """The URL becomes the tree; empty folders are made."""
    (netcache.home / "tree/empty").mkdir(parents=True)
    (netcache.home / "tree/a").write_text("1")
    for _ in range(2):
        assert netcache("put", "-r", "tree", served.url + "up").code == 0
    assert (served.root / "up/a").read_text() == "1"
    assert (served.root / "up/empty").is_dir()
    assert not (served.root / "up/tree").exists()


def test_put_if_match(served: Served, netcache: Commands) -> None:
    """With the version that is there it is done, with another it is exit code 4."""
    url = served.put("a", b"old")
    (netcache.home / "a").write_text("new")
    etag = netcache("stat", "--json", url).document["etag"]
    ran = netcache("put", "a", url, "--if-match", '"other"')
    assert ran.code == 4
    assert (served.root / "a").read_bytes() == b"old"
    assert netcache("put", "a", url, "--if-match", etag).code == 0
    assert (served.root / "a").read_bytes() == b"new"


def test_an_etag_without_its_quotes(served: Served, netcache: Commands) -> None:
    """A shell takes them away; a tag that no condition can be about is told so."""
    url = served.put("a", b"old")
    (netcache.home / "a").write_text("new")
    bare = netcache("stat", "--json", url).document["etag"].strip('"')
    assert netcache("mv", url, served.url + "b", "--if-match", bare).code == 0
    assert netcache("put", "a", served.url + "b", "--if-match", "other").code == 4
    assert netcache("put", "a", served.url + "b", "--if-match", bare).code == 0
    assert (served.root / "b").read_bytes() == b"new"
    served.forget()
    for tag, said in (('W/"v1"', "weak"), ("W/v1", "weak"), ('"a", "b"', "write it as '\"v1\"'")):
        ran = netcache("put", "a", served.url + "b", "--if-match", tag)
        assert ran.code == 2
        assert said in ran.err
    assert served.count() == 0


def test_put_no_clobber(served: Served, netcache: Commands) -> None:
    """Only where nothing is."""
    (netcache.home / "a").write_text("new")
    assert netcache("put", "--no-clobber", "a", served.url + "a").code == 0
    ran = netcache("put", "--no-clobber", "a", served.url + "a")
    assert ran.code == 4
    assert ran.error.startswith("netcache: ")


@pytest.mark.parametrize("flags", [(), ("-r",)], ids=["files", "trees"])
@pytest.mark.parametrize("ends", ["", "/"])
def test_two_sources_of_one_name_are_refused(
    served: Served, netcache: Commands, flags: tuple[str, ...], ends: str
) -> None:
    """Before anything moves, with both named; one that is named twice is no clash."""
    urls = [served.put(f"{name}/x", name.encode()) for name in "ab"]
    for name in "ab":
        (netcache.home / name).mkdir()
        (netcache.home / name / "x").write_text(name)
    other = served.put("other", b"")
    served.forget()
    for args in (
        ("get", *flags, other, urls[0], urls[1] + ends, "dest"),
        ("put", *flags, "a/x", "b/x" + ends, served.url + "up"),
    ):
        ran = netcache(*args)
        assert (ran.code, ran.out) == (2, b"")
        assert "a/x and " in ran.error
        assert " would both be x in " in ran.error
    assert served.count() == 0
    assert not (netcache.home / "dest").exists()
    assert netcache("get", *flags, urls[0], urls[0], "dest").code == 0
    assert netcache("put", *flags, "a/x", "./a/x", served.url + "up").code == 0
    assert (served.root / "up/x").read_text() == "a"


# cat


@pytest.mark.parametrize(
    ("offset", "count", "start", "end"),
    [
        ("0", "1", 0, 1),
        ("1KiB", "64KiB", KIB, 65 * KIB),
        ("2M", "10", 2 * MIB, 2 * MIB + 10),
        ("2M", "1M", 2 * MIB, len(DATA)),
        ("3M", "10", 0, 0),
        ("5", "0", 0, 0),
    ],
)
def test_cat_a_part(
    served: Served, netcache: Commands, offset: str, count: str, start: int, end: int
) -> None:
    """Exactly these bytes, fewer only at the end of the resource."""
    url = served.put("a", DATA)
    ran = netcache("cat", url, "--offset", offset, "--count", count)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == DATA[start:end]


def test_cat_fetches_only_the_blocks_it_needs(served: Served, netcache: Commands) -> None:
    """One request, rounded to blocks."""
    url = served.put("a", DATA)
    assert netcache("cat", url, "--offset", "5000", "--count", "10").out == DATA[5000:5010]
    assert served.count() == 1
    assert served.body_bytes() == 4096


def test_cat_without_a_cache(served: Served, netcache: Commands) -> None:
    """`--no-cache` touches no cache."""
    url = served.put("a", DATA)
    assert netcache("--no-cache", "cat", url).out == DATA
    assert not netcache.cache.exists()


def test_cat_from_a_server_with_an_unusable_cache(served: Served, netcache: Commands) -> None:
    """One warning, and the bytes from the server."""
    netcache.cache.write_text("not a folder")
    ran = netcache("cat", served.put("a", DATA))
    assert (ran.code, ran.out) == (0, DATA)
    assert ran.error.startswith("netcache: warning: going on without a cache: ")
    assert netcache("-q", "cat", served.url + "a").err == ""


# warm


def test_warm_a_part_then_read_it_without_a_request(served: Served, netcache: Commands) -> None:
    """What is warm is there, and only that was fetched."""
    url = served.put("a", DATA)
    ran = netcache("warm", url, "--offset", "64KiB", "--count", "64KiB")
    assert ran.code == 0
    assert served.body_bytes() == 64 * KIB
    served.forget()
    ran = netcache("cat", url, "--offset", "70000", "--count", "100", "--validate", "1h")
    assert ran.out == DATA[70000:70100]
    assert served.count() == 0


def test_warm_a_tree_for_working_offline(served: Served, netcache: Commands) -> None:
    """Files and listings."""
    served.put("tree/a", b"1")
    served.put("tree/sub/b", b"2")
    assert netcache("warm", "-r", served.url + "tree").code == 0
    assert netcache("--offline", "cat", served.url + "tree/sub/b").out == b"2"
    assert netcache("--offline", "ls", "-r", served.url + "tree").code == 0
