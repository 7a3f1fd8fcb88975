"""Several ranges from servers that join, reorder or leave out parts, fail, or mean harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.extent import Extent
from netcache.backends.http import HttpBackend
from netcache.errors import (
    NetCacheError,
    NotOfferedError,
    RemoteProtocolError,
    RemoteTimeoutError,
    StaleError,
    TransientError,
)
from tests.conformance.peers import pattern, version_of
from tests.conformance.ranges_suite import Places, ranges
from tests.support.http_rig import DATA, MIB, MakeClient, Rig
from tests.support.proxy import Scripted, always, answer, scripted_server

BOUNDARY = "THIS_SEPARATES"
SIZE = 4 * MIB
FILE = pattern(SIZE, seed=9)
ASKED = [Extent(0, 10), Extent(1_000, 2_000), Extent(3 * MIB, 3 * MIB + 100)]
EXPECTED = Version(Validator(ValidatorKind.STRONG_ETAG, '"v1"'), SIZE)


def part(start: int, end: int, total: object = SIZE, *, extra: str = "") -> bytes:
    """One part, with its delimiter."""
    head = f"\r\n--{BOUNDARY}\r\n{extra}Content-Range: bytes {start}-{end - 1}/{total}\r\n\r\n"
    return head.encode() + FILE[start:end]


END = f"\r\n--{BOUNDARY}--\r\n".encode()
FIRST, SECOND, THIRD = (part(*extent) for extent in ASKED)


def several(*parts: bytes, **fields: str) -> bytes:
    """A response of several parts."""
    kind = f"multipart/byteranges; boundary={BOUNDARY}"
    return answer(206, b"".join(parts), **{"ETag": '"v1"', "Content_Type": kind} | fields)


def one(start: int, end: int, **fields: str) -> bytes:
    """A response of one part."""
    where = f"bytes {start}-{end - 1}/{SIZE}"
    return answer(206, FILE[start:end], **{"ETag": '"v1"', "Content_Range": where} | fields)


async def asked(
    backend: HttpBackend,
    url: str,
    extents: Sequence[Extent] = ASKED,
    expected: Version = EXPECTED,
    places: Places | None = None,
) -> tuple[list[Extent], Places]:
    """Ask, and take what comes; all of it must be right."""
    places = places if places is not None else Places()
    reply = await backend.open_ranges(url, extents, expected=expected)
    came = await reply.receive(places)
    assert came == places.extents
    assert places.are_those_of(FILE)
    return came, places


class TestAnswers:
    """What RFC 9110 14.6 and 15.3.7 allow."""

    async def test_question(self, make_client: MakeClient) -> None:
        """The ranges, the pin, and nothing else that would change the answer."""
        async with scripted_server(always(several(FIRST, SECOND, THIRD, END))) as server:
            await asked(make_client(), server.url + "a")
        head = server.seen[0].headers
        assert head["range"] == f"bytes=0-9, 1000-1999, {3 * MIB}-{3 * MIB + 99}"
        assert head["if-match"] == '"v1"'
        assert head["accept-encoding"] == "identity"
        assert "if-range" not in head

    @pytest.mark.parametrize(
        ("response", "came"),
        [
            pytest.param(several(FIRST, SECOND, THIRD, END), ASKED, id="as asked"),
            pytest.param(several(THIRD, FIRST, SECOND, END), ASKED, id="reordered"),
            pytest.param(several(part(0, 2_000), THIRD, END), ASKED, id="two joined"),
            pytest.param(several(FIRST, THIRD, END), [ASKED[0], ASKED[2]], id="one left out"),
            pytest.param(several(part(5, 10), END), [Extent(5, 10)], id="only a piece"),
            pytest.param(
                several(FIRST, part(900, 2_100), END), ASKED[:2], id="more than was asked"
            ),
            pytest.param(
                several(part(0, 10, "*"), part(1_000, 2_000, "*"), END), ASKED[:2], id="no total"
            ),
            pytest.param(
                several(part(0, 10, extra='ETag: "v1"\r\nX: y\r\n'), END), ASKED[:1], id="titled"
            ),
            pytest.param(several(b"pre", FIRST, END, b"post"), ASKED[:1], id="text around"),
            pytest.param(several(END), [], id="nothing"),
            pytest.param(one(0, 10), ASKED[:1], id="only the first"),
            pytest.param(one(1_200, 1_300), [Extent(1_200, 1_300)], id="only a piece, alone"),
        ],
    )
    async def test_answer_is_taken(
        self, make_client: MakeClient, response: bytes, came: list[Extent]
    ) -> None:
        """What was asked for and came is handed over, the connection is used again."""
        async with scripted_server(always(response)) as server:
            backend = make_client()
            found, _ = await asked(backend, server.url + "a")
            assert found == came
            if backend.capabilities(server.url).multi_ranges:
                await asked(backend, server.url + "a")
                assert server.seen[0].connection == server.seen[1].connection

    @pytest.mark.parametrize("response", [one(0, 10), one(0, 2_000)])
    async def test_one_range_of_several_is_remembered(
        self, make_client: MakeClient, response: bytes
    ) -> None:
        """A server that answers to one of the ranges is not asked for several again."""
        async with scripted_server(always(response)) as server:
            backend = make_client()
            await asked(backend, server.url + "a")
            with pytest.raises(NotOfferedError):
                await asked(backend, server.url + "a")
            assert len(server.seen) == 1

    async def test_joined_ranges_are_several(self, make_client: MakeClient) -> None:
        """All of them in one part is an answer to all of them."""
        close = [Extent(0, 10), Extent(60, 70), Extent(100, 200)]
        async with scripted_server(always(one(0, 200))) as server:
            backend = make_client()
            found, _ = await asked(backend, server.url + "a", close)
            assert found == close
            assert backend.capabilities(server.url).multi_ranges is True

    async def test_small_resource_may_come_whole(self, make_client: MakeClient) -> None:
        """All of a small resource costs less than a second exchange."""
        small = EXPECTED._replace(size=500_000)
        close = [Extent(0, 10), Extent(400_000, 400_010)]
        response = answer(200, FILE[:500_000], ETag='"v1"')
        async with scripted_server(always(response)) as server:
            backend = make_client()
            for _ in range(2):
                found, places = await asked(backend, server.url + "a", close, small)
                assert found == close
                assert sum(map(len, places.found.values())) == 20
            assert server.seen[0].connection == server.seen[1].connection

    @pytest.mark.parametrize(
        "response",
        [
            pytest.param(answer(200, FILE, ETag='"v1"'), id="everything"),
            pytest.param(one(0, 3 * MIB + 100), id="joined over a wide gap"),
            pytest.param(several(FIRST, part(1_000, 3 * MIB), END), id="a wide part"),
        ],
    )
    async def test_much_that_was_not_asked_for_is_not_received(
        self, make_client: MakeClient, response: bytes
    ) -> None:
        """It ends there and then; the server is not asked for several ranges again."""
        async with scripted_server(always(response)) as server:
            backend = make_client()
            for _ in range(2):
                with pytest.raises(NotOfferedError):
                    await asked(backend, server.url + "a")
            assert backend.capabilities(server.url).multi_ranges is False
            assert len(server.seen) == 1

    async def test_chunked_answer(self, make_client: MakeClient) -> None:
        """A body whose length is not told beforehand."""
        whole = several(FIRST, SECOND, THIRD, END)
        head, _, body = whole.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if b"Content-Length" not in line]
        chunks = [body[n : n + 7] for n in range(0, len(body), 7)]
        text = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        response = b"\r\n".join([*lines, b"Transfer-Encoding: chunked"]) + b"\r\n\r\n" + text
        async with scripted_server(always(response)) as server:
            found, _ = await asked(make_client(), server.url + "a")
        assert found == ASKED


class TestWrongAnswers:
    """Nothing wrong reaches the sink; what came before is right."""

    @pytest.mark.parametrize(
        ("response", "error"),
        [
            pytest.param(several(FIRST, END, ETag='"v2"'), StaleError, id="other tag"),
            pytest.param(several(part(0, 10, SIZE + 1), END), StaleError, id="other total"),
            pytest.param(
                several(part(0, 10, extra='ETag: "v2"\r\n'), END), StaleError, id="part's other tag"
            ),
            pytest.param(answer(412), StaleError, id="412"),
            pytest.param(answer(416, ETag='"v1"', Content_Range="bytes */5"), StaleError, id="416"),
            pytest.param(answer(200, FILE[:5], ETag='"v1"'), StaleError, id="whole, other size"),
            pytest.param(answer(200, FILE, ETag='"v2"'), StaleError, id="whole, other tag"),
            pytest.param(answer(206, b"", ETag='"v1"'), RemoteProtocolError, id="no place"),
            pytest.param(several(FIRST, END, ETag=""), RemoteProtocolError, id="no tag"),
            pytest.param(
                several(FIRST, END, Content_Encoding="gzip"), RemoteProtocolError, id="encoded"
            ),
            pytest.param(
                several(FIRST, END, Content_Type="multipart/byteranges"),
                RemoteProtocolError,
                id="no boundary",
            ),
            pytest.param(one(0, 10, Content_Length="9"), RemoteProtocolError, id="short one"),
            pytest.param(several(part(500, 600), END), RemoteProtocolError, id="never asked for"),
            pytest.param(several(part(0, SIZE), END), RemoteProtocolError, id="past the last"),
            pytest.param(one(0, SIZE), RemoteProtocolError, id="one past the last"),
            pytest.param(several(FIRST, FIRST, END), RemoteProtocolError, id="twice"),
            pytest.param(
                several(FIRST, part(5, 2_000), END), RemoteProtocolError, id="overlapping"
            ),
            pytest.param(
                several(*(part(n, n + 1) for n in range(4)), END), RemoteProtocolError, id="many"
            ),
            pytest.param(several(FIRST, b"x", END), RemoteProtocolError, id="longer part"),
            pytest.param(several(FIRST[:-1], END), RemoteProtocolError, id="shorter part"),
            pytest.param(
                several(part(1_000, 2_000)[:-100], FIRST, END), NotOfferedError, id="much shorter"
            ),
            pytest.param(several(FIRST, SECOND), RemoteProtocolError, id="no end"),
            pytest.param(several(b"x" * 10_000), RemoteProtocolError, id="no part"),
            pytest.param(
                several(FIRST, b"\r\n--", BOUNDARY.encode(), b"\r\nX: y\r\n\r\nabc", END),
                RemoteProtocolError,
                id="a part without a place",
            ),
            pytest.param(
                several(b"\r\n--", BOUNDARY.encode(), b"\r\n", b"A: b\r\n" * 10_000),
                RemoteProtocolError,
                id="endless head",
            ),
        ],
    )
    async def test_wrong_answer(
        self, make_client: MakeClient, response: bytes, error: type[NetCacheError]
    ) -> None:
        """The error says what is wrong, and names the resource."""
        places = Places()
        async with scripted_server(always(response)) as server:
            with pytest.raises(error) as caught:
                await asked(make_client(), server.url + "a", places=places)
        assert places.are_those_of(FILE)
        assert caught.value.url == server.url + "a"
        assert server.url + "a" in str(caught.value)


def cutting(server_says: bytes, *, stall: bool) -> Callable[..., Any]:
    """A script that gives a response and then closes, or says nothing more."""

    async def script(seen: object, reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(server_says)
        if not stall:
            writer.close()

    return script


class TestFailures:
    """Bodies that break off."""

    @pytest.mark.parametrize("declared", [True, False])
    @pytest.mark.parametrize("cut", [0, 30, 60, 500, 1_100, 1_200])
    async def test_connection_is_lost(
        self, make_client: MakeClient, cut: int, declared: bool
    ) -> None:
        """Transient, and what has come was handed over."""
        body = FIRST + SECOND + THIRD + END
        response = several(body, Content_Length=str(len(body)))
        head = response[: response.index(b"\r\n\r\n") + 4]
        if not declared:
            head = head.replace(b"Content-Length: %d\r\n" % len(body), b"")
        places = Places()
        async with scripted_server(cutting(head + body[:cut], stall=False)) as server:
            reply = await make_client().open_ranges(server.url + "a", ASKED, expected=EXPECTED)
            with pytest.raises(TransientError, match="broke off"):
                await reply.receive(places)
        assert places.are_those_of(FILE)
        # A part counts when the delimiter behind it has come.
        assert (places.pieces[:1] == ASKED[:1]) is (cut >= 500)
        assert (sum(piece.length for piece in places.pieces) > 900) is (cut >= 1_100)

    async def test_no_byte_comes(self, make_client: MakeClient) -> None:
        """A server that falls silent is given up."""
        response = several(FIRST, SECOND, THIRD, END)
        places = Places()
        async with scripted_server(cutting(response[:-1_000], stall=True)) as server:
            backend = make_client(timeout_s=1.0)
            reply = await backend.open_ranges(server.url + "a", ASKED, expected=EXPECTED)
            with pytest.raises(RemoteTimeoutError):
                await reply.receive(places)
        assert places.are_those_of(FILE)
        assert Extent(0, 10) in places.pieces

    @pytest.mark.parametrize("effects", [{"refuse": True}, {"status": 503}])
    async def test_head_is_asked_for_again(self, rig: Rig, effects: dict[str, Any]) -> None:
        """The opening is retried like every read's."""
        backend = rig.client()
        version = await version_of(backend, rig.url)
        rig.faults(method=("GET",), **effects, count=2)
        reply = await backend.open_ranges(rig.url, [Extent(0, 5), Extent(9, 12)], expected=version)
        places = Places()
        assert await reply.receive(places) == [Extent(0, 5), Extent(9, 12)]
        assert places.are_those_of(DATA)

    async def test_body_that_is_cut_by_the_server(self, rig: Rig) -> None:
        """With a real server: what was handed over is right, the rest can be asked for."""
        backend = rig.client()
        version = await version_of(backend, rig.url)
        extents = [Extent(0, 100_000), Extent(2 * MIB, 2 * MIB + 100_000)]
        rig.faults(method=("GET",), cut_after=150_000, count=1)
        places = Places()
        reply = await backend.open_ranges(rig.url, extents, expected=version)
        with pytest.raises(TransientError):
            await reply.receive(places)
        assert places.are_those_of(DATA)
        assert places.extents[0] == extents[0]
        came, _ = await ranges(backend, rig.url, extents)
        assert came == extents

    async def test_one_exchange(self, rig: Rig) -> None:
        """Several extents are one request, of not much more than their bytes."""
        backend = rig.client()
        version = await version_of(backend, rig.url)
        rig.server.clear_log()
        extents = [Extent(n * 50_000, n * 50_000 + 1_000) for n in range(50)]
        reply = await backend.open_ranges(rig.url, extents, expected=version)
        await reply.receive(Places())
        (record,) = rig.log()
        assert record["bytes_sent"] < 50 * 1_200

    async def test_rate_limit(self, rig: Rig) -> None:
        """Ranges are counted like other bodies, in small steps."""
        backend = rig.client(bandwidth_limit=400 * MIB)
        came, places = await ranges(backend, rig.url, [Extent(0, MIB), Extent(2 * MIB, 3 * MIB)])
        assert came == [Extent(0, MIB), Extent(2 * MIB, 3 * MIB)]
        assert places.are_those_of(DATA)


async def test_scripted_servers_see_one_question(make_client: MakeClient) -> None:
    """A lasting refusal is not repeated."""
    server: Scripted
    async with scripted_server(always(answer(403))) as server:
        with pytest.raises(PermissionError):
            await asked(make_client(), server.url + "a")
        assert len(server.seen) == 1
