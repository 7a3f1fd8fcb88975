"""Uploads that go on never mix two versions of the source, and overwrite none of the target."""

from __future__ import annotations

import os
from typing import Any

import pytest

from netcache.errors import ConflictError, NetCacheError
from netcache.spi import UploadCondition
from tests.support.http_rig import MIB, Rig
from tests.support.resuming import (
    ABSENT,
    DATA,
    SIZE,
    Source,
    interrupted,
    left,
    once,
    received,
    stored,
    up,
)

pytestmark = pytest.mark.usefixtures("both_ways")


@pytest.mark.parametrize("minds", [True, False])
async def test_another_version_that_came_meanwhile_stays(
    rig: Rig, source: Source, minds: bool
) -> None:
    """P7: the target that was replaced between two runs is a conflict, and nothing is lost."""
    await interrupted(rig, source, 2 * MIB)
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
    rig.faults(method=("PATCH",), upload_cut_after=2 * MIB, count=1)
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


@pytest.mark.parametrize("how", ["bytes", "touch", "longer", "other"])
async def test_a_source_that_changed_is_sent_from_its_beginning(
    rig: Rig, source: Source, how: str
) -> None:
    """Whatever changed; the server is told to forget what it has."""
    await interrupted(rig, source, 2 * MIB)
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
    rig.faults(method=("PATCH",), upload_cut_after=2 * MIB, count=1)
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
    await interrupted(rig, source, 2 * MIB)
    (part,) = (path for path in (rig.root / ".netcache-part-uploads").iterdir() if not path.suffix)
    with part.open("r+b") as file:
        file.write(b"spoilt")
    await once(rig).put(up(rig), source.body(up(rig)), condition=ABSENT)
    assert stored(rig) == DATA
    assert [record["status"] for record in rig.log("PATCH")] == [400]
    assert (source.records, left(rig)) == ([], [])


async def test_another_condition_begins_anew(rig: Rig, source: Source) -> None:
    """What was begun for another version is not published for this one."""
    await interrupted(rig, source, 2 * MIB)
    rig.plant("up", b"seen")
    backend = once(rig)
    info = await backend.stat(up(rig))
    assert info is not None
    condition = UploadCondition(if_match=info.etag)
    await backend.put(up(rig), source.body(up(rig)), condition=condition)
    assert stored(rig) == DATA
    assert received(rig) == SIZE
