"""What is done with a client while its cache's disk fails; each scenario knows the right outcome.

A scenario has a ``prepare`` with a sound disk and an ``act`` with a failing one.  ``act`` checks
what it reads and what the server has then.  It may meet ``CacheError`` only where it asks for
something that is about the cache itself, and calls that through ``Stage.about_cache``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import netcache
from netcache._cachefiles.returning import PAUSE_MAX_S
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._netfs.journal import Journal
from netcache.backends.memory import MemoryBackend, MemoryServer
from netcache.backends.memory_server import MemoryFile
from netcache.errors import CacheError
from tests.support.disk_faults import DiskFaults
from tests.support.served import random_bytes

URL = "http://memory.invalid/data"
OTHER_URL = "http://memory.invalid/other"
UP_URL = "http://memory.invalid/up"
TREE_URL = "http://memory.invalid/tree/"
BLOCK = 4096
DATA = random_bytes(6 * BLOCK + 100, 1)
OTHER = random_bytes(3 * BLOCK + 7, 2)
NEWER = random_bytes(5 * BLOCK + 50, 3)
PATCH = random_bytes(BLOCK + 11, 4)


@dataclass
class Stage:
    """A server in memory, a cache directory whose disk may fail, a client, and what it said."""

    home: Path
    faults: DiskFaults
    options: dict[str, Any] = field(default_factory=dict)
    server: MemoryServer = field(default_factory=MemoryServer)
    warnings: list[str] = field(default_factory=list)
    refused: list[CacheError] = field(default_factory=list)
    _client: netcache.Client | None = None

    @property
    def cache(self) -> Path:
        """The cache directory."""
        return self.home / "cache"

    @property
    def client(self) -> netcache.Client:
        """The client; made when it is first asked for."""
        if self._client is None:
            self._client = self.new_client(on_warning=self.warnings.append)
            store = self._client._core.store
            assert store is not None
            # The disk is tried anew with each call, not after a while.
            store.pause_max_s = 0.0
            store.now = lambda: time.monotonic() + PAUSE_MAX_S
        return self._client

    def new_client(self, **options: Any) -> netcache.Client:
        """One more client of the same cache."""
        backend = MemoryBackend(self.server)
        common: dict[str, Any] = {"cache_dir": self.cache, "readahead": 0, "retries": 0}
        return netcache.Client(backend=lambda: backend, **{**common, **self.options, **options})

    @contextlib.contextmanager
    def about_cache(self) -> Iterator[None]:
        """A call that is about the cache: it may say that the cache failed."""
        try:
            yield
        except CacheError as error:
            self.refused.append(error)

    def at_server(self, url: str) -> bytes:
        """What the server has."""
        return self.server.files[url].data

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextlib.contextmanager
    def losing(self, url: str, *allowed: bytes) -> Iterator[None]:
        """What was written lies on the disk until it is sent: one that does not give it back loses
        it, and says so.  The server then has one of ``allowed``, whole."""
        try:
            yield
        except CacheError as error:
            assert "cannot be read back" in str(error)  # noqa: PT017
            self.refused.append(error)
            assert {"preadv", "pread"} & set(self.faults.failed), self.faults.failed
            assert self.at_server(url) in allowed


Act = Callable[[Stage], None]


class Scenario(NamedTuple):
    """What is done, on what, with which options of the client.

    ``open``: the client is made beforehand, with a sound disk.
    """

    act: Act
    prepare: Act
    options: dict[str, Any]
    open: bool

    @property
    def name(self) -> str:
        """For people."""
        return self.act.__name__


SCENARIOS: list[Scenario] = []


def scenario(*prepare: Act, open: bool = True, **options: Any) -> Callable[[Act], Act]:
    """Make a function a scenario."""

    def prepare_all(stage: Stage) -> None:
        for one in prepare:
            one(stage)

    def register(act: Act) -> Act:
        SCENARIOS.append(Scenario(act, prepare_all, options, open))
        return act

    return register


# What may be there before.


def cached(stage: Stage) -> None:
    """All of the resource is cached."""
    with stage.new_client() as client, client.open(URL) as file:
        assert file.read() == DATA


def half_cached(stage: Stage) -> None:
    """Two extents of the resource are cached."""
    with stage.new_client() as client, client.open(URL) as file:
        file.pread(BLOCK, 0)
        file.pread(BLOCK, 3 * BLOCK)


def changed_at_server(stage: Stage) -> None:
    """The server has another version now."""
    stage.server.store(URL, NEWER)


def touched_at_server(stage: Stage) -> None:
    """The server has another version now, with the same bytes."""
    stage.server.store(URL, DATA)


def unranged(stage: Stage) -> None:
    """The server tells a weak validator, which joins no ranges: it is fetched whole."""
    weak = Validator(ValidatorKind.WEAK_ETAG, 'W/"1"')
    stage.server.files[UP_URL] = MemoryFile(DATA, Version(weak, len(DATA)))


def orphaned_edit(stage: Stage) -> None:
    """A killed process has left an edit in the journal."""
    client = stage.new_client(durability="journal", write_mode="back")
    file = client.open(URL, "r+b")
    file.pwrite(PATCH, BLOCK)
    file.flush()
    # As a kill would: what is unsent stays in the journal, for nobody sends it.
    client.close()
    assert stage.at_server(URL) == DATA


def patched(data: bytes, patch: bytes, at: int) -> bytes:
    """``data`` with ``patch`` written over it."""
    return data[:at].ljust(at, b"\0") + patch + data[at + len(patch) :]


# Reading.


@scenario(open=False)
def begin_and_read(stage: Stage) -> None:
    """The client is made, and reads something cold."""
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario()
def read_cold(stage: Stage) -> None:
    """In pieces, out of order, then all of it."""
    with stage.client.open(URL) as file:
        assert file.pread(100, 3 * BLOCK + 5) == DATA[3 * BLOCK + 5 :][:100]
        assert file.pread(2 * BLOCK, 0) == DATA[: 2 * BLOCK]
        assert file.read() == DATA


@scenario(half_cached)
def read_half(stage: Stage) -> None:
    """What is partly cached."""
    with stage.client.open(URL) as file:
        assert file.read() == DATA
    with stage.client.open(URL) as file:
        assert file.pread(BLOCK, BLOCK) == DATA[BLOCK : 2 * BLOCK]


@scenario(cached)
def read_warm(stage: Stage) -> None:
    """What is cached, through several opens."""
    for _ in range(2):
        with stage.client.open(URL) as file:
            buffer = bytearray(BLOCK)
            assert file.preadinto(buffer, BLOCK) == BLOCK
            assert buffer == DATA[BLOCK : 2 * BLOCK]
            assert file.read() == DATA


@scenario(cached, verify="read", validate="always")
def read_with_every_check(stage: Stage) -> None:
    """Each read is checked at the server, and with the sums."""
    with stage.client.open(URL) as file:
        assert file.pread(BLOCK, 0) == DATA[:BLOCK]
        assert file.read() == DATA


@scenario(cached)
def view_warm(stage: Stage) -> None:
    """Views of what is cached, and of what is not."""
    with stage.client.open(URL) as file:
        assert bytes(file.view(0, len(DATA))) == DATA
    with stage.client.open(OTHER_URL) as file:
        assert bytes(file.view(5, 2 * BLOCK)) == OTHER[5 : 5 + 2 * BLOCK]


@scenario(cached, changed_at_server)
def read_changed(stage: Stage) -> None:
    """The cached version is not current any more: it is invalidated."""
    with stage.client.open(URL) as file:
        assert file.read() == NEWER


@scenario(cached, touched_at_server)
def read_touched(stage: Stage) -> None:
    """What is cached is compared with a digest, and goes over to the new version."""
    for _ in range(2):
        with stage.client.open(URL) as file:
            assert file.read() == DATA
        stage.server.store(URL, DATA)


@scenario(unranged)
def read_unranged(stage: Stage) -> None:
    """The whole in one response, into a private file."""
    for _ in range(2):
        with stage.client.open(UP_URL) as file:
            assert file.pread(BLOCK, BLOCK) == DATA[BLOCK : 2 * BLOCK]
            assert file.read() == DATA


@scenario(sync="commit")
def read_committed(stage: Stage) -> None:
    """Every fill is made durable at once."""
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario()
def commit_in_background(stage: Stage) -> None:
    """What was filled is made durable a little later."""
    with stage.client.open(URL) as file:
        assert file.read() == DATA
        store = stage.client._core.store
        assert store is not None
        with stage.about_cache():
            store.commit_pending()
        assert file.pread(len(DATA), 0) == DATA


# Transfers.


@scenario()
def get_cold(stage: Stage) -> None:
    """A download."""
    stage.client.get(URL, stage.home / "got")
    assert (stage.home / "got").read_bytes() == DATA


@scenario(cached)
def get_warm(stage: Stage) -> None:
    """A download of what is cached."""
    stage.client.get(URL, stage.home / "got")
    assert (stage.home / "got").read_bytes() == DATA


@scenario()
def get_tree(stage: Stage) -> None:
    """A tree comes down, and once more."""
    for name in ("one", "two/three"):
        stage.server.store(TREE_URL + name, OTHER)
    for _ in range(2):
        report = stage.client.sync(TREE_URL, stage.home / "tree")
        assert not report.errors, report.errors
    assert (stage.home / "tree/one").read_bytes() == OTHER
    assert (stage.home / "tree/two/three").read_bytes() == OTHER


@scenario()
def put_file(stage: Stage) -> None:
    """An upload of a file."""
    (stage.home / "source").write_bytes(DATA)
    stage.client.put(stage.home / "source", UP_URL)
    assert stage.at_server(UP_URL) == DATA
    with stage.client.open(UP_URL) as file:
        assert file.read() == DATA


@scenario()
def put_tree(stage: Stage) -> None:
    """A tree goes up."""
    folder = stage.home / "source"
    (folder / "below").mkdir(parents=True)
    (folder / "a").write_bytes(DATA)
    (folder / "below/b").write_bytes(OTHER)
    report = stage.client.sync(folder, TREE_URL)
    assert not report.errors, report.errors
    assert stage.at_server(TREE_URL + "a") == DATA
    assert stage.at_server(TREE_URL + "below/b") == OTHER


@scenario()
def stream_up(stage: Stage) -> None:
    """``wb``, in one piece at the close."""
    with stage.client.open(UP_URL, "wb") as file:
        for start in range(0, len(DATA), 5000):
            file.write(DATA[start : start + 5000])
    assert stage.at_server(UP_URL) == DATA
    with stage.client.open(UP_URL) as reader:
        assert reader.read() == DATA


# Edits.


@scenario(half_cached)
def edit(stage: Stage) -> None:
    """``r+b``: unaligned writes, read back, sent by ``fsync`` and ``close``."""
    first = patched(DATA, PATCH, BLOCK + 9)
    second = patched(first, b"end", len(DATA) + 10)
    with stage.losing(URL, DATA, first, second), stage.client.open(URL, "r+b") as file:
        file.pwrite(PATCH, BLOCK + 9)
        assert file.pread(len(PATCH), BLOCK + 9) == PATCH
        file.fsync()
        assert stage.at_server(URL) == first
        file.pwrite(b"end", len(DATA) + 10)
    assert stage.refused or stage.at_server(URL) == second
    with stage.client.open(URL) as reader:
        assert reader.read() == stage.at_server(URL)


@scenario(cached, write_mode="back")
def edit_cached(stage: Stage) -> None:
    """The same over what is cached, held back until the close."""
    versions = [DATA]
    for at in (0, 2 * BLOCK + 1, 5 * BLOCK):
        versions.append(patched(versions[-1], PATCH, at))
    with stage.losing(URL, *versions), stage.client.open(URL, "r+b") as file:
        for at in (0, 2 * BLOCK + 1, 5 * BLOCK):
            file.pwrite(PATCH, at)
        assert file.pread(len(DATA), 0) == versions[-1]
    assert stage.refused or stage.at_server(URL) == versions[-1]
    with stage.client.open(URL) as reader:
        assert reader.read() == stage.at_server(URL)


@scenario(cached)
def cut_and_stretch(stage: Stage) -> None:
    """``truncate``, shorter and longer."""
    cut = DATA[: BLOCK + 5]
    stretched = cut.ljust(3 * BLOCK, b"\0")
    expected = patched(stretched, PATCH, BLOCK)
    with stage.losing(URL, DATA, cut, expected), stage.client.open(URL, "r+b") as file:
        file.truncate(BLOCK + 5)
        file.fsync()
        assert stage.at_server(URL) == cut
        file.truncate(3 * BLOCK)
        file.pwrite(PATCH, BLOCK)
    assert stage.refused or stage.at_server(URL) == expected


@scenario()
def write_anew(stage: Stage) -> None:
    """``w+b``: written in any order, published at the close."""
    stage.server.store(UP_URL, OTHER)
    with stage.losing(UP_URL, OTHER), stage.client.open(UP_URL, "w+b") as file:
        file.pwrite(DATA[BLOCK:], BLOCK)
        file.pwrite(DATA[:BLOCK], 0)
        assert file.pread(len(DATA), 0) == DATA
    assert stage.refused or stage.at_server(UP_URL) == DATA


@scenario(cached, durability="journal", write_mode="back")
def edit_journaled(stage: Stage) -> None:
    """What ``flush`` returned for is in the journal, whatever becomes of the process."""
    stage.server.store(UP_URL, DATA)
    with stage.about_cache():
        # Without a journal there is no edit that survives: it says so when it is opened.
        file = stage.client.open(UP_URL, "r+b")
    if stage.refused:
        return
    first = patched(DATA, PATCH, BLOCK)
    second = patched(first, PATCH, 3 * BLOCK)
    with stage.losing(UP_URL, DATA, first, second), file:
        file.pwrite(PATCH, BLOCK)
        with stage.about_cache():
            file.flush()
            with stage.faults.paused():
                assert journaled(stage, UP_URL) == {BLOCK: PATCH}
        file.pwrite(PATCH, 3 * BLOCK)
        assert file.pread(len(PATCH), BLOCK) == PATCH
    assert stage.refused or stage.at_server(UP_URL) == second


def journaled(stage: Stage, url: str) -> dict[int, bytes]:
    """What the journal on the disk holds of edits of ``url``."""
    journal = Journal(str(stage.cache))
    held: dict[int, bytes] = {}
    for name in journal.names():
        record = journal.peek(name)
        if record is not None and record.url == url:
            data = (Path(journal.folder) / name / "data").read_bytes()
            for start, end in record.dirty:
                held[start] = data[start:end].ljust(end - start, b"\0")
    return held


@scenario(orphaned_edit, open=False)
def recover(stage: Stage) -> None:
    """What a killed process left is uploaded, or stays in the journal."""
    with stage.about_cache():
        stage.client.edits.recover()
    with stage.faults.paused():
        if stage.at_server(URL) == DATA:
            assert journaled(stage, URL)[BLOCK] == PATCH
        else:
            assert stage.at_server(URL) == patched(DATA, PATCH, BLOCK)
    with stage.client.open(URL) as file:
        assert file.read() == stage.at_server(URL)


# The asynchronous face, whose reads of what is cached go another way.


def run_async(stage: Stage, work: Callable[[netcache.AsyncClient], Awaitable[None]]) -> None:
    """Do ``work`` with a client of the asynchronous face, made with a failing disk."""

    async def whole() -> None:
        async with netcache.AsyncClient(
            cache_dir=stage.cache,
            backend=lambda: MemoryBackend(stage.server),
            readahead=0,
            retries=0,
            on_warning=stage.warnings.append,
            **stage.options,
        ) as client:
            await work(client)

    asyncio.run(whole())


@scenario(half_cached, open=False)
def async_read(stage: Stage) -> None:
    """What is cached, what is not, into a buffer, and as a view."""

    async def work(client: netcache.AsyncClient) -> None:
        async with await client.open(URL, "rb") as file:
            assert await file.pread(BLOCK, 0) == DATA[:BLOCK]
            buffer = bytearray(len(DATA))
            assert await file.preadinto(buffer, 0) == len(DATA)
            assert buffer == DATA
            assert bytes(await file.view(9, BLOCK)) == DATA[9 : 9 + BLOCK]
        async with await client.open(URL, "rb") as file:
            assert await file.pread(len(DATA), 0) == DATA

    run_async(stage, work)


@scenario(cached, open=False, verify="read")
def async_read_proven(stage: Stage) -> None:
    """Each read compares what is cached with its sums."""

    async def work(client: netcache.AsyncClient) -> None:
        async with await client.open(URL, "rb") as file:
            for start in range(0, len(DATA), 2 * BLOCK):
                assert await file.pread(2 * BLOCK, start) == DATA[start : start + 2 * BLOCK]

    run_async(stage, work)


@scenario(cached, open=False)
def async_write(stage: Stage) -> None:
    """A stream, and an edit."""
    expected = patched(DATA, PATCH, BLOCK + 9)

    async def work(client: netcache.AsyncClient) -> None:
        async with await client.open(UP_URL, "wb") as stream:
            await stream.write(OTHER)
        assert stage.at_server(UP_URL) == OTHER
        async with await client.open(URL, "r+b") as file:
            await file.pwrite(PATCH, BLOCK + 9)
            assert await file.pread(len(PATCH), BLOCK + 9) == PATCH
            await file.fsync()
            assert stage.at_server(URL) == expected

    with stage.losing(URL, DATA, expected):
        run_async(stage, work)


# The cache itself.


@scenario(cached)
def look_after(stage: Stage) -> None:
    """Status, lists, maps, checks, counters."""
    cache = stage.client.cache
    for look in (
        cache.status,
        lambda: list(cache.objects()),
        lambda: cache.map(URL),
        lambda: cache.verify(),
        lambda: cache.verify([URL], repair=True),
        cache.stats,
    ):
        with stage.about_cache(), contextlib.suppress(netcache.NotCachedError):
            look()
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario(cached)
def make_room(stage: Stage) -> None:
    """Cull, drop, clear."""
    cache = stage.client.cache
    for work in (lambda: cache.cull(0), lambda: cache.drop(URL), cache.clear):
        with stage.about_cache():
            work()
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario()
def warm(stage: Stage) -> None:
    """Bring into the cache: it is there, or the command says that it is not."""
    with stage.about_cache():
        stage.client.warm(URL)
        with stage.faults.paused():
            assert stage.client.cache.extents(URL) == [(0, len(DATA))]
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario()
def list_folder(stage: Stage) -> None:
    """A listing, which is kept for working offline."""
    found = stage.client.ls("http://memory.invalid/")
    assert {info.name for info in found} >= {"data", "other"}
