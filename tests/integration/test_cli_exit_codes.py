"""Every exit code (``netcache_cli.main``), from a real cause, with its one line on stderr."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Commands, Ran
from tests.support.served import Served, random_bytes, serve


def assert_failed(ran: Ran, code: int, *parts: str) -> None:
    """It ended with `code` and one line that has all `parts`."""
    assert ran.code == code, ran.err
    assert ran.error.startswith("netcache: ")
    for part in parts:
        assert part in ran.error


def test_0_done(served: Served, netcache: Commands) -> None:
    """Nothing on stderr."""
    ran = netcache("stat", served.put("a", b"1"))
    assert (ran.code, ran.err) == (0, "")


def test_1_other_error(served: Served, netcache: Commands) -> None:
    """A local folder that may not be written to, for instance."""
    url = served.put("a", b"1")
    (netcache.home / "file").write_text("")
    assert_failed(netcache("get", url, "file/inside"), 1, "file")


def test_2_usage(netcache: Commands) -> None:
    """The line says where help is."""
    assert_failed(netcache("get"), 2, "(see 'netcache get --help')")


def test_3_not_found(served: Served, netcache: Commands) -> None:
    """The URL is named."""
    url = served.url + "nothing"
    assert_failed(netcache("cat", url), 3, url)
    assert_failed(netcache("stat", url), 3, url)
    assert_failed(netcache("get", url), 3, url)
    assert_failed(netcache("rm", url), 3, url)
    assert_failed(netcache("ls", url + "/"), 3)
    assert_failed(netcache("put", "no-such-file", served.url + "x"), 3, "no-such-file")
    assert not (netcache.home / "nothing").exists()


def test_4_precondition_failed(served: Served, netcache: Commands) -> None:
    """Somebody else's version stays."""
    url = served.put("a", b"theirs")
    ran = netcache("put", "-", url, "--if-match", '"mine"', stdin=b"mine")
    assert_failed(ran, 4, url)
    assert (served.root / "a").read_bytes() == b"theirs"


def test_5_server_or_network(netcache: Commands) -> None:
    """Nobody listens, and the retries are used up."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
    assert_failed(netcache("--retries", "1", "cat", url), 5, url)


def test_6_some_of_several_failed(served: Served, netcache: Commands) -> None:
    """The others arrive; each that did not is named."""
    good, bad = served.put("a", b"1"), served.url + "bad"
    ran = netcache("get", good, bad, "folder")
    assert_failed(ran, 6, bad)
    assert (netcache.home / "folder/a").read_bytes() == b"1"
    assert ran.text.startswith("Done: 1 copied, 0 unchanged, 0 deleted, 1 failed, ")


def test_6_as_json(served: Served, netcache: Commands) -> None:
    """The report on stdout names the items, the error on stderr the code."""
    good, bad = served.put("a", b"1"), served.url + "bad"
    ran = netcache("--json", "get", good, bad, "folder")
    assert ran.code == 6
    (item,) = ran.document["errors"]
    assert (item["name"], item["code"]) == (bad, 3)
    assert json.loads(ran.error)["code"] == 6


@pytest.mark.parametrize("flags", [(), ("-r",)], ids=["files", "trees"])
def test_a_code_is_the_same_alone_and_as_one_of_several(
    served: Served, netcache: Commands, flags: tuple[str, ...]
) -> None:
    """Of a local file that is missing, and of one that cannot be read."""
    (netcache.home / "good").write_text("1")
    (netcache.home / "loop").symlink_to("loop")
    for name, code in (("missing", 3), ("loop", 1)):
        assert_failed(netcache("put", *flags, name, served.url + "x"), code, name)
        ran = netcache("--json", "put", *flags, name, "good", served.url + "several")
        assert ran.code == 6
        (item,) = ran.document["errors"]
        assert (item["name"], item["code"]) == (name, code)


def test_7_verification_failed(served: Served, netcache: Commands) -> None:
    """An object whose file was changed behind our back."""
    netcache("get", served.put("a", random_bytes(100_000)), "a")
    objects = [path for path in (netcache.cache / "cache").rglob("*") if path.is_file()]
    held = [path for path in objects if path.stat().st_size >= 100_000]
    assert held
    for path in held:
        os.truncate(path, 10)
    ran = netcache("cache", "verify")
    assert_failed(ran, 7)
    assert ran.lines


def test_8_offline_and_not_cached(served: Served, netcache: Commands) -> None:
    """Said plainly; nothing is asked of the server."""
    url = served.put("a", b"1")
    assert_failed(netcache("--offline", "cat", url), 8, url)
    assert_failed(netcache("--offline", "ls", served.url), 8)
    assert_failed(netcache("--offline", "put", "-", url), 8)
    assert_failed(netcache("--offline", "rm", url), 8)
    assert served.count() == 0


@pytest.mark.parametrize(
    "args",
    [
        ["cache", "status"],
        ["cache", "ls"],
        ["cache", "map", "http://h/x"],
        ["cache", "verify"],
        ["cache", "cull"],
        ["cache", "drop", "http://h/x"],
        ["cache", "clear"],
        ["stats"],
        ["warm", "http://h/x"],
    ],
    ids=" ".join,
)
def test_9_cache_unusable(netcache: Commands, args: list[str]) -> None:
    """What is about the cache fails where there is none; the line says what is missing."""
    netcache.cache.write_text("not a folder")
    assert_failed(netcache(*args), 9, str(netcache.cache))
    assert_failed(netcache("--no-cache", *args), 9)


def test_10_not_authorised(netcache: Commands, tmp_path: Path) -> None:
    """A wrong password, and none."""
    with serve(tmp_path / "www", user="u:right") as served:
        url = served.put("a", b"1")
        assert_failed(netcache("cat", url), 10)
        assert_failed(netcache("--user", "u:wrong", "cat", url), 10)
        assert netcache("--user", "u:right", "cat", url).out == b"1"
        with_password = url.replace("://", "://u:right@")
        assert netcache("cat", with_password).out == b"1"
        ran = netcache("cat", with_password + "-not-there")
        assert_failed(ran, 3)
        assert "right" not in ran.err


def test_11_no_space_on_stdout(served: Served, netcache: Commands) -> None:
    """`/dev/full` is a full disk for whoever writes to it."""
    url = served.put("a", b"1" * 100_000)
    for args in (["get", url, "-"], ["cat", url], ["stat", url]):
        with (
            open("/dev/full", "wb") as full,
            netcache.started(*args, stdout=full) as process,
        ):
            _, err = process.communicate(timeout=30)
        assert process.returncode == 11
        assert err.decode().startswith("netcache: no space left on device")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no filesystem can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.root
def test_11_no_space_on_the_destination(
    served: Served, netcache: Commands, small_disk: Path
) -> None:
    """A full filesystem, and nothing partial left on it; with a cache and without one."""
    url = served.put("big", random_bytes(4 << 20))
    assert_failed(netcache("--no-cache", "get", url, small_disk / "big"), 11)
    assert_failed(netcache("get", url, small_disk / "big"), 11)
    assert netcache("warm", url).code == 0
    served.forget()
    assert_failed(netcache("get", url, small_disk / "big"), 11)
    assert [one["method"] for one in served.requests()] == ["HEAD"], "tried once"
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "code"),
    [(["cat", "{url}"], 3), (["get"], 2), (["--offline", "cat", "{url}"], 8)],
)
def test_errors_as_json(served: Served, netcache: Commands, args: list[str], code: int) -> None:
    """`{error, code, url}` on stderr, also for errors in the usage."""
    url = served.url + "nothing"
    ran = netcache("--json", *(arg.format(url=url) for arg in args))
    assert (ran.code, ran.out) == (code, b"")
    document = json.loads(ran.error)
    assert set(document) == {"error", "code", "url"}
    assert document["code"] == code
    assert document["url"] == (url if code != 2 else None)


def test_a_traceback_comes_only_with_vv(served: Served, netcache: Commands) -> None:
    """For those who look for the cause in the code."""
    url = served.url + "nothing"
    assert "Traceback" not in netcache("-v", "cat", url).err
    assert "Traceback" in netcache("-vv", "cat", url).err


def test_a_bad_config_file_is_one_line(netcache: Commands) -> None:
    """Exit code 2, and the file's name; help and version still work."""
    config = netcache.home / ".config/netcache/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("cache_sise = 1")
    assert_failed(netcache("cat", "http://h/x"), 2, str(config), "'cache_sise'", "'cache_size'")
    assert netcache("--version").code == 0
    assert netcache("get", "--help").code == 0
