"""A server that falls silent in the middle of a tree: the rest is not waited for, name by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import netcache
from netcache._client.report import Report
from netcache._client.trees.reach import SILENT_MIN
from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.crews import CrewWatch, crew
from tests.support.served import Served, random_bytes
from tests.support.treecheck import names_below

__all__ = ["crew"]

COUNT = 300
"""So many files, of which a few dozen, and four folders, may be on their way when the server falls
silent."""

ANSWERED = 40
"""So many requests it answers."""

SILENT_MAX = 6 * SILENT_MIN
"""So many names at most are waited for: fewer than are on their way where files are small."""

Run = Callable[[netcache.Client, Served, Path], Report]


def files(size: int) -> dict[str, bytes]:
    """A tree of files of about one size, in folders of ten."""
    return {f"{n // 10:02}/{n:03}": random_bytes(size + n, n) for n in range(COUNT)}


def get(client: netcache.Client, served: Served, place: Path) -> Report:
    """Bring the tree."""
    return client.sync(f"{served.url}tree", place / "out")


def put(client: netcache.Client, served: Served, place: Path) -> Report:
    """Send it."""
    for name, data in files(100).items():
        path = place / "local" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return client.sync(place / "local", f"{served.url}new")


def warm(client: netcache.Client, served: Served, place: Path) -> Report:
    """Bring it into the cache alone."""
    return client.warm(f"{served.url}tree", recursive=True)


def remove(client: netcache.Client, served: Served, place: Path) -> Report:
    """Delete it."""
    return client.rm(f"{served.url}tree", recursive=True)


@pytest.mark.parametrize("size", [100, COMES_WHOLE_BYTES + 1], ids=["small", "large"])
@pytest.mark.parametrize("run", [get, put, warm, remove])
def test_the_rest_is_not_tried(
    served: Served, new_client: NewClient, tmp_path: Path, run: Run, size: int
) -> None:
    """Every name has its error; the next run, when it answers again, does the rest."""
    for name, data in files(size).items():
        served.put(f"tree/{name}", data)
    served.server.set_faults([FaultRule(skip=ANSWERED, latency_s=60)])
    client = new_client(timeout=0.3, retries=0, transfers=2)
    report = run(client, served, tmp_path)
    untried = [error for error in report.errors if "not tried" in error.error]
    silent = [error for error in report.errors if "no answer within" in error.error]
    assert untried
    assert SILENT_MIN <= len(silent) < SILENT_MAX
    assert {error.code for error in [*untried, *silent]} == {5}
    assert len({error.name for error in report.errors}) == report.failed
    served.server.set_faults([])
    assert run(new_client(), served, tmp_path).errors == []
    left = {"get": tmp_path / "out", "put": served.root / "new", "remove": served.root / "tree"}
    if (place := left.get(run.__name__)) is not None:
        wanted = {} if run is remove else files(100 if run is put else size)
        found = names_below(place) if place.exists() else []
        there = {name: (place / name).read_bytes() for name in found if (place / name).is_file()}
        assert there == wanted


def test_what_the_hands_have_is_not_waited_for(
    served: Served, new_client: NewClient, tmp_path: Path, crew: CrewWatch
) -> None:
    """They drop it and end, and each name has its error."""
    for name, data in files(100).items():
        served.put(f"tree/{name}", data)
    served.server.set_faults([FaultRule(skip=2 * ANSWERED, latency_s=60)])
    client = new_client(timeout=1.0, retries=0, transfers=4, processes=2)
    report = get(client, served, tmp_path)
    assert [hand.ordered > 0 for hand in crew.hands] == [True]
    assert crew.given_up == []
    assert crew.nothing_is_left()
    silent = [error for error in report.errors if "no answer within" in error.error]
    assert SILENT_MIN <= len(silent) < SILENT_MAX
    assert len({error.name for error in report.errors}) == report.failed
    served.server.set_faults([])
    assert get(new_client(processes=2), served, tmp_path).errors == []
    found = {name: (tmp_path / "out" / name).read_bytes() for name in files(100)}
    assert found == files(100)


@pytest.mark.parametrize("size", [100, COMES_WHOLE_BYTES + 1], ids=["small", "large"])
def test_a_server_whose_bodies_stall_has_fallen_silent(
    served: Served, new_client: NewClient, tmp_path: Path, size: int
) -> None:
    """Heads come through, as on a way that loses long packets; the listing does not."""
    for name, data in files(size).items():
        served.put(f"tree/{name}", data)
    served.server.set_faults([FaultRule(skip=ANSWERED, stall_after=50, stall_s=60)])
    report = get(new_client(timeout=0.3, retries=0, transfers=2), served, tmp_path)
    assert [error for error in report.errors if "not tried" in error.error]
    assert {error.code for error in report.errors} == {5}


@pytest.mark.parametrize("processes", [1, 2])
def test_names_at_which_it_hangs_do_not_stop_the_others(
    served: Served, new_client: NewClient, tmp_path: Path, processes: int
) -> None:
    """They are first in every folder, and more than would put the server in doubt."""
    wanted = files(100)
    for name, data in wanted.items():
        served.put(f"tree/{name}", data)
    hangs = {name for name in wanted if int(name[-3:]) % 10 < 3 and name < "03"}
    assert len(hangs) > 2 * SILENT_MIN
    served.server.set_faults([FaultRule(path=f"/tree/{name}", latency_s=60) for name in hangs])
    # Long enough for all others, also on a busy machine.
    client = new_client(timeout=1, retries=0, transfers=4, processes=processes)
    report = get(client, served, tmp_path)
    assert {error.name for error in report.errors} == hangs
    assert report.copied == COUNT - len(hangs)


def test_nothing_is_deleted_for_a_server_that_fell_silent(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """Not everything was copied: what is too much here stays."""
    for name, data in files(COMES_WHOLE_BYTES + 1).items():
        served.put(f"tree/{name[-3:]}", data)
    extra = tmp_path / "out" / "extra"
    extra.parent.mkdir()
    extra.write_bytes(b"kept")
    # It tells what there is, and then says nothing more, not even of the root.
    silent = [
        FaultRule(method=("GET",), path="/tree/[0-9]*", latency_s=60),
        FaultRule(method=("HEAD",), skip=1, latency_s=60),
    ]
    served.server.set_faults(silent)
    client = new_client(timeout=1, retries=0, transfers=2)
    report = client.sync(f"{served.url}tree/", tmp_path / "out", delete=True)
    assert report.deleted == 0
    assert extra.read_bytes() == b"kept"
    assert [error.error for error in report.errors if error.name == "."] == [
        "nothing was deleted, because not everything was copied"
    ]


@pytest.mark.parametrize("size", [100, COMES_WHOLE_BYTES + 1], ids=["small", "large"])
@pytest.mark.parametrize("run", [get, warm])
def test_what_a_fresh_listing_has_denied_is_not_shown_instead(
    served: Served, new_client: NewClient, tmp_path: Path, run: Run, size: int
) -> None:
    """Whatever ``stale_if_error`` says: the names have the server's error, and are done next."""
    names = [f"{number:03}" for number in range(20)]
    for number, name in enumerate(names):
        served.put(f"tree/{name}", random_bytes(size, number))
    run(new_client(), served, tmp_path)
    new = {name: random_bytes(size + 1, number) for number, name in enumerate(names)}
    for name, data in new.items():
        served.put(f"tree/{name}", data)
    served.server.set_faults([FaultRule(path="/tree/?*", status=503)])
    client = new_client(stale_if_error="always", retries=0)
    report = run(client, served, tmp_path)
    assert (report.copied, report.unchanged, report.failed) == (0, 0, len(new))
    assert {error.code for error in report.errors} == {5}
    served.server.set_faults([])
    report = run(client, served, tmp_path)
    assert (report.copied, report.errors) == (len(new), [])
    assert {name: b"".join(client.cat(f"{served.url}tree/{name}")) for name in names} == new
    if run is get:
        assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == new


def test_copies_of_what_was_denied_are_no_sign_of_life(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """With ``stale_if_error`` the run ends as early as without."""
    for name, data in files(100).items():
        served.put(f"tree/{name}", data)
    get(new_client(), served, tmp_path)
    for name, data in files(101).items():
        served.put(f"tree/{name}", data)
    served.server.set_faults([FaultRule(skip=ANSWERED, latency_s=60)])
    client = new_client(timeout=0.3, retries=0, transfers=2, stale_if_error="always")
    report = get(client, served, tmp_path)
    assert [error for error in report.errors if "not tried" in error.error]
    names = names_below(tmp_path / "out")
    found = {n: (tmp_path / "out" / n).read_bytes() for n in names if len(n) > 2}
    fresh = {name: data for name, data in files(101).items() if found[name] == data}
    assert report.copied == len(fresh)
