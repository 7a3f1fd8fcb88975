"""Secrets go to the server that they are for, and nowhere else: looked for wherever bytes stay."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

import netcache
from tests.support.commands import Commands
from tests.support.served import Served, serve

PASSWORD = "pass-w0rd/of:the@user"
TOKEN = "t0ken-of-the-bearer"
HEADER = "value-0f-a-header"
SECRETS = (PASSWORD, TOKEN, HEADER)


def spellings() -> list[bytes]:
    """The secrets as they are, quoted, and as Basic credentials spell them, in part."""
    basic = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    return [text.encode() for text in (*SECRETS, quote(PASSWORD, safe=""), basic, basic[:24])]


def assert_clean(data: bytes, where: object) -> None:
    """None of the secrets is in it."""
    for spelling in spellings():
        assert spelling not in data, f"{spelling!r} is in {where}"


def assert_folder_clean(folder: Path) -> int:
    """No name, content or attribute below ``folder`` has a secret; returns how many files."""
    count = 0
    for path in folder.rglob("*"):
        assert_clean(os.fsencode(path), path)
        for name in os.listxattr(path, follow_symlinks=False):
            assert_clean(os.getxattr(path, name, follow_symlinks=False), (path, name))
        if path.is_file() and not path.is_symlink():
            assert_clean(path.read_bytes(), path)
            count += 1
    return count


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    """The command line in a home of its own, with its state there too."""
    return Commands(tmp_path / "home")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Served]:
    """A server that wants a password or a token, with some files."""
    (tmp_path / "home").mkdir()
    with serve(tmp_path / "www", user=f"me:{PASSWORD}", token=TOKEN) as running:
        for name in ("a", "d/b", "d/c"):
            running.put(name, name.encode() * 5000)
        yield running


def with_user(url: str) -> str:
    """The URL with user and password in it."""
    return url.replace("://", f"://me:{quote(PASSWORD, safe='')}@")


WAYS = ("url", "flag", "environment", "config", "netrc", "token")


def means(way: str, run: Commands) -> tuple[list[str], dict[str, str]]:
    """Flags and environment that give the credential in a way."""
    match way:
        case "flag":
            return ["--user", f"me:{PASSWORD}", "--header", f"X-Key: {HEADER}"], {}
        case "environment":
            return [], {"NETCACHE_USER": f"me:{PASSWORD}"}
        case "config":
            folder = run.home / ".config" / "netcache"
            folder.mkdir(parents=True)
            (folder / "config.toml").write_text(f'user = "me:{PASSWORD}"\n')
        case "netrc":
            file = run.home / ".netrc"
            file.write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
            file.chmod(0o600)
            return ["--netrc"], {}
        case "token":
            return ["--header", f"X-Key: {HEADER}"], {"NETCACHE_TOKEN": TOKEN}
    return [], {}


COMMANDS: tuple[tuple[str, int], ...] = (
    ("get -r URL tree", 0),
    ("stat URLmissing", 3),
    ("put up URLnew/up", 0),
    ("ls -l -r URL", 0),
    ("sync tree URLcopy", 0),
    ("warm URLd/b", 0),
    ("get -r URL up/not-a-folder", 1),
    ("mv URLnew/up URLnew/there", 0),
    ("cache ls", 0),
    ("cache map URLa", 0),
    ("stats", 0),
)
"""Commands and how they end; the first ones are run with every way to give a secret."""


@pytest.mark.parametrize("way", WAYS)
def test_what_commands_leave_behind(guarded: Served, run: Commands, way: str) -> None:
    """Cache, its lists and counters, logs at their most talkative, output, errors, what came."""
    flags, environ = means(way, run)
    run.environ |= environ
    url = with_user(guarded.url) if way == "url" else guarded.url
    (run.home / "up").write_bytes(b"up" * 5000)
    for number, (line, code) in enumerate(COMMANDS if way == "url" else COMMANDS[:3]):
        words = line.replace("URL", url).split()
        log = ["--log-file", str(run.home / f"log{number}")] if number % 2 else []
        ran = run(*words, "-vv", *log, *flags)
        assert ran.code == code, ran.err
        assert_clean(ran.out + ran.err.encode(), line)
        if log:
            assert_clean((run.home / f"log{number}").read_bytes(), line)
    assert assert_folder_clean(run.cache) > 4
    assert assert_folder_clean(run.home / "tree") == 3
    assert_clean(repr(guarded.requests()).encode(), "the server's log")


@pytest.mark.parametrize("place", ["name", "content", "attribute"])
def test_a_secret_would_be_found(tmp_path: Path, place: str) -> None:
    """The search looks at names, contents and attributes."""
    path = tmp_path / (TOKEN if place == "name" else "x")
    path.write_bytes(HEADER.encode() if place == "content" else b"")
    if place == "attribute":
        os.setxattr(path, "user.x", quote(PASSWORD, safe="").encode())
    with pytest.raises(AssertionError):
        assert_folder_clean(tmp_path)


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:9/x", "http://127.0.0.1:99999/x", "http://[::1/x", "http:///x"]
)
def test_errors_about_urls_with_credentials(
    run: Commands, tmp_path: Path, target: str, json: tuple[str, ...]
) -> None:
    """Refused connections and URLs that cannot be: the line and the traceback show neither."""
    (tmp_path / "home").mkdir()
    ran = run("cat", with_user(target), "--retries", "0", "-vv", *json)
    assert ran.code in (2, 5)
    assert_clean(ran.err.encode() + ran.out, target)


def test_wrong_credentials_are_not_told(guarded: Served, run: Commands) -> None:
    """A password that the server refuses is not repeated to the one who looks over the shoulder."""
    ran = run("cat", guarded.url + "a", "-vv", NETCACHE_USER=f"other:{PASSWORD}", NETCACHE_TOKEN="")
    assert ran.code == 10
    assert_clean(ran.err.encode(), "stderr")


def test_objects_do_not_show_secrets(guarded: Served, tmp_path: Path) -> None:
    """What a program prints by accident: clients, files, errors, entries."""
    cache = tmp_path / "cache"
    with netcache.Client(
        cache_dir=cache, auth=("me", PASSWORD), headers={"X-Key": HEADER}, durability="journal"
    ) as client:
        shown = [client, client.cache.status(), *client.ls(guarded.url), client.stats()]
        with client.open(with_user(guarded.url) + "a", "r+b") as file:
            shown += [file, file.name]
            file.pwrite(b"edited", 3)
            file.flush()
            # The journal is on the disk now.
            assert_folder_clean(cache)
        with pytest.raises(netcache.NotFoundError) as caught:
            client.stat(with_user(guarded.url) + "missing")
        shown += [caught.value, caught.value.url, caught.value.filename]
    assert_clean(repr([(each, str(each)) for each in shown]).encode(), "what is shown")
    assert_clean(
        repr([vars(each) for each in shown if isinstance(each, OSError)]).encode(), "errors"
    )
    assert_folder_clean(cache)


def test_process_titles_do_not_bear_what_was_not_on_the_command_line(
    guarded: Served, run: Commands
) -> None:
    """Secrets of the environment and of files are in no process's arguments, children included."""
    environ = {"NETCACHE_SERVER_USER": f"me:{PASSWORD}", "NETCACHE_TOKEN": TOKEN}
    run.environ |= environ
    (run.home / "www").mkdir()
    with run.started("serve", "www") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"http://")
        listed = subprocess.run(
            ["ps", "-ww", "-o", "args", "--pid", str(process.pid), "--ppid", str(process.pid)],
            capture_output=True,
            check=True,
        ).stdout
        assert b"serve" in listed
        assert_clean(listed, "ps")
        process.terminate()
