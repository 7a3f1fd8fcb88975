"""The parser of bodies of several parts: any body, cut anywhere; hostile ones are bounded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netcache.backends.http_fields import content_range
from netcache.backends.http_multipart import HEAD_BYTES_MAX, MultipartParser, boundary_of
from netcache.errors import NotOfferedError, RemoteProtocolError

BOUNDARY = b"3d6b6a416f9b5"
CRLF = b"\r\n"
INSIDE = "a body of several parts has a delimiter inside a part"


def head(start: int, end: int, total: int = 1 << 40, *, extra: bytes = b"") -> bytes:
    """The head of a part."""
    return (
        b"Content-Type: text/plain\r\n"
        + extra
        + b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (start, end - 1, total)
    )


def body(
    parts: Iterable[tuple[int, bytes]],
    *,
    preamble: bytes = b"",
    padding: bytes = b"",
    epilogue: bytes = CRLF,
    boundary: bytes = BOUNDARY,
) -> bytes:
    """A whole body of parts: where each begins, and its bytes."""
    delimiter = CRLF + b"--" + boundary
    text = b"".join(
        delimiter + padding + CRLF + head(start, start + len(data)) + data for start, data in parts
    )
    text += delimiter + b"--" + epilogue
    return preamble + text if preamble else text[2:]


class Taker:
    """Takes parts apart and keeps them."""

    def __init__(self, boundary: bytes = BOUNDARY) -> None:
        self.parts: list[tuple[int, bytearray]] = []
        self.heads: list[Mapping[str, str]] = []
        self.parser = MultipartParser(boundary, self._begin, self._take)

    def _begin(self, fields: Mapping[str, str]) -> int:
        self.heads.append(fields)
        found = content_range(fields.get("content-range"))
        if found is None or found.start is None or found.end is None:
            raise RemoteProtocolError("a part without a place")
        self.parts.append((found.start, bytearray()))
        return found.end - found.start

    def _take(self, view: memoryview) -> None:
        assert len(view)
        self.parts[-1][1].extend(view)

    def feed(self, pieces: Iterable[bytes]) -> str:
        """All of a body; what became of it."""
        try:
            for piece in pieces:
                self.parser.feed(piece)
        except (RemoteProtocolError, NotOfferedError) as error:
            return str(error)
        return "complete" if self.parser.complete else "open"

    def outcome(self, pieces: Iterable[bytes]) -> tuple[str, list[tuple[int, bytes]]]:
        """What became of it, and the parts."""
        end = self.feed(pieces)
        return end, [(start, bytes(data)) for start, data in self.parts]


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    """``text`` in pieces, some of which may be empty."""
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


TRICKY = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.sampled_from(
        [
            b"\r\n--" + BOUNDARY + b"\r\n",
            b"\r\n--" + BOUNDARY + b"--\r\n",
            b"--" + BOUNDARY,
            b"\r\n\r\n",
            b"\r",
            b"\n",
            b"-",
        ]
    ),
)
DATA = st.lists(TRICKY, min_size=1, max_size=4).map(b"".join)
DELIMITER = CRLF + b"--" + BOUNDARY
PARTS = st.lists(st.tuples(st.integers(0, 1 << 39), DATA), max_size=5)
PREAMBLES = st.sampled_from(
    [b"", b"x", b"This is text.\r\nMore.", b"--" + BOUNDARY + b"x", b"\r\n"]
)
PADDINGS = st.sampled_from([b"", b" ", b"\t  "])
EPILOGUES = st.sampled_from([b"", b"\r\n", b"\r\nsomething --x--\r\n"])


def check(parts: list[tuple[int, bytes]], outcome: tuple[str, list[tuple[int, bytes]]]) -> None:
    """All parts, or those before a delimiter that stands inside one."""
    end, found = outcome
    for number, (start, data) in enumerate(parts):
        inside = data.find(DELIMITER)
        if inside >= 0:
            assert end == INSIDE
            assert found[:number] == parts[:number]
            assert found[number][0] == start
            assert data[:inside].startswith(found[number][1])
            assert len(found) == number + 1
            return
    assert outcome == ("complete", parts)


@settings(max_examples=40)
@given(PARTS, PREAMBLES, PADDINGS, EPILOGUES)
def test_any_body_cut_at_every_place(
    parts: list[tuple[int, bytes]], preamble: bytes, padding: bytes, epilogue: bytes
) -> None:
    """Two pieces, cut at each place in turn: always the same parts."""
    text = body(parts, preamble=preamble, padding=padding, epilogue=epilogue)
    for place in range(len(text) + 1):
        check(parts, Taker().outcome([text[:place], text[place:]]))


@given(PARTS, st.lists(st.integers(0, 1 << 20), max_size=30))
def test_any_body_in_many_pieces(parts: list[tuple[int, bytes]], places: list[int]) -> None:
    """Many pieces, down to single bytes."""
    text = body(parts, preamble=b"hello")
    check(parts, Taker().outcome(cut(text, places)))
    check(parts, Taker().outcome(text[place : place + 1] for place in range(len(text))))


@given(PARTS, st.data())
def test_body_that_ends_early_is_never_complete(
    parts: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """Up to the last byte of its closing delimiter; and no byte was made up."""
    text = body(parts, epilogue=b"")
    text = text[: data.draw(st.integers(0, len(text) - 1))]
    taker = Taker()
    assert taker.feed([text]) in ("open", INSIDE)
    for (start, got), (wanted_start, wanted) in zip(taker.parts, parts, strict=False):
        assert start == wanted_start
        assert wanted.startswith(got)


SOUP = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [
                CRLF,
                b"--" + BOUNDARY,
                b"--" + BOUNDARY + CRLF,
                CRLF + b"--" + BOUNDARY + CRLF,
                CRLF + b"--" + BOUNDARY + b"--",
                head(0, 3),
                head(3, 4),
                b"Content-Range: bytes 5-1/7",
                b"x" * 100,
                b" " * 100,
                b"abc",
            ]
        ),
    ),
    max_size=12,
).map(b"".join)


@given(SOUP, st.lists(st.integers(0, 1 << 20), max_size=10))
def test_any_bytes_mean_the_same_however_they_are_cut(soup: bytes, places: list[int]) -> None:
    """Nonsense is refused, or not, independently of where it is cut; nothing else is raised."""
    end, parts = Taker().outcome([soup])
    for pieces in (cut(soup, places), [soup[n : n + 1] for n in range(len(soup))]):
        other_end, other_parts = Taker().outcome(pieces)
        assert other_end == end
        if end == INSIDE:
            # How much of the last part was passed on before that was seen depends on the pieces.
            common = min(len(parts[-1][1]), len(other_parts[-1][1]))
            parts[-1] = (parts[-1][0], parts[-1][1][:common])
            other_parts[-1] = (other_parts[-1][0], other_parts[-1][1][:common])
        assert other_parts == parts


@given(DATA, st.integers(1, 80), st.booleans())
def test_nothing_behind_a_short_part_is_passed_on(data: bytes, lacking: int, last: bool) -> None:
    """A part that lacks bytes is refused before what follows it is taken for its data."""
    short = data[: max(0, len(data) - lacking)]
    text = DELIMITER + CRLF + head(0, len(data)) + short
    text += DELIMITER + b"--" if last else DELIMITER + CRLF + head(500, 600) + b"x" * 100
    for place in range(len(text) + 1):
        end, parts = Taker().outcome([text[:place], text[place:] + DELIMITER + b"--" + CRLF])
        assert end != "complete"
        assert short.startswith(parts[0][1])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"x" * (HEAD_BYTES_MAX + 1), id="endless preamble"),
        pytest.param(b"--" + BOUNDARY + b" " * (1 << 20), id="endless padding"),
        pytest.param(b"--" + BOUNDARY + CRLF + b"A: b\r\n" * (1 << 16), id="endless head"),
        pytest.param(b"--" + BOUNDARY + CRLF + b"A" * (1 << 20), id="endless field"),
        pytest.param(
            b"--" + BOUNDARY + CRLF + head(0, 1) + b"x" + b"y" * (1 << 20), id="no delimiter"
        ),
        pytest.param(body([]) + b"z" * (1 << 20), id="endless epilogue"),
    ],
)
@pytest.mark.parametrize("step", [1, 1000, 1 << 21])
def test_hostile_body_is_refused_before_much_is_held(text: bytes, step: int) -> None:
    """Nothing grows without bound; the refusal comes as soon as the bound is passed."""
    taker = Taker()
    pieces = (text[start : start + step] for start in range(0, len(text), step))
    fed = 0
    for piece in pieces:
        fed += len(piece)
        if taker.feed([piece]) not in ("open", "complete"):
            break
        assert taker.parser.held_bytes <= HEAD_BYTES_MAX
    else:
        pytest.fail("it was taken")
    assert fed <= 2 * HEAD_BYTES_MAX + step
    assert taker.parser.held_bytes <= HEAD_BYTES_MAX


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"Content-Range bytes 0-0/1", id="no colon"),
        pytest.param(b": x", id="no name"),
        pytest.param(b"Content-Range: bytes 0-0/1\r\n folded", id="folded"),
        pytest.param(b"Content Range: x", id="space in the name"),
        pytest.param(
            b"Content-Range: bytes 0-0/1\r\ncontent-range: bytes 1-1/2", id="the place twice"
        ),
    ],
)
def test_malformed_head(text: bytes) -> None:
    """A head that may be read in two ways is not read at all."""
    taker = Taker()
    with pytest.raises(RemoteProtocolError, match="head"):
        taker.parser.feed(b"--" + BOUNDARY + CRLF + text + CRLF + CRLF + b"xx")
    assert taker.heads == []


def test_fields_of_a_head() -> None:
    """Names in lower case, values without the space around them."""
    taker = Taker()
    text = b"--" + BOUNDARY + CRLF + head(2, 3, 9, extra=b"X-Y:\t z \r\n") + b"d"
    assert taker.feed([text]) == "open"
    assert taker.heads == [
        {"content-type": "text/plain", "x-y": "z", "content-range": "bytes 2-2/9"}
    ]


def test_part_without_a_head() -> None:
    """Its line breaks are understood; what to make of it is the caller's."""
    taker = Taker()
    assert taker.feed([b"--" + BOUNDARY + CRLF + CRLF]) == "a part without a place"
    assert taker.heads == [{}]


@pytest.mark.parametrize(
    ("text", "boundary"),
    [
        ("multipart/byteranges; boundary=THIS", b"THIS"),
        ("Multipart/ByteRanges;boundary=a", b"a"),
        ('multipart/byteranges; boundary="a b:c"', b"a b:c"),
        (
            "multipart/byteranges; charset=x; Boundary=gc0p4Jq0M2Yt08j34c0p/==",
            b"gc0p4Jq0M2Yt08j34c0p/==",
        ),
        ("multipart/byteranges; boundary=0001; x=y", b"0001"),
        ("multipart/byteranges", None),
        ("multipart/byteranges; boundary=", None),
        ('multipart/byteranges; boundary=""', None),
        ('multipart/byteranges; boundary="a "', None),
        ("multipart/byteranges; boundary=" + "x" * 71, None),
        ("multipart/mixed; boundary=THIS", None),
        ("text/plain", None),
        ("", None),
        (None, None),
    ],
)
def test_boundary(text: str | None, boundary: bytes | None) -> None:
    """What a Content-Type says; nothing when it says nothing sound."""
    assert boundary_of(text) == boundary
