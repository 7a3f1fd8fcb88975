"""New names over servers and networks that fail: nothing lost, nothing moved that was not meant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from netcache.errors import (
    AccessDeniedError,
    ConflictError,
    NotFoundError,
    RemoteError,
    TransientError,
)
from netcache.spi import UploadCondition
from tests.conformance.peers import read
from tests.support.http_rig import DATA, MakeClient, Rig
from tests.support.proxy import Scripted, Seen, answer, scripted_server

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """A bundled server with a folder."""
    rig.plant("d/inside", b"inside")
    return rig


async def test_three_requests(rig: Rig) -> None:
    """What is to be moved, what stands at the new name, and the move."""
    backend = rig.client()
    await backend.move(rig.url, rig.server.url + "b")
    assert [r["method"] for r in rig.log()] == ["HEAD", "HEAD", "MOVE"]


@pytest.mark.parametrize("effects", [{"refuse": True}, {"status": 503}, {"lose_reply": True}])
@pytest.mark.parametrize("name", ["a.bin", "d"])
async def test_failed_attempts(rig: Rig, name: str, effects: dict[str, Any]) -> None:
    """It is tried again, also when it was done and nobody said so."""
    backend = rig.client()
    rig.faults(method=("MOVE",), **effects, count=1)
    await backend.move(rig.server.url + name, rig.server.url + "to")
    moved = "to" if name == "a.bin" else "to/inside"
    expected = DATA if name == "a.bin" else b"inside"
    assert await read(backend, rig.server.url + moved) == expected
    assert sorted(path.name for path in rig.root.iterdir()) == sorted({"a.bin", "d", "to"} - {name})


async def test_failed_attempt_of_a_conditional_move(rig: Rig) -> None:
    """The retry finds the old name empty (412), and what was moved at the new one."""
    backend = rig.client()
    info = await backend.stat(rig.url)
    assert info is not None
    rig.faults(method=("MOVE",), lose_reply=True, count=1)
    condition = UploadCondition(if_match=info.etag)
    await backend.move(rig.url, rig.server.url + "to", condition=condition)
    assert [r["status"] for r in rig.log("MOVE")][-1] == 412
    assert await read(backend, rig.server.url + "to") == DATA


async def test_attempts_end(rig: Rig) -> None:
    """A server that stays away is an error, and nothing has moved."""
    backend = rig.client()
    rig.faults(method=("MOVE",), status=503)
    with pytest.raises(TransientError):
        await backend.move(rig.url, rig.server.url + "to")
    assert len(rig.log("MOVE")) == 3
    assert (rig.root / "a.bin").read_bytes() == DATA


class Names:
    """A server of files by path that knows HEAD and MOVE, and compares tags strongly.

    ``lose`` replies to MOVE are lost; ``refuse`` of them are not done.  ``afterwards`` is done
    after each MOVE.
    """

    def __init__(self, **files: str) -> None:
        self.files = {"/" + path: tag for path, tag in files.items()}
        self.lose = 0
        self.refuse = 0
        self.date: str | None = None
        self.afterwards: Callable[[], None] = lambda: None

    async def __call__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request."""
        tag = self.files.get(seen.target)
        if seen.method == "HEAD":
            fields = {"ETag": str(tag), "Content_Length": "5"}
            if self.date is not None:
                fields["Last_Modified"] = self.date
            writer.write(answer(404) if tag is None else answer(200, b"", **fields))
            return
        assert seen.method == "MOVE"
        if self.refuse:
            self.refuse -= 1
            writer.write(answer(503))
            return
        wanted = seen.headers.get("if-match")
        if tag is None or wanted not in (None, tag) or (wanted or "").startswith("W/"):
            writer.write(answer(404 if tag is None else 412))
            return
        target = "/" + seen.headers["destination"].rpartition("/")[2]
        self.files[target] = self.files.pop(seen.target)
        if self.lose:
            self.lose -= 1
            writer.close()
        else:
            writer.write(answer(201))
        self.afterwards()


def moves(server: Scripted) -> list[Seen]:
    """The moves that a scripted server was asked for."""
    return [seen for seen in server.seen if seen.method == "MOVE"]


async def test_what_has_come_to_the_old_name_meanwhile_stays(make_client: MakeClient) -> None:
    """The move was done, its reply lost, and another writer used the name again."""
    names = Names(a='"1"')
    names.lose = 1
    names.afterwards = lambda: names.files.update({"/a": '"2"'})
    async with scripted_server(names) as server:
        with pytest.raises(ConflictError):
            await make_client().move(server.url + "a", server.url + "b")
    assert names.files == {"/a": '"2"', "/b": '"1"'}
    assert [seen.headers.get("if-match") for seen in moves(server)] == [None]


async def test_something_else_at_the_new_name_is_not_what_was_moved(
    make_client: MakeClient,
) -> None:
    """The old name is gone, and it is not known where to."""
    names = Names(a='"1"')
    names.lose = 1
    names.afterwards = lambda: names.files.update({"/b": '"9"'})
    async with scripted_server(names) as server:
        with pytest.raises(NotFoundError):
            await make_client().move(server.url + "a", server.url + "b")


@pytest.mark.parametrize(
    ("tag", "pins"),
    [('"1"', {"if-match": '"1"'}), ('W/"1"', {"if-unmodified-since": DATE})],
    ids=["strong", "weak"],
)
async def test_second_attempt_is_pinned(
    make_client: MakeClient, tag: str, pins: dict[str, str]
) -> None:
    """By a date where the tag is weak: ``If-Match`` compares strongly, so that never holds."""
    names = Names(a=tag)
    names.date = DATE
    names.refuse = 1
    async with scripted_server(names) as server:
        await make_client().move(server.url + "a", server.url + "b")
        first, second = moves(server)
    assert names.files == {"/b": tag}
    assert {*first.headers}.isdisjoint({"if-match", "if-unmodified-since"})
    assert {name: text for name, text in second.headers.items() if name.startswith("if-")} == pins


@pytest.mark.parametrize("overwrite", [False, True])
async def test_question(make_client: MakeClient, overwrite: bool) -> None:
    """The new name in full, without credentials, and whether to overwrite."""
    names = Names(a='"1"')
    async with scripted_server(names) as server:
        backend = make_client()
        backend.add_credentials(server.url.rstrip("/"), "me", "secret")
        await backend.move(server.url + "a", server.url + "b", overwrite=overwrite)
        (move,) = moves(server)
        assert move.headers["destination"] == server.url + "b"
        assert move.headers["overwrite"] == ("T" if overwrite else "F")
        assert "authorization" in move.headers


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, AccessDeniedError), (412, ConflictError), (423, RemoteError), (207, RemoteError)],
)
async def test_refusal(make_client: MakeClient, status: int, error: type[Exception]) -> None:
    """Each says what it is; none is asked again."""
    names = Names(a='"1"')

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if seen.method == "MOVE":
            writer.write(answer(status))
        else:
            await names(seen, reader, writer)

    async with scripted_server(script) as server:
        with pytest.raises(error):
            await make_client().move(server.url + "a", server.url + "b")
        assert len(moves(server)) == 1
