"""Uploads that go on where they stopped, through the library: reports, progress, and the cache."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from netcache._core.content import Content
from netcache._core.progress import ProgressEvent
from netcache.errors import ConflictError, NetCacheError, TransientError
from netcache.spi import RESUMABLE_BYTES_MIN
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.nginx import NGINX, running_nginx
from tests.support.served import Served, random_bytes, serve

MIB = 1 << 20
SIZE = RESUMABLE_BYTES_MIN + 5 * MIB + 1
DATA = random_bytes(SIZE, 3)
PIECE = 16 * 1024
"""How exactly a fault cuts."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A local file, large enough to go on with."""
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def faults(served: Served, *rules: dict[str, Any]) -> None:
    """Faults from now on."""
    served.server.set_faults([FaultRule(**rule) for rule in rules])


def interrupted(
    served: Served, new_client: NewClient, source: Path, url: str, **options: Any
) -> None:
    """A client whose upload of ``source`` breaks off after 9 MiB."""
    faults(served, {"method": ("PATCH",), "upload_cut_after": 9 * MIB})
    with pytest.raises(TransientError):
        new_client(retries=0, **options).put(source, url)
    faults(served)


def received(served: Served) -> int:
    """What bodies the server has received."""
    return sum(record["bytes_received"] for record in served.requests())


@pytest.mark.parametrize("use_cache", [True, False])
def test_cuts_in_one_call(
    served: Served, new_client: NewClient, source: Path, use_cache: bool
) -> None:
    """The bytes go out once, the copy in the cache is whole, progress never goes back."""
    client = new_client(use_cache=use_cache)
    url = served.url + "up"
    cut = {"method": ("PATCH",), "upload_cut_after": 7 * MIB, "count": 1}
    faults(served, cut, cut | {"skip": 1})
    events: list[ProgressEvent] = []
    served.forget()
    report = client.put(source, url, progress=events.append)
    assert (served.root / "up").read_bytes() == DATA
    assert report.bytes == SIZE
    assert SIZE <= received(served) <= SIZE + 2 * PIECE
    done = [event.done_bytes for event in events]
    assert done == sorted(done)
    assert done[-1] == SIZE
    sent = client.stats()["UpldOps"]["bytes"]
    assert sent == report.sent_bytes
    served.forget()
    if use_cache:
        assert client.cache.map(url).content is Content.ALL
    with client.open(url) as file:
        assert file.read() == DATA
    assert use_cache is (served.body_bytes() == 0)


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_later_client_sends_the_rest_and_caches_all(
    served: Served, new_client: NewClient, source: Path, use_cache: bool
) -> None:
    """Also the part that another process has sent."""
    url = served.url + "up"
    interrupted(served, new_client, source, url)
    client = new_client(use_cache=use_cache)
    events: list[ProgressEvent] = []
    report = client.put(source, url, progress=events.append)
    assert (served.root / "up").read_bytes() == DATA
    assert report.sent_bytes is not None
    assert abs(report.sent_bytes - (SIZE - 9 * MIB)) <= PIECE
    assert report.as_json()["sent_bytes"] == report.sent_bytes
    assert events[-1].done_bytes == SIZE
    served.forget()
    with client.open(url) as file:
        assert file.read() == DATA
    assert use_cache is (served.body_bytes() == 0)


def test_a_later_client_asks_for_no_version_anew(
    served: Served, new_client: NewClient, source: Path
) -> None:
    """P7: it goes on with what the first one had found; what came meanwhile is a conflict."""
    url = served.put("up", b"first")
    interrupted(served, new_client, source, url)
    served.put("up", b"of somebody else")
    with pytest.raises(ConflictError):
        new_client().put(source, url)
    assert (served.root / "up").read_bytes() == b"of somebody else"
    new_client().put(source, url)
    assert (served.root / "up").read_bytes() == DATA


def test_without_a_cache_nothing_else_is_made_in_its_directory(
    served: Served, new_client: NewClient, source: Path, tmp_path: Path
) -> None:
    """The record lies in the state directory, made private; a cache can be made there later."""
    interrupted(served, new_client, source, served.url + "up", use_cache=False)
    cache = tmp_path / "cache"
    assert [path.name for path in cache.iterdir()] == ["resumable"]
    assert {path.stat().st_mode & 0o777 for path in (cache, cache / "resumable")} == {0o700}
    client = new_client()
    assert (client.put(source, served.url + "up").sent_bytes or SIZE) < SIZE
    assert client.cache.map(served.url + "up").content is Content.ALL


def test_an_explicit_condition_is_the_one_that_counts(
    served: Served, new_client: NewClient, source: Path
) -> None:
    """Who names the version has seen it, and gets a new upload."""
    url = served.put("up", b"first")
    interrupted(served, new_client, source, url)
    served.put("up", b"second")
    client = new_client()
    etag = client.stat(url).etag
    with pytest.raises(ConflictError):
        client.put(source, url, no_clobber=True)
    client.put(source, url, if_match=etag)
    assert (served.root / "up").read_bytes() == DATA


def test_a_file_that_grows_while_it_is_sent_is_an_error(
    served: Served, new_client: NewClient, source: Path
) -> None:
    """As ever: nobody is told that it is stored."""

    def grow(event: ProgressEvent) -> None:
        if event.kind == "advance" and source.stat().st_size == SIZE:
            with source.open("ab") as file:
                file.write(b"x")

    with pytest.raises(NetCacheError, match="changed while it was read"):
        new_client().put(source, served.url + "up", progress=grow)


def test_a_state_directory_that_cannot_be_used_costs_only_the_going_on(
    served: Served, new_client: NewClient, source: Path, tmp_path: Path
) -> None:
    """Something else stands in the place of the records: the upload goes through all the same."""
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "resumable").write_bytes(b"foreign")
    faults(served, {"method": ("PATCH",), "upload_cut_after": 9 * MIB, "count": 1})
    report = new_client().put(source, served.url + "up")
    assert (served.root / "up").read_bytes() == DATA
    assert report.sent_bytes is not None
    assert report.sent_bytes <= SIZE + 8 * MIB
    assert (tmp_path / "cache" / "resumable").read_bytes() == b"foreign"


def test_servers_without_it_are_asked_once_a_day(
    tmp_path: Path, new_client: NewClient, source: Path
) -> None:
    """The next client knows."""
    with serve(tmp_path / "plain", resumable_uploads=False) as served:
        for _ in range(2):
            client = new_client()
            client.put(source, served.url + "up")
            client.close()
        assert served.count("OPTIONS") == 1
        assert received(served) == 2 * SIZE


@pytest.mark.nginx
@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
def test_nginx_gets_plain_uploads(tmp_path: Path, new_client: NewClient, source: Path) -> None:
    """It answers OPTIONS, and knows nothing of this."""
    with running_nginx(tmp_path / "nginx") as server:
        for _ in range(2):
            new_client().put(source, server.url + "up")
            assert (server.root / "up").read_bytes() == DATA
    assert not (tmp_path / "cache" / "resumable").exists()


def test_many_large_files_at_once(served: Served, new_client: NewClient, tmp_path: Path) -> None:
    """Cut at the same time, each goes on by itself."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(3):
        (tree / str(number)).write_bytes(DATA[number:])
    cut = {"method": ("PATCH",), "upload_cut_after": 9 * MIB, "count": 3}
    faults(served, cut)
    report = new_client().put(tree, served.url + "tree/", recursive=True)
    assert (report.copied, report.errors) == (3, [])
    for number in range(3):
        assert (served.root / "tree" / str(number)).read_bytes() == DATA[number:]
    assert received(served) <= 3 * (SIZE + PIECE)


class Course:
    """Runs of one upload, with faults, and rivals who write to its target between them."""

    def __init__(self, served: Served, new_client: NewClient, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.served = served
        self._new_client = new_client
        self._source = folder / "source"
        self._records = folder / "cache" / "resumable"
        self.target = served.root / "up"
        self.unseen = False

    def rival(self) -> None:
        """Somebody else writes; an upload under way has not seen that."""
        self.served.put("up", self.rng.randbytes(self.rng.choice([5, SIZE])))
        self.unseen = self.has_record

    @property
    def has_record(self) -> bool:
        """Whether there is an upload to go on with."""
        return self._records.exists() and any(self._records.iterdir())

    def break_things(self) -> None:
        """Some faults from now on."""
        rng = self.rng
        effects: list[dict[str, Any]] = [
            {"upload_cut_after": rng.randrange(SIZE)},
            {"upload_cut_after": rng.randrange(SIZE), "reset": True},
            {"lose_reply": True},
            {"refuse": True},
            {"status": rng.choice([404, 409, 410, 423, 500, 503, 507])},
        ]
        faults(
            self.served,
            *(
                {"method": rng.choice([("PATCH",), ("PATCH",), ("PUT",), ("HEAD",), ("OPTIONS",)])}
                | {"skip": rng.randrange(3), "count": rng.randrange(1, 4)}
                | rng.choice(effects)
                for _ in range(rng.randrange(5))
            ),
        )

    def run(self) -> bool:
        """One run; whether it says that everything is stored."""
        before = self.target.read_bytes() if self.target.exists() else None
        client = self._new_client(retries=self.rng.randrange(3))
        try:
            client.put(self._source, self.served.url + "up")
            done = True
        except NetCacheError:
            done = False
        client.close()
        after = self.target.read_bytes() if self.target.exists() else None
        assert after in (before, DATA)
        assert after == before or not self.unseen
        assert not done or after == DATA
        self.unseen = self.unseen and self.has_record
        return done


@pytest.mark.parametrize("seed", range(int(os.environ.get("NETCACHE_UPLOAD_SEEDS", "4"))))
def test_no_row_of_faults_and_rivals_mixes_or_loses_anything(
    served: Served, new_client: NewClient, source: Path, seed: int
) -> None:
    """At the target is what was there, what a rival has written, or the whole file; and what an
    upload has not seen it does not replace."""
    assert source.exists()
    course = Course(served, new_client, source.parent, seed)
    for _ in range(6):
        course.break_things()
        if course.run() or course.rng.random() < 0.3:
            course.rival()
    faults(served)
    # Once for a conflict with a rival, once for a version that nobody has seen but the last run.
    assert any(course.run() for _ in range(3)), f"seed {seed}"
    assert course.target.read_bytes() == DATA
    assert not course.has_record
