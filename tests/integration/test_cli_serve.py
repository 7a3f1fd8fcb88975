"""`netcache serve` and `netcache demo`."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.commands import Commands

LIMIT_S = 30


@pytest.fixture
def netcache(tmp_path: Path) -> Commands:
    """The command line in a home of its own, with a folder to serve."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www/a").write_text("content")
    return Commands(tmp_path)


@contextlib.contextmanager
def serving(netcache: Commands, *args: object) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`netcache serve www` with more arguments; its URL and the process."""
    with netcache.started("serve", "www", *args) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip(), process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(LIMIT_S)


def test_serve_prints_its_url_first_and_serves(netcache: Commands) -> None:
    """Reading and writing, on loopback, on a free port."""
    with serving(netcache) as (url, _):
        assert url.startswith("http://127.0.0.1:")
        assert netcache("cat", url.rstrip("/") + "/a").text == "content"
        assert netcache("put", "www/a", url.rstrip("/") + "/b").code == 0
    assert (netcache.home / "www/b").read_text() == "content"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_when_it_is_told_to(netcache: Commands, number: signal.Signals) -> None:
    """Quietly; that is its normal end."""
    with serving(netcache) as (_, process):
        process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, err) == (0, b"")


def test_serve_refuses_uploads_that_are_too_large(netcache: Commands) -> None:
    """One of the limit passes, one byte more does not, and leaves nothing."""
    for name, size in (("fits", 2048), ("larger", 2049)):
        (netcache.home / name).write_bytes(bytes(size))
    with serving(netcache, "--max-body-bytes", "2KiB") as (url, _):
        assert netcache("put", "fits", url.rstrip("/") + "/fits").code == 0
        assert netcache("put", "larger", url.rstrip("/") + "/larger").code != 0
    assert (netcache.home / "www/fits").stat().st_size == 2048
    assert not (netcache.home / "www/larger").exists()


def test_serve_read_only(netcache: Commands) -> None:
    """Nothing can be changed."""
    with serving(netcache, "--read-only") as (url, _):
        assert netcache("cat", url.rstrip("/") + "/a").code == 0
        assert netcache("put", "www/a", url.rstrip("/") + "/b").code != 0
    assert not (netcache.home / "www/b").exists()


def test_serve_with_credentials(netcache: Commands) -> None:
    """`--user` and `--token` are what clients must give; either is enough."""
    with serving(netcache, "--user", "u:p", "--token", "t") as (url, _):
        url = url.rstrip("/") + "/a"
        assert netcache("cat", url).code == 10
        assert netcache("cat", url, "--user", "u:p").text == "content"
        assert netcache("cat", url, "--token", "t").text == "content"


def test_serve_with_tls(netcache: Commands) -> None:
    """A certificate of an authority of our own, and the two ways to live with it."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(netcache.home / "key.pem")
    server.cert_chain_pems[0].write_to_path(netcache.home / "cert.pem")
    authority.cert_pem.write_to_path(netcache.home / "ca.pem")
    with serving(netcache, "--tls-cert", "cert.pem", "--tls-key", "key.pem") as (url, _):
        assert url.startswith("https://")
        url = url.rstrip("/") + "/a"
        ran = netcache("cat", url, "--retries", "0")
        assert ran.code == 5
        assert "certificate" in ran.error
        assert netcache("cat", url, "--ca-cert", "ca.pem").text == "content"
        assert netcache("cat", url, "--insecure").text == "content"


def test_serve_with_a_fault_plan_and_a_log(netcache: Commands) -> None:
    """The plan breaks what it says; the log has a JSON line a request."""
    plan = {"rules": [{"method": "GET", "count": 2, "status": 503}]}
    (netcache.home / "plan.json").write_text(json.dumps(plan))
    with serving(netcache, "--fault-plan", "plan.json", "--log", "log.jsonl") as (url, _):
        assert netcache("cat", url.rstrip("/") + "/a", "--validate", "1h").text == "content"
    records = [json.loads(line) for line in (netcache.home / "log.jsonl").read_text().splitlines()]
    gets = [record["status"] for record in records if record["method"] == "GET"]
    assert gets == [503, 503, 200] or gets == [503, 503, 206]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["serve", "no-such-folder"], "no-such-folder: not a folder"),
        (["serve", "www", "--host", "0.0.0.0"], "--host: 0.0.0.0 is open to other machines"),
        (["serve", "www", "--tls-cert", "x.pem"], "--tls-cert, --tls-key: give both"),
        (["serve", "www", "--fault-plan", "none.json"], "--fault-plan none.json: "),
        (["serve", "www", "--port", "70000"], "--port"),
        (["serve"], "'DIR'"),
    ],
)
def test_serve_refuses_what_makes_no_sense(
    netcache: Commands, args: list[str], complaint: str
) -> None:
    """One line with the option, exit code 2."""
    ran = netcache(*args)
    assert ran.code == 2
    assert complaint in ran.error


@pytest.mark.slow
def test_the_demo_passes_in_a_pipe(netcache: Commands) -> None:
    """Every check holds, it is plain text, and nothing is left behind."""
    folder = netcache.home / "tmp"
    folder.mkdir()
    ran = netcache("demo", "--size", "8MiB", TMPDIR=str(folder))
    assert ran.code == 0, ran.text
    assert "FAILED" not in ran.text
    assert "\x1b" not in ran.text
    assert " checks passed, 0 failed, in " in ran.lines[-1]
    assert list(folder.iterdir()) == []
