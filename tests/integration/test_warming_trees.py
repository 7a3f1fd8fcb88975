"""Warming trees: small files come as they do for ``sync``, and are placed nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import netcache
from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache.backends.http_lane import ROW_MAX, Asked, Lane
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes

KIB = 1024
SIZES = [0, 1, 4 * KIB, COMES_WHOLE_BYTES, COMES_WHOLE_BYTES + 1, *[KIB] * 40]


@pytest.fixture
def files(served: Served) -> dict[str, bytes]:
    """A tree at the server, with one large file and many small ones."""
    found = {f"{number}": random_bytes(size, number) for number, size in enumerate(SIZES)}
    for name, data in found.items():
        served.put(f"tree/{name}", data)
    served.forget()
    return found


def test_every_file_is_asked_for_once_and_is_there_afterwards(
    served: Served,
    files: dict[str, bytes],
    new_client: NewClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Small ones in rows; a second time the listing says that all are current."""
    rows: list[int] = []
    ask = Lane.ask

    def asked(lane: Lane, one: Asked) -> None:
        ask(lane, one)
        rows.append(len(lane.row))

    monkeypatch.setattr(Lane, "ask", asked)
    client = new_client(transfers=1)
    report = client.warm(f"{served.url}tree/", recursive=True)
    total = sum(SIZES)
    assert (report.copied, report.bytes, report.fetched_bytes) == (len(files) - 1, total, total)
    assert report.unchanged == 1, "what has no bytes needs none"
    assert max(rows) == ROW_MAX
    paths = [record["path"] for record in served.requests("GET")]
    assert sorted(path for path in paths if not path.endswith("/")) == sorted(
        f"/tree/{name}" for name in files
    )
    served.forget()
    again = client.warm(f"{served.url}tree/", recursive=True)
    assert (again.copied, again.unchanged, again.fetched_bytes) == (0, len(files), 0)
    asked_for = {record["path"] for record in served.requests() if record["bytes_sent"]}
    assert asked_for <= {"/tree/", "/tree/0"}
    assert not client.cache.verify()
    client.close()
    with new_client(offline=True) as offline:
        offline.get(f"{served.url}tree/", tmp_path / "out", recursive=True)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == files


def test_what_cannot_be_kept_is_an_error_of_each_file(
    served: Served, files: dict[str, bytes], new_client: NewClient
) -> None:
    """Also of those that come whole."""
    report = new_client(cache_size=16 * KIB).warm(f"{served.url}tree/", recursive=True)
    failed = {error.name for error in report.errors}
    assert {name for name, data in files.items() if data} - failed == set()
    assert all("cannot be kept in the cache" in error.error for error in report.errors)


def test_errors_of_the_server_are_told_and_the_rest_is_warm(
    served: Served, files: dict[str, bytes], client: netcache.Client
) -> None:
    """Each under its name."""
    served.server.set_faults([FaultRule(path="/tree/1?", status=404)])
    report = client.warm(f"{served.url}tree/", recursive=True)
    assert [error.name for error in report.errors] == [f"{number}" for number in range(10, 20)]
    assert report.copied + report.unchanged == len(files) - 10


def test_what_changed_since_it_was_warmed_is_warmed_again(
    served: Served, files: dict[str, bytes], client: netcache.Client
) -> None:
    """The others cost nothing."""
    client.warm(f"{served.url}tree/", recursive=True)
    for name in ("2", "7", "4"):
        files[name] = random_bytes(3 * KIB, 99)
        served.put(f"tree/{name}", files[name])
    report = client.warm(f"{served.url}tree/", recursive=True)
    assert (report.copied, report.fetched_bytes) == (3, 9 * KIB)
    for name, data in files.items():
        assert b"".join(client.cat(f"{served.url}tree/{name}")) == data
