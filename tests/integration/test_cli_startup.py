"""What a command imports, and the three ways to start it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import netcache as library
from netcache_server import FaultRule
from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

NETWORK = {"aiohttp", "asyncio", "ssl", "yarl", "multidict"}
HEAVY = {"rich", "tomllib", "json", "logging", "lxml", "platformdirs", "concurrent.futures"}
SLOW = {"hashlib", "urllib.parse", "ipaddress", "random", "tempfile", "subprocess", "dataclasses"}
SUGGESTING = {"difflib", "locale"}
NOT_FOR_HITS = {
    "mmap",
    "zlib",
    "netcache._client.mapping",
    "netcache._client.warnings",
    "netcache._core.sizes",
    "netcache._core.watermarks",
    "netcache._version",
    "netcache_cli.text",
    "netcache._netfs.private_file",
    "netcache._netfs.journal",
    *(f"netcache._fscache.{name}" for name in ("copying", "explaining", "overview", "ports")),
    *(
        f"netcache._cachefiles.{name}"
        for name in (
            "check",
            "counting",
            "culling",
            "dropping",
            "lease",
            "lockless",
            "mapping_table",
            "mapping_worker",
            "new_object",
            "questions",
            "space",
            "walking",
        )
    ),
}
CHECKING = {"netcache._version"}
"""What a question to a server needs of that."""

NOT_FOR_FIRST_READS = {
    *("aiohttp", "yarl", "multidict", "http.client", "urllib.request", "email.utils"),
    *("netrc", "pathlib"),
}
OURS_MAX = 75
"""So many modules of ours are imported by a cached `cat`; each costs a quarter of a millisecond."""

EDITING = {
    *(f"netcache._netfs.{name}" for name in ("dirty_table", "journal", "recovery", "writeback")),
    *(f"netcache.backends.{name}" for name in ("http_move", "http_ranges", "http_update")),
    "netcache._client.trees.options",
}
READING = {
    *(f"netcache._netfs.{name}" for name in ("engine", "flight", "opener")),
    *(f"netcache.backends.{name}" for name in ("http_reply", "http_takeover")),
    "netcache._client.download",
}
FETCHING = {
    *(f"netcache._netfs.{name}" for name in ("read_issuer", "read_stream", "read_collector")),
    *(f"netcache._netfs.{name}" for name in ("read_exchange", "direct_read", "buffer_queue")),
    "netcache._core.read_retry",
}
PLACING = {"netcache._client.download", "netcache._client.target", "netcache._client.trees.ports"}
SENDING = {
    *(f"netcache._netfs.{name}" for name in ("bodies", "tee", "upload")),
    *(f"netcache.backends.{name}" for name in ("http_upload", "http_write")),
}


def imported_by(netcache: Commands, *args: str) -> set[str]:
    """The modules that a command imports, from Python's own account."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "netcache_cli", *args],
        capture_output=True,
        text=True,
        cwd=netcache.home,
        env=netcache.environ,
        timeout=60,
        check=True,
    )
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def test_a_cached_cat_imports_no_network_code(served: Served, netcache: Commands) -> None:
    """Nor anything else that is not needed for it."""
    url = served.put("a", b"x" * 10_000)
    netcache("warm", url)
    for policy in (["--offline"], ["--validate", "never"], ["-q", "--offline"]):
        imported = imported_by(netcache, *policy, "cat", url, "--count", "1")
        assert "netcache.sync" in imported
        assert not imported & (NETWORK | HEAVY | SLOW | SUGGESTING | NOT_FOR_HITS)
        ours = {name for name in imported if name.startswith("netcache")}
        assert len(ours) <= OURS_MAX, sorted(ours)


def test_transfers_of_files_import_nothing_for_folders(served: Served, netcache: Commands) -> None:
    """Neither pages nor trees, nor for bodies that go through the loop, or bars."""
    url = served.put("a", b"x" * 10_000)
    for args in (["get", url, "copy"], ["put", "copy", served.url + "b"]):
        imported = imported_by(netcache, *args)
        assert "asyncio" in imported
        assert not imported & {
            "aiofiles",
            "netcache.backends.http_listing",
            "netcache._client.trees.api",
            "netcache._client.crew",
        }
        assert not imported & {"rich", "lxml"}
    assert (served.root / "b").read_bytes() == b"x" * 10_000


def test_a_short_tree_imports_nothing_for_other_processes(
    served: Served, netcache: Commands
) -> None:
    """But what counts its files, unless it is told to stay alone."""
    served.put("tree/a", b"x")
    for processes, counts in (("2", True), ("1", False)):
        imported = imported_by(netcache, "sync", "--processes", processes, served.url, processes)
        assert "netcache._client.trees.api" in imported
        assert ("netcache._client.crew.crew" in imported) is counts
        assert not imported & {f"netcache._client.crew.{name}" for name in ("hand", "channel")}


@pytest.mark.parametrize(
    ("verb", "most", "others"),
    [
        ("put", 131, EDITING | READING),
        ("warm", 156, EDITING | SENDING),
        ("get", 164, EDITING | SENDING),
    ],
)
def test_a_transfer_imports_the_code_of_its_own_direction(
    served: Served, netcache: Commands, verb: str, most: int, others: set[str]
) -> None:
    """And none for edits: each module is a quarter of a millisecond before the first request."""
    url = served.put("a", b"x")
    (netcache.home / "file").write_bytes(b"y")
    args = {"put": ["file", served.url + "b"], "warm": [url], "get": [url, "copy"]}[verb]
    imported = imported_by(netcache, verb, *args)
    assert "aiohttp" not in imported
    assert not imported & others
    ours = {name for name in imported if name.startswith("netcache")}
    assert len(ours) <= most, (len(ours), sorted(ours))


def test_a_short_read_imports_nothing_of_aiohttp(served: Served, netcache: Commands) -> None:
    """Its import takes longer than all else; nor what is for proxies, digests and netrc files."""
    url, other = (served.put(name, b"text " * (1 << 19)) for name in ("a", "b"))
    for args in (["warm", url], ["get", other, "copy"], ["stat", url]):
        imported = imported_by(netcache, *args)
        assert "netcache.backends.http_first" in imported
        assert not imported & NOT_FOR_FIRST_READS
        # (These two take the name of a file from the URL, or tell of it.)
        assert args[0] != "warm" or not imported & {"urllib.parse", "ipaddress"}
    assert served.count("GET") == 2
    netcache.environ["https_proxy"] = "http://127.0.0.1:1/"
    assert "urllib.request" in imported_by(netcache, "stat", url)


def test_a_checked_cat_of_what_is_cached_imports_no_loop(
    served: Served, netcache: Commands
) -> None:
    """One question, and asyncio's import takes longer than all else; a read by a script, too."""
    url = served.put("a", b"x" * 10_000)
    netcache("warm", url)
    served.forget()
    imported = imported_by(netcache, "cat", url, "--count", "1")
    assert "netcache.backends.http_here" in imported
    assert not imported & (NETWORK | HEAVY | SLOW | SUGGESTING | (NOT_FOR_HITS - CHECKING))
    assert [(one["method"], one["status"]) for one in served.requests()] == [("HEAD", 304)]


def test_a_get_of_what_is_cached_imports_no_loop(served: Served, netcache: Commands) -> None:
    """Nor anything else that is for the network, but the one question."""
    url = served.put("a", b"x" * 10_000)
    netcache("warm", url)
    served.forget()
    imported = imported_by(netcache, "get", url, "copy")
    assert "netcache._client.get_here" in imported
    # What copies, and a summary.
    needed = {"netcache._client.target", "netcache._fscache.copying", "netcache_cli.text"}
    not_needed = NETWORK | HEAVY | SLOW | SUGGESTING | (NOT_FOR_HITS - CHECKING)
    assert not imported & (not_needed - needed)
    assert [(one["method"], one["status"]) for one in served.requests()] == [("HEAD", 304)]
    assert (netcache.home / "copy").read_bytes() == b"x" * 10_000


def test_what_a_failing_read_needs_is_imported_before_it_fails(
    served: Served, netcache: Commands
) -> None:
    """Whoever has no descriptor left cannot import anything, and is to be told what failed."""
    url = served.put("a", random_bytes(3 << 20))
    needed = imported_by(netcache, "warm", url)
    # For a cache that fails as well: the bytes go past it.
    assert {"netcache._netfs.read_retrier", "netcache._netfs.direct_read"} <= needed
    netcache("cache", "clear")
    served.server.set_faults([FaultRule(method=("GET",), cut_after=1 << 20, count=1)])
    assert imported_by(netcache, "warm", url) <= needed
    assert served.count("GET") == 3


def test_who_finds_everything_in_the_cache_imports_no_code_for_fetching(
    served: Served, netcache: Commands
) -> None:
    """Many that want the same file at once: one fetches it, the others only look."""
    url = served.put("a", random_bytes(1 << 20))
    assert imported_by(netcache, "warm", url) >= FETCHING
    assert not imported_by(netcache, "warm", url) & (FETCHING | PLACING)


def test_cache_commands_import_no_network_code(served: Served, netcache: Commands) -> None:
    """They ask nobody."""
    url = served.put("a", b"x" * 10_000)
    netcache("warm", url)
    for args in (["ls"], ["map", url], ["status"], ["drop", url]):
        assert not imported_by(netcache, "cache", *args) & NETWORK


def test_version_imports_no_library(netcache: Commands) -> None:
    """Only the number."""
    imported = imported_by(netcache, "--version")
    assert "netcache.sync" not in imported
    assert not imported & (NETWORK | HEAVY)
    assert netcache("--version").text == f"netcache {library.__version__}\n"


def test_python_m_netcache_is_the_command_line(netcache: Commands) -> None:
    """The same as the console script."""
    done = subprocess.run(
        [sys.executable, "-m", "netcache", "--version"],
        capture_output=True,
        text=True,
        env=netcache.environ,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"netcache {library.__version__}\n")


def test_without_click_there_is_a_line_instead_of_a_traceback(netcache: Commands) -> None:
    """It names the package and how to install it."""
    program = (
        "import sys\nsys.modules['click'] = None\nfrom netcache_cli._entry import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=netcache.environ,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("netcache: the command line needs the package click")
    assert len(done.stderr.splitlines()) == 1


def test_no_verb_prints_the_help_and_exits_2(netcache: Commands) -> None:
    """The help goes to stderr: a script that forgot the verb must not take it for a result."""
    ran = netcache()
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err.startswith("Usage: netcache ")


def test_logging_goes_where_it_is_asked_to(served: Served, netcache: Commands) -> None:
    """`-vv` to stderr, `--log-file` to the file and not to stderr."""
    url = served.put("a", b"x")
    ran = netcache("-vv", "cat", url)
    assert ran.out == b"x"
    assert f"GET {url}" in ran.err
    ran = netcache("-vv", "cat", url, "--log-file", "log", "--validate", "always")
    assert (ran.out, ran.err) == (b"x", "")
    assert f" {url}" in (netcache.home / "log").read_text()
    ran = netcache("cat", url, "--log-file", "no/such/folder")
    assert ran.code == 2
    assert "--log-file no/such/folder: " in ran.error


def test_the_config_file_is_read(served: Served, netcache: Commands) -> None:
    """Through a real start: below the environment and the flags."""
    config = netcache.home / ".config/netcache/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("offline = true\njson = true\ncount = 2\n")
    url = served.put("a", b"content")
    assert netcache("cat", url).code == 8
    assert netcache("cat", url, NETCACHE_OFFLINE="0").out == b"co"
    assert netcache("cat", url, "--count", "3", NETCACHE_OFFLINE="0").out == b"con"
