"""Changes at a server that minds no preconditions: what another writer has stored stays (P7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate

import pytest

from netcache.backends.http import HttpBackend
from netcache.errors import ConflictError, NotFoundError
from netcache.spi import UploadCondition
from tests.conformance.peers import Bytes
from tests.support.http_rig import MakeClient
from tests.support.proxy import Seen, answer, scripted_server

pytestmark = pytest.mark.usefixtures("both_ways")

TIME_S = 1_700_000_000
MINE, THEIRS = b"mine!", b"theirs"
V1 = UploadCondition(if_match='"1"')
ABSENT = UploadCondition(if_absent=True)
AS_OF = UploadCondition(unmodified_since=formatdate(TIME_S, usegmt=True))


class File:
    """What is at one name: its bytes, its ETag and when it was modified."""

    def __init__(self, data: bytes = b"old", tag: str | None = '"1"', time_s: int = TIME_S) -> None:
        self.data = data
        self.fields: dict[str, str] = {"Last-Modified": formatdate(time_s, usegmt=True)}
        if tag is not None:
            self.fields["ETag"] = tag


class Heedless:
    """A server of files by path that does what it is told, whatever the condition.

    ``refusals`` are statuses for the first changes, which are not done; the replies of the next
    ``lose`` are lost.  ``meanwhile`` is done once, behind the first change.
    """

    def __init__(self, **files: File) -> None:
        self.files = {"/" + name: file for name, file in files.items()}
        self.refusals: list[int] = []
        self.lose = 0
        self.meanwhile: Callable[[], object] = lambda: None

    async def __call__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request."""
        body = await reader.readexactly(int(seen.headers.get("content-length", "0")))
        file = self.files.get(seen.target)
        if seen.method in ("HEAD", "GET"):
            writer.write(self._shown(file, head=seen.method == "HEAD"))
            return
        status = self.refusals.pop(0) if self.refusals else self._change(seen, body)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        if self.lose:
            self.lose -= 1
            writer.close()
        else:
            writer.write(answer(status))

    def _shown(self, file: File | None, *, head: bool) -> bytes:
        if file is None:
            return answer(404)
        whole = answer(200, file.data, **file.fields)
        return whole[: len(whole) - len(file.data)] if head else whole

    def _change(self, seen: Seen, body: bytes) -> int:
        target = "/" + seen.headers.get("destination", "").rpartition("/")[2]
        if seen.method == "PUT":
            self.files[seen.target] = File(body, '"mine"', TIME_S + 100)
        elif seen.target not in self.files:
            return 404
        elif seen.method == "DELETE":
            del self.files[seen.target]
        elif seen.headers["overwrite"] == "F" and target in self.files:
            return 412
        else:
            self.files[target] = self.files.pop(seen.target)
        return 204

    def another_writer(self, name: str = "a", **changes: object) -> Callable[[], object]:
        """Somebody stores ``THEIRS`` there."""
        return lambda: self.files.update({"/" + name: File(THEIRS, '"theirs"', TIME_S + 50)})

    @property
    def bytes(self) -> dict[str, bytes]:
        """What is there."""
        return {path[1:]: file.data for path, file in self.files.items()}


Change = Callable[[HttpBackend, str, UploadCondition], object]
CHANGES: dict[str, Change] = {
    "put": lambda backend, url, condition: backend.put(url + "a", Bytes(MINE), condition=condition),
    "delete": lambda backend, url, condition: backend.delete(url + "a", condition=condition),
    "move": lambda backend, url, condition: backend.move(url + "a", url + "b", condition=condition),
}


@pytest.fixture(params=CHANGES)
def change(request: pytest.FixtureRequest) -> Change:
    """A change of ``a``."""
    return CHANGES[request.param]


class TestRetries:
    """Between two attempts there may be minutes."""

    @pytest.mark.parametrize("condition", [V1, AS_OF], ids=["tag", "date"])
    async def test_another_writer_between_two_attempts(
        self, make_client: MakeClient, change: Change, condition: UploadCondition
    ) -> None:
        """The second one is not made."""
        heedless = Heedless(a=File())
        heedless.refusals = [503]
        heedless.meanwhile = heedless.another_writer()
        async with scripted_server(heedless) as server:
            with pytest.raises(ConflictError):
                await change(make_client(), server.url, condition)  # type: ignore[misc]
        assert heedless.bytes == {"a": THEIRS}

    async def test_what_has_come_to_a_free_name(self, make_client: MakeClient) -> None:
        """Of an upload that must create."""
        heedless = Heedless()
        heedless.refusals = [503]
        heedless.meanwhile = heedless.another_writer()
        async with scripted_server(heedless) as server:
            with pytest.raises(ConflictError):
                await make_client().put(server.url + "a", Bytes(MINE), condition=ABSENT)
        assert heedless.bytes == {"a": THEIRS}

    async def test_an_unconditional_move(self, make_client: MakeClient) -> None:
        """It is of what was found at first."""
        heedless = Heedless(a=File())
        heedless.refusals = [503]
        heedless.meanwhile = heedless.another_writer()
        async with scripted_server(heedless) as server:
            with pytest.raises(ConflictError):
                await make_client().move(server.url + "a", server.url + "b")
        assert heedless.bytes == {"a": THEIRS}

    @pytest.mark.parametrize("condition", [V1, AS_OF], ids=["tag", "date"])
    async def test_a_lost_reply_is_no_conflict_with_itself(
        self, make_client: MakeClient, change: Change, condition: UploadCondition
    ) -> None:
        """What is there now is what was sent, or has gone as it should."""
        heedless = Heedless(a=File())
        heedless.lose = 1
        async with scripted_server(heedless) as server:
            await change(make_client(), server.url, condition)  # type: ignore[misc]
        assert list(heedless.bytes.values()) in ([MINE], [], [b"old"])
        assert ("a" in heedless.bytes) == (MINE in heedless.bytes.values())

    async def test_a_lost_reply_and_another_writer(self, make_client: MakeClient) -> None:
        """What is there now is not what was sent."""
        heedless = Heedless(a=File())
        heedless.lose = 1
        heedless.meanwhile = heedless.another_writer()
        async with scripted_server(heedless) as server:
            with pytest.raises(ConflictError):
                await make_client().put(server.url + "a", Bytes(MINE), condition=V1)
        assert heedless.bytes == {"a": THEIRS}

    async def test_a_check_of_ones_own_shows_nothing_of_the_server(
        self, make_client: MakeClient
    ) -> None:
        """The next upload is checked as well."""
        heedless = Heedless(a=File())
        heedless.refusals = [503]
        heedless.meanwhile = heedless.another_writer()
        async with scripted_server(heedless) as server:
            backend = make_client()
            for _ in range(2):
                with pytest.raises(ConflictError):
                    await backend.put(server.url + "a", Bytes(MINE), condition=V1)
        assert heedless.bytes == {"a": THEIRS}


class TestFirst:
    """What is found before the first attempt."""

    async def test_no_tag_is_not_the_tag_that_is_demanded(
        self, make_client: MakeClient, change: Change
    ) -> None:
        """RFC 9110 13.1.1: the condition is false when nothing matches."""
        heedless = Heedless(a=File(THEIRS, None))
        async with scripted_server(heedless) as server:
            with pytest.raises(ConflictError):
                await change(make_client(), server.url, V1)  # type: ignore[misc]
        assert heedless.bytes == {"a": THEIRS}

    async def test_any_version_may_lack_a_tag(
        self, make_client: MakeClient, change: Change
    ) -> None:
        """A star is for whatever is there."""
        heedless = Heedless(a=File(THEIRS, None))
        async with scripted_server(heedless) as server:
            star = UploadCondition(if_match="*")
            await change(make_client(), server.url, star)  # type: ignore[misc]
        assert heedless.bytes.get("a") in (MINE, None)

    @pytest.mark.parametrize("later_s", [-1000, 1000])
    async def test_an_older_file_put_in_place_is_another_version(
        self, make_client: MakeClient, change: Change, later_s: int
    ) -> None:
        """``rsync -t`` and ``cp -p`` bring their times along."""
        heedless = Heedless(a=File(THEIRS, None, TIME_S + later_s))
        async with scripted_server(heedless) as server:
            with pytest.raises(ConflictError):
                await change(make_client(), server.url, AS_OF)  # type: ignore[misc]
        assert heedless.bytes == {"a": THEIRS}

    async def test_nothing_is_no_version(self, make_client: MakeClient, change: Change) -> None:
        """Neither by its tag nor by its date."""
        heedless = Heedless()
        async with scripted_server(heedless) as server:
            for condition in (V1, AS_OF):
                with pytest.raises((ConflictError, NotFoundError)):
                    await change(make_client(), server.url, condition)  # type: ignore[misc]
        assert heedless.bytes == {}


class TestMoves:
    """A 412 that is about the new name."""

    @pytest.mark.parametrize("condition", [UploadCondition(), V1], ids=["none", "tag"])
    async def test_a_refusal_to_overwrite_shows_nothing_of_conditions(
        self, make_client: MakeClient, condition: UploadCondition
    ) -> None:
        """nginx minds ``Overwrite: F`` and ignores ``If-Match``."""
        heedless = Heedless(a=File(), c=File(THEIRS, '"theirs"'))
        # Looked at before the move, the new name is free.
        free = heedless.files
        async with scripted_server(heedless) as server:
            backend = make_client()
            heedless.refusals = [412]
            with pytest.raises(ConflictError):
                await backend.move(
                    server.url + "a", server.url + "b", condition=condition, overwrite=False
                )
            with pytest.raises(ConflictError):
                await backend.put(server.url + "c", Bytes(MINE), condition=V1)
        assert free["/c"].data == THEIRS
