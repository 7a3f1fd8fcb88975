"""Uploads that go on where they stopped: over cuts, errors and lies of servers, and never mixed."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from netcache._core.retry import RetryPolicy
from netcache._core.urls import parse
from netcache._netfs.resumable_body import ResumableFileBody
from netcache._netfs.saved_upload import SavedUpload
from netcache._netfs.tee import Tee
from netcache.backends.http import HttpBackend
from netcache.errors import (
    AccessDeniedError,
    ConflictError,
    NetCacheError,
    RemoteError,
    TransientError,
)
from netcache.spi import (
    RESUMABLE_BYTES_MIN,
    UNCONDITIONAL,
    UploadCondition,
)
from netcache.spi_resumable import UploadTicket
from netcache_server import FaultRule
from tests.conformance.peers import pattern
from tests.server.wire import ask
from tests.support.http_rig import MIB, MakeClient, Rig, certificate, running_rig
from tests.support.proxy import Seen, answer, scripted_server

SIZE = RESUMABLE_BYTES_MIN + 3 * MIB + 77
DATA = pattern(SIZE, 5)
ABSENT = UploadCondition(if_absent=True)
UPLOADS = "/.netcache/uploads/*"
PATIENT = RetryPolicy(attempts=12, first_pause_s=0.0)


class Source:
    """A local file, and the bodies of its uploads by one process after another."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.path = folder / "source"
        self.path.write_bytes(DATA)
        self.fd = os.open(self.path, os.O_RDONLY)
        self.saved: list[SavedUpload] = []
        self.shown = 0

    def body(self, url: str) -> ResumableFileBody:
        """The body, as a new process would have it; the one before it has ended."""
        self.close_saved()
        status = os.fstat(self.fd)
        self.saved.append(SavedUpload(str(self.state), url, str(self.path), status))
        self.saved[-1].open()
        tee = Tee(None, parse(url), hashing=False)
        return ResumableFileBody(self.fd, status, tee, self._show, self.saved[-1])

    def _show(self, count: int) -> None:
        self.shown += count

    def close_saved(self) -> None:
        """The processes end."""
        for saved in self.saved:
            saved.close()

    @property
    def records(self) -> list[str]:
        """What is kept for later processes."""
        folder = self.state / "resumable"
        return os.listdir(folder) if folder.exists() else []


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """A local file of more than the size from which uploads can go on."""
    made = Source(tmp_path)
    try:
        yield made
    finally:
        made.close_saved()
        os.close(made.fd)


def up(rig: Rig) -> str:
    """The URL of the target."""
    return rig.server.url + "up"


def stored(rig: Rig) -> bytes | None:
    """What is at the target."""
    path = rig.root / "up"
    return path.read_bytes() if path.exists() else None


def received(rig: Rig) -> int:
    """How many bytes of bodies the server has received."""
    return sum(record["bytes_received"] for record in rig.log())


def left(rig: Rig) -> list[str]:
    """What lies at the server beside what was asked for."""
    return sorted(set(os.listdir(rig.root)) - {"a.bin", "up"})


async def interrupted(rig: Rig, source: Source, after: int, **effects: Any) -> None:
    """An upload that is given up when the server has about ``after`` bytes."""
    rig.faults(**({"method": ("PATCH",), "upload_cut_after": after} | effects))
    with pytest.raises(NetCacheError):
        await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    await logged(rig, 1)
    rig.faults()
    rig.server.clear_log()
    assert len(source.records) == 1


async def logged(rig: Rig, count: int) -> None:
    """Wait until the server has done with so many requests that brought bytes."""
    async with asyncio.timeout(20):
        while len(rig.log("PATCH")) < count:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)


def once(rig: Rig) -> HttpBackend:
    """A backend that tries once."""
    return rig.client(retry=RetryPolicy(attempts=1))


async def test_a_whole_upload_is_one_question_and_two_requests(rig: Rig, source: Source) -> None:
    """And the next one asks no question; nothing is kept, here or there."""
    backend = rig.client()
    reply = await backend.put(up(rig), source.body(up(rig)), condition=ABSENT, mtime_s=1.5e9)
    assert stored(rig) == DATA
    assert (reply.created, reply.mtime_kept, reply.sent_bytes) == (True, True, SIZE)
    assert reply.version is not None
    assert (rig.root / "up").stat().st_mtime == 1.5e9
    methods = [record["method"] for record in rig.log()]
    assert methods == ["OPTIONS", "HEAD", "PUT", "PATCH"] or methods == ["OPTIONS", "PUT", "PATCH"]
    rig.server.clear_log()
    again = await backend.put(
        up(rig),
        source.body(up(rig)),
        condition=UploadCondition(if_match=reply.version.validator.value),
    )
    assert [record["method"] for record in rig.log()] == ["PUT", "PATCH"]
    assert not again.created
    assert (source.records, left(rig)) == ([], [])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limited", [False, True])
async def test_cuts_anywhere_cost_no_byte_twice(
    rig: Rig, source: Source, seed: int, limited: bool
) -> None:
    """Whichever way the bytes are sent: what has arrived is not sent again."""
    rng = random.Random(seed)
    places = sorted(rng.randrange(SIZE) for _ in range(4))
    cuts = [end - start for start, end in zip([0, *places], places, strict=False)]
    rules = [
        {"method": ("PATCH",), "upload_cut_after": cut, "skip": index, "count": 1}
        for index, cut in enumerate(cuts)
    ]
    set_rules(rig, rules)
    limit = 1 << 40 if limited else None
    backend = rig.client(retry=PATIENT, bandwidth_limit=limit)
    reply = await backend.put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA, f"seed {seed}"
    # A piece of 16 KiB at each cut is received and not kept.
    assert SIZE <= received(rig) <= SIZE + len(cuts) * 16 * 1024, f"seed {seed}"
    assert reply.version is not None
    assert source.shown == SIZE
    assert len(rig.log("PATCH")) == len(cuts) + 1
    assert (source.records, left(rig)) == ([], [])


def set_rules(rig: Rig, rules: list[dict[str, Any]]) -> None:
    """Several faults."""
    rig.server.faults.set([FaultRule(**rule) for rule in rules])


@pytest.mark.parametrize("effects", [{"status": 503}, {"refuse": True}, {"status": 500}])
@pytest.mark.parametrize("method", ["PUT", "HEAD", "PATCH"])
async def test_errors_of_the_server_are_tried_again(
    rig: Rig, source: Source, effects: dict[str, Any], method: str
) -> None:
    """At each of the requests; the bytes are sent once."""
    set_rules(
        rig,
        [
            {"method": ("PATCH",), "upload_cut_after": 5 * MIB, "count": 1},
            {"method": (method,), "path": UPLOADS if method != "PUT" else "/up", "count": 1}
            | ({"skip": 1} if method == "PATCH" else {})
            | effects,
        ],
    )
    await rig.client().put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert received(rig) <= SIZE + 16 * 1024


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
async def test_another_process_goes_on(rig: Rig, source: Source, share: float) -> None:
    """It asks how much is there, and sends the rest."""
    await interrupted(rig, source, int(SIZE * share) + 1)
    reply = await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert reply.sent_bytes == received(rig) <= SIZE * (1 - share) + 16 * 1024
    assert [record["method"] for record in rig.log()][-2:] == ["HEAD", "PATCH"]
    assert reply.version is not None
    assert (source.records, left(rig)) == ([], [])


@pytest.mark.parametrize("limited", [False, True])
async def test_when_all_has_arrived_only_the_end_is_missing(
    rig: Rig, source: Source, limited: bool
) -> None:
    """The server died between the last byte and the target: a request without bytes."""
    await interrupted(rig, source, 9 * MIB)
    ticket = source.body(up(rig)).ticket
    assert ticket is not None
    path = urlsplit(ticket.location).path
    have = int((await asyncio.to_thread(ask, rig.server, "HEAD", path)).header("Upload-Offset"))
    rest = {"Content-Type": "application/partial-upload", "Upload-Offset": str(have)}
    rest["Upload-Complete"] = "?0"
    await asyncio.to_thread(ask, rig.server, "PATCH", path, DATA[have:], rest)
    assert stored(rig) is None
    rig.server.clear_log()
    backend = rig.client(bandwidth_limit=1 << 40 if limited else None)
    reply = await backend.put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert (received(rig), reply.sent_bytes) == (0, 0)
    assert reply.version is not None
    assert (source.records, left(rig)) == ([], [])


async def test_over_tls_and_with_credentials(tmp_path: Path, source: Source) -> None:
    """The bytes take another way there; each request bears the credentials."""
    pem, authority = certificate(tmp_path)
    root = tmp_path / "secure"
    root.mkdir()
    async with running_rig(root, tls_cert=pem, tls_key=pem, user="me:secret") as rig:
        cut = {"method": ("PATCH",), "upload_cut_after": 7 * MIB, "count": 1}
        set_rules(rig, [cut, cut | {"skip": 1}])
        backend = rig.client(ca_cert=authority, auth="me:secret")
        reply = await backend.put(up(rig), source.body(up(rig)), condition=ABSENT)
        assert stored(rig) == DATA
        assert reply.version is not None
        assert len(rig.log("PATCH")) == 3
        assert received(rig) <= SIZE + 4 * 16 * 1024


async def test_a_server_that_never_gets_further_is_given_up(rig: Rig, source: Source) -> None:
    """Attempts are bounded; the upload can go on later."""
    rig.faults(method=("PATCH",), upload_cut_after=1)
    with pytest.raises(TransientError) as caught:
        await rig.client().put(up(rig), source.body(up(rig)), condition=ABSENT)
    await logged(rig, 3)
    assert len(rig.log("PATCH")) == 3
    assert up(rig) in str(caught.value)
    assert "uploads" not in str(caught.value)
    assert caught.value.url == up(rig)
    assert stored(rig) is None
    assert len(source.records) == 1


async def test_attempts_that_bring_something_are_not_counted(rig: Rig, source: Source) -> None:
    """A bad line brings a large file in the end, with three attempts at a time."""
    rig.faults(method=("PATCH",), upload_cut_after=3 * MIB)
    await rig.client().put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert len(rig.log("PATCH")) >= SIZE // (3 * MIB)


@pytest.mark.parametrize("minds", [True, False])
async def test_another_version_that_came_meanwhile_stays(
    rig: Rig, source: Source, minds: bool
) -> None:
    """P7: the target that was replaced between two runs is a conflict, and nothing is lost."""
    await interrupted(rig, source, 9 * MIB)
    rig.plant("up", b"of somebody else")
    backend = once(rig)
    if minds:
        await backend.stat(rig.url)  # it learns that the server minds conditions
    with pytest.raises(ConflictError):
        await backend.put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == b"of somebody else"
    assert (source.records, left(rig)) == ([], [])


async def test_a_conflict_at_the_end_of_one_run(rig: Rig, source: Source) -> None:
    """P7: also when it comes between two attempts."""
    rig.faults(method=("PATCH",), upload_cut_after=9 * MIB, count=1)
    backend = rig.client()
    really_ask = backend._session.ask
    asked: list[str] = []

    async def ask(method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "HEAD" and "uploads" in args[0].url and not asked:
            asked.append(method)
            rig.plant("up", b"of somebody else")
        return await really_ask(method, *args, **kwargs)

    backend._session.ask = ask  # type: ignore[method-assign]
    with pytest.raises(ConflictError):
        await backend.put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert asked
    assert stored(rig) == b"of somebody else"
    assert (source.records, left(rig)) == ([], [])


@pytest.mark.parametrize("condition", [ABSENT, UploadCondition()])
async def test_a_lost_reply_is_no_conflict_and_no_second_upload(
    rig: Rig, source: Source, condition: UploadCondition
) -> None:
    """What is there is what was sent: nothing is sent again."""
    rig.faults(method=("PATCH",), lose_reply=True, count=1)
    reply = await rig.client().put(up(rig), source.body(up(rig)), condition=condition)
    assert stored(rig) == DATA
    assert received(rig) == reply.sent_bytes == SIZE
    assert reply.version is not None
    assert (source.records, left(rig)) == ([], [])


async def test_a_reply_that_a_killed_process_never_saw(rig: Rig, source: Source) -> None:
    """The next process finds that everything is there."""
    await interrupted(rig, source, SIZE * 2, lose_reply=True)
    assert stored(rig) == DATA
    reply = await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert (received(rig), reply.sent_bytes) == (0, 0)
    assert source.records == []


async def test_a_lost_reply_and_then_another_writer_is_a_conflict(rig: Rig, source: Source) -> None:
    """Who came afterwards is not overwritten."""
    await interrupted(rig, source, SIZE * 2, lose_reply=True)
    rig.plant("up", DATA[::-1])
    with pytest.raises(ConflictError):
        await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA[::-1]


async def test_an_upload_that_the_server_has_forgotten_begins_anew(
    rig: Rig, source: Source
) -> None:
    """All of it is sent, once."""
    await interrupted(rig, source, 9 * MIB)
    for path in (rig.root / ".netcache-part-uploads").iterdir():
        path.unlink()
    await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert received(rig) == SIZE
    assert (source.records, left(rig)) == ([], [])


async def test_a_server_that_forgets_again_and_again_gets_it_plainly(
    rig: Rig, source: Source
) -> None:
    """Bounded."""
    rig.faults(method=("PATCH",), status=404)
    await rig.client().put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert len(rig.log("PATCH")) == 3
    assert [record["bytes_received"] for record in rig.log("PUT")] == [0, 0, 0, SIZE]


@pytest.mark.parametrize("how", ["bytes", "touch", "longer", "other"])
async def test_a_source_that_changed_is_sent_from_its_beginning(
    rig: Rig, source: Source, how: str
) -> None:
    """Whatever changed; the server is told to forget what it has."""
    await interrupted(rig, source, 9 * MIB)
    status, expected = source.path.stat(), DATA
    if how == "bytes":
        expected = b"x" + DATA[1:]
        with source.path.open("r+b") as file:
            file.write(b"x")
        os.utime(source.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == "touch":
        os.utime(source.path, ns=(1, 1))
    elif how == "longer":
        expected = DATA + b"x"
        with source.path.open("ab") as file:
            file.write(b"x")
    else:
        expected = DATA[::-1]
        os.close(source.fd)
        source.path.rename(source.path.with_name("old"))
        source.path.write_bytes(expected)
        os.utime(source.path, ns=(status.st_atime_ns, status.st_mtime_ns))
        source.fd = os.open(source.path, os.O_RDONLY)
    await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == expected
    assert received(rig) == len(expected)
    assert len(rig.log("DELETE")) == 1
    assert (source.records, left(rig)) == ([], [])


async def test_a_source_that_changes_between_two_attempts_is_an_error(
    rig: Rig, source: Source
) -> None:
    """No mixture of two versions is ever put together."""
    rig.faults(method=("PATCH",), upload_cut_after=9 * MIB, count=1)
    body = source.body(up(rig))
    really_prepare = body.prepare

    async def prepare(start: int) -> bytes:
        with source.path.open("r+b") as file:
            file.write(b"x")
        return await really_prepare(start)

    body.prepare = prepare  # type: ignore[method-assign]
    with pytest.raises(NetCacheError, match="changed while it was read"):
        await rig.client().put(up(rig), body, condition=ABSENT)
    assert stored(rig) is None
    assert (source.records, left(rig)) == ([], [])


async def test_what_the_server_has_is_compared_with_the_whole(rig: Rig, source: Source) -> None:
    """Bytes that were spoilt at the server (or here, unseen) are never put at the target."""
    await interrupted(rig, source, 9 * MIB)
    (part,) = (path for path in (rig.root / ".netcache-part-uploads").iterdir() if not path.suffix)
    with part.open("r+b") as file:
        file.write(b"spoilt")
    await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert [record["status"] for record in rig.log("PATCH")] == [400]
    assert (source.records, left(rig)) == ([], [])


async def test_another_condition_begins_anew(rig: Rig, source: Source) -> None:
    """What was begun for another version is not published for this one."""
    await interrupted(rig, source, 9 * MIB)
    rig.plant("up", b"seen")
    backend = once(rig)
    info = await backend.stat(up(rig))
    assert info is not None
    condition = UploadCondition(if_match=info.etag)
    await backend.put(up(rig), source.body(up(rig)), condition=condition)
    assert stored(rig) == DATA
    assert received(rig) == SIZE


async def test_two_at_once_do_not_share_an_upload(rig: Rig, source: Source) -> None:
    """The second process sends its own; both arrive whole."""
    await interrupted(rig, source, 9 * MIB)
    first, second = rig.client(), rig.client()
    bodies = [source.body(up(rig))]
    status = os.fstat(source.fd)
    saved = SavedUpload(str(source.state), up(rig), str(source.path), status)
    saved.open()
    assert saved.ticket is None
    fd = os.open(source.path, os.O_RDONLY)
    try:
        tee = Tee(None, parse(up(rig)), hashing=False)
        bodies.append(ResumableFileBody(fd, status, tee, lambda _: None, saved))
        ways = (UploadCondition(if_absent=True), UploadCondition())
        one, other = await asyncio.gather(
            first.put(up(rig), bodies[0], condition=ways[0]),
            second.put(up(rig), bodies[1], condition=ways[1]),
            return_exceptions=True,
        )
        assert not isinstance(other, BaseException)
        assert not isinstance(one, BaseException) or isinstance(one, ConflictError)
        assert other.sent_bytes == SIZE
        assert stored(rig) == DATA
    finally:
        saved.close()
        os.close(fd)
    assert (source.records, left(rig)) == ([], [])


async def test_credentials_that_expired_are_an_error_and_it_goes_on_later(
    rig: Rig, source: Source
) -> None:
    """A refusal of the moment costs nothing that has arrived."""
    await interrupted(rig, source, 9 * MIB)
    for method, status in (("HEAD", 401), ("PATCH", 403), ("PATCH", 507)):
        rig.faults(method=(method,), path=UPLOADS, status=status)
        error = RemoteError if status == 507 else AccessDeniedError
        with pytest.raises(error):
            await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    rig.faults()
    rig.server.clear_log()
    await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert received(rig) < SIZE - 8 * MIB


async def test_servers_without_it_get_one_question_a_day(tmp_path: Path, source: Source) -> None:
    """And then uploads as ever, by later backends too."""
    root = tmp_path / "served"
    root.mkdir()
    async with running_rig(root, resumable_uploads=False) as rig:
        backend = rig.client()
        for _ in range(2):
            await backend.put(up(rig), source.body(up(rig)))
        assert [record["method"] for record in rig.log()] == ["OPTIONS", "PUT", "PUT"]
        later = rig.client()
        later.recall(backend.remembered(1000.0), 2000.0)
        await later.put(up(rig), source.body(up(rig)))
        assert len(rig.log("OPTIONS")) == 1
        assert source.records == []


async def test_an_announcement_is_not_remembered(rig: Rig, source: Source) -> None:
    """A server in its place that knows nothing of it would take the beginning for the whole."""
    backend = rig.client()
    await backend.put(up(rig), source.body(up(rig)))
    later = rig.client()
    later.recall(backend.remembered(1000.0), 2000.0)
    assert later.capabilities(up(rig)).patch is True
    await later.put(up(rig), source.body(up(rig)))
    assert len(rig.log("OPTIONS")) == 2


async def test_small_files_ask_nothing(rig: Rig, source: Source) -> None:
    """Below the size from which it pays, nothing is different."""
    os.truncate(source.path, RESUMABLE_BYTES_MIN - 1)
    await rig.client().put(up(rig), source.body(up(rig)), condition=UploadCondition())
    assert [record["method"] for record in rig.log()] == ["PUT"]


@pytest.mark.parametrize("limit", ["max-size=1000", "min-size=99999999999", "x", "max-size=-1", ""])
async def test_limits_of_the_server_hold(rig: Rig, source: Source, limit: str) -> None:
    """What does not fit, or cannot be read, is sent plainly."""
    rig.faults(method=("OPTIONS",), headers={"Upload-Limit": limit})
    await rig.client().put(up(rig), source.body(up(rig)), condition=UploadCondition())
    expected = ["OPTIONS", "PUT", "PATCH"] if limit == "x" else ["OPTIONS", "PUT"]
    assert [record["method"] for record in rig.log()] == expected
    assert stored(rig) == DATA


@pytest.mark.parametrize("status", [400, 405, 415, 501])
async def test_a_server_that_takes_beginnings_and_no_more_is_believed_once(
    rig: Rig, source: Source, status: int
) -> None:
    """It announces more than it does; the next file goes plainly at once."""
    rig.faults(method=("PATCH",), status=status)
    backend = rig.client()
    await backend.put(up(rig), source.body(up(rig)))
    rig.server.clear_log()
    await backend.put(up(rig), source.body(up(rig)))
    assert [record["method"] for record in rig.log()] == ["PUT"]
    assert stored(rig) == DATA
    assert source.records == []


class Liar:
    """A server that announces resumable uploads, and says of them what it likes."""

    def __init__(self, *offsets: str, location: str = "/uploads/1", status: int = 201) -> None:
        self.offsets = list(offsets)
        self.location = location
        self.status = status
        self.plain = 0

    async def __call__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One request."""
        length = int(seen.headers.get("content-length", "0"))
        if seen.method == "OPTIONS":
            writer.write(answer(204, Upload_Limit="min-size=0"))
        elif seen.headers.get("upload-complete") == "?0":
            writer.write(answer(self.status, Location=self.location))
        elif seen.method == "PUT":
            while length:
                length -= len(await reader.read(min(length, MIB)))
            self.plain += 1
            writer.write(answer(201, ETag='"v1"'))
        elif seen.method == "PATCH":
            await reader.readexactly(min(length, MIB))
            writer.close()
        elif seen.method == "HEAD" and "uploads" in seen.target:
            offset = self.offsets.pop(0) if len(self.offsets) > 1 else self.offsets[0]
            writer.write(answer(204, Upload_Offset=offset, Upload_Complete="?0"))
        elif seen.method == "HEAD":
            writer.write(answer(404))
        else:
            writer.write(answer(204))


@pytest.mark.parametrize(
    "liar",
    [
        Liar(str(SIZE + 1)),
        Liar(str(SIZE)),
        Liar("9" * 15),
        Liar("9" * 30),
        Liar("-1"),
        Liar("x"),
        Liar(""),
        Liar("500", "400"),
        Liar("0", location="http://elsewhere.invalid/uploads/1"),
        Liar("0", location="//elsewhere.invalid/uploads/1"),
        Liar("0", location="http://user:password@elsewhere.invalid/x"),
        Liar("0", location=""),
        Liar("0", location="file:///etc/passwd"),
        Liar("0", location="http://[/"),
        Liar("0", status=204),
        Liar("0", status=200),
        Liar("0", status=403),
        Liar("0", status=501),
    ],
)
async def test_a_server_that_contradicts_itself_gets_it_plainly(
    make_client: MakeClient, source: Source, liar: Liar
) -> None:
    """Offsets that cannot be, locations elsewhere: one plain upload, and nothing is followed."""
    async with scripted_server(liar) as server:
        url = server.url + "up"
        reply = await make_client(timeout_s=2.0).put(url, source.body(url))
        assert reply.version is not None
        assert liar.plain == 1
        assert len(server.seen) < 12
    assert source.records == []


@pytest.mark.parametrize("kept", [True, False])
async def test_nothing_is_deleted_that_is_no_upload(
    make_client: MakeClient, source: Source, kept: bool
) -> None:
    """A location, or a record of one, may lead to something else of the same server."""
    liar = Liar("")
    async with scripted_server(liar) as server:
        url = server.url + "up"
        if kept:
            ticket = UploadTicket(server.url + "uploads/precious", UNCONDITIONAL)
            await source.body(url).keep_ticket(ticket)
            os.utime(source.path, ns=(1, 1))
        await make_client(timeout_s=2.0).put(url, source.body(url))
        methods = [seen.method for seen in server.seen]
        assert "HEAD" in methods
        assert "DELETE" not in methods
    assert liar.plain == 1


async def test_a_server_that_creeps_on_is_given_up(make_client: MakeClient, source: Source) -> None:
    """A byte more each time is no progress: attempts stay bounded."""
    liar = Liar(*(str(count) for count in range(1, 100)))
    async with scripted_server(liar) as server:
        url = server.url + "up"
        with pytest.raises(TransientError):
            await make_client(timeout_s=2.0).put(url, source.body(url))
        assert len(server.seen) < 20


async def test_a_record_that_leads_elsewhere_is_not_followed(
    make_client: MakeClient, source: Source
) -> None:
    """A location of another origin gets neither bytes nor credentials."""
    async with (
        scripted_server(Liar("0", status=501)) as server,
        scripted_server(Liar("0")) as elsewhere,
    ):
        url = server.url + "up"
        ticket = UploadTicket(elsewhere.url + "uploads/1", UNCONDITIONAL)
        await source.body(url).keep_ticket(ticket)
        body = source.body(url)
        assert body.ticket == ticket
        await make_client(token="secret").put(url, body)
        assert elsewhere.seen == []
    assert source.records == []
