"""Uploads that go on where they stopped: over cuts and errors, and in another process."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from netcache._core.urls import parse
from netcache._netfs.resumable_body import ResumableFileBody
from netcache._netfs.saved_upload import SavedUpload
from netcache._netfs.tee import Tee
from netcache.errors import AccessDeniedError, ConflictError, RemoteError, TransientError
from netcache.spi import UploadCondition
from netcache_server import FaultRule
from tests.server.wire import ask
from tests.support.http_rig import MIB, Rig, certificate, running_rig
from tests.support.resuming import (
    ABSENT,
    DATA,
    PATIENT,
    SIZE,
    UPLOADS,
    Source,
    interrupted,
    left,
    logged,
    once,
    received,
    stored,
    up,
)

pytestmark = pytest.mark.usefixtures("both_ways")


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
            {"method": ("PATCH",), "upload_cut_after": MIB, "count": 1},
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
    await interrupted(rig, source, 2 * MIB)
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
        cut = {"method": ("PATCH",), "upload_cut_after": 2 * MIB, "count": 1}
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
    rig.faults(method=("PATCH",), upload_cut_after=MIB + 65536)
    await rig.client().put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert len(rig.log("PATCH")) >= SIZE // (MIB + 65536)


async def test_two_at_once_do_not_share_an_upload(rig: Rig, source: Source) -> None:
    """The second process sends its own; both arrive whole."""
    await interrupted(rig, source, 2 * MIB)
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
    await interrupted(rig, source, 2 * MIB)
    for method, status in (("HEAD", 401), ("PATCH", 403), ("PATCH", 507)):
        rig.faults(method=(method,), path=UPLOADS, status=status)
        error = RemoteError if status == 507 else AccessDeniedError
        with pytest.raises(error):
            await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    rig.faults()
    rig.server.clear_log()
    await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert received(rig) < SIZE - MIB
