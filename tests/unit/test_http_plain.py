"""Plain answers: what is one, what is left to aiohttp, and that pieces make no difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache.backends.http_plain import (
    HEAD_BYTES_MAX,
    PlainFields,
    UnusualError,
    after_continue,
    field_lines,
    is_plain_name,
    next_answer,
    next_head,
    plain_request,
)

BODY = b"0123456789"
PLAIN = (
    b'HTTP/1.1 200 OK\r\nServer: some/1.0\r\nETag:"1"\r\nContent-Length: 10\r\n'
    b"X-Empty:\r\nLast-Modified:  Mon, 01 Jan 2024 00:00:00 GMT \r\n\r\n"
)
FIELDS = [
    ("Server", "some/1.0"),
    ("ETag", '"1"'),
    ("Content-Length", "10"),
    ("X-Empty", ""),
    ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
]


def test_a_plain_answer_is_taken_apart() -> None:
    """Its fields in order, without the blanks around them; what follows is counted off."""
    found = next_answer(PLAIN + BODY + b"HTTP", 64)
    assert found is not None
    assert (found.status, found.fields, found.body) == (200, FIELDS, BODY)
    assert (found.length, found.is_last) == (len(PLAIN + BODY), False)


@given(st.integers(0, len(PLAIN + BODY) - 1))
def test_the_beginning_of_an_answer_is_no_answer_yet(length: int) -> None:
    """However much of it is there."""
    assert next_answer((PLAIN + BODY)[:length], 64) is None


@pytest.mark.parametrize("status", [b"200 OK", b"304 Not Modified", b"404 Not Found"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 999999999\r\n"])
def test_the_answer_to_a_head_has_no_body(status: bytes, length: bytes) -> None:
    """Whatever length it tells; what follows is not its own."""
    head = b"HTTP/1.1 " + status + b'\r\nETag: "1"\r\n' + length + b"\r\n"
    found = next_answer(head + BODY, 64, to_head=True)
    assert found is not None
    assert (found.status, found.body, found.length) == (int(status[:3]), b"", len(head))
    assert next_answer(head[:-1], 64, to_head=True) is None


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 206 Partial\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
        b"HTTP/1.1 412 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n ETag: 1\r\n\r\n",
    ],
)
def test_answers_to_a_head_can_be_unusual(head: bytes) -> None:
    """Those are aiohttp's."""
    with pytest.raises(UnusualError):
        next_answer(head, 64, to_head=True)


@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close", b"upgrade"])
def test_what_closes_the_connection_is_the_last(value: bytes) -> None:
    """Only ``keep-alive`` alone keeps it, and nothing at all."""
    head = b"HTTP/1.1 404 Gone\r\nConnection: " + value + b"\r\nContent-Length: 0\r\n\r\n"
    found = next_answer(head, 64)
    assert found is not None
    assert (found.status, found.is_last) == (404, True)
    kept = next_answer(head.replace(value, b"Keep-Alive"), 64)
    assert kept is not None
    assert not kept.is_last


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 206 Part\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Same\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 412 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xc2\xb2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n Content-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1  200 OK\r\nContent-Length: 4\r\n\r\n",
        b"SSH-2.0-server\r\n\r\n",
        b"x" * (HEAD_BYTES_MAX + 1),
    ],
)
def test_what_is_not_plain_is_left_to_others(head: bytes) -> None:
    """And never half believed."""
    with pytest.raises(UnusualError):
        next_answer(head, 64)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_never_fail_otherwise(data: bytes) -> None:
    """After a good beginning, too."""
    for text in (data, b"HTTP/1.1 200 OK\r\n" + data, b"HTTP/1.1 200 OK\r\nA:" + data):
        try:
            found = next_answer(text, 64)
        except UnusualError:
            continue
        assert found is None or len(found.body) <= 64


def test_a_request_is_one_line_and_its_fields() -> None:
    """As it is sent."""
    lines = field_lines({"Host": "there", "X": "ü"})
    expected = "GET /a%20b?c=/d HTTP/1.1\r\nHost: there\r\nX: ü\r\n\r\n"
    assert plain_request("/a%20b?c=/d", lines) == expected.encode()


@pytest.mark.parametrize("target", ["", "a", "/a b", "/a\r\nX: y", "/\x7f", "/ü", "/a#b"])
def test_a_target_that_would_be_more_than_one_word_is_not_sent(target: str) -> None:
    """It could say something else."""
    assert plain_request(target, b"") is None


@pytest.mark.parametrize("status", [200, 206, 301, 404, 412, 416, 503])
def test_a_head_of_any_answer_tells_where_its_body_begins_and_how_long_it_is(status: int) -> None:
    """However long that is, and whatever of it has come."""
    data = b"HTTP/1.1 %d So\r\nContent-Length: 5000000000\r\n\r\n" % status
    for come in (b"", b"some"):
        found = next_head(data + come)
        assert found is not None
        assert (found.status, found.end, found.body_bytes) == (status, len(data), 5_000_000_000)
        assert not found.is_last
    assert next_head(data[:-1]) is None


@pytest.mark.parametrize(("status", "to_head"), [(204, False), (304, False), (200, True)])
def test_some_answers_have_no_body_whatever_they_tell(status: int, to_head: bool) -> None:
    """By their status, or by what they answer."""
    for told in (b"", b"Content-Length: 7\r\n"):
        data = b"HTTP/1.1 %d So\r\n%b\r\n" % (status, told)
        found = next_head(data, to_head=to_head)
        assert found is not None
        assert found.body_bytes == 0


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
        b"x" * (HEAD_BYTES_MAX + 1),
    ],
)
def test_a_head_whose_body_nobody_can_count_is_unusual(data: bytes) -> None:
    """Nor is one of another HTTP."""
    with pytest.raises(UnusualError):
        next_head(data)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_a_head_whose_lines_end_otherwise_is_unusual_and_not_waited_for(end: bytes) -> None:
    """aiohttp may know it; nothing more would come."""
    for head in (b"HTTP/1.1 200 OK\r\nContent-Length: 0", b"HTTP/1.1 200 OK\nContent-Length: 0"):
        with pytest.raises(UnusualError):
            next_head(head + end)


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_where_only_the_head_matters_an_answer_may_end_with_it(fields: bytes) -> None:
    """But not where its length is told wrongly; then the connection is of no more use."""
    found = next_head(b"HTTP/1.1 201 So\r\n" + fields + b"\r\nrest", ends_with_head=True)
    assert found is not None
    assert (found.status, found.body_bytes, found.is_last) == (201, 0, True)
    for wrong in (b"Content-Length: +1", b"Content-Length: 1\r\nContent-Length: 2"):
        with pytest.raises(UnusualError):
            next_head(b"HTTP/1.1 201 So\r\n" + wrong + b"\r\n\r\n", ends_with_head=True)


def test_a_word_that_a_body_is_welcome_is_taken_off() -> None:
    """With its fields; all of it, or nothing yet, and nothing else."""
    for word in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100\r\nX: y\r\n\r\n"):
        assert after_continue(word + PLAIN) == PLAIN
        assert after_continue(word) == b""
        assert all(after_continue(word[:length]) is None for length in range(len(word)))
    assert after_continue(PLAIN) is None
    assert after_continue(b"HTTP/1.1 101 Other\r\n\r\n") is None


def test_fields_are_found_whatever_their_case() -> None:
    """The first line of a name, or all of them, in order."""
    found = PlainFields([("ETag", '"1"'), ("A", "b"), ("a", "c")])
    assert (found["etag"], found.get("ETAG"), found.get("None")) == ('"1"', '"1"', None)
    assert ("a" in found, "b" in found, len(found), list(found)) == (True, False, 2, ["etag", "a"])
    assert (found["A"], found.getall("A", ()), found.getall("x", ())) == ("b", ["b", "c"], ())


@pytest.mark.parametrize("name", ["", "X Name", "X:", "X\r\nY", "caf\u00e9", " X"])
def test_what_is_no_name_of_a_field(name: str) -> None:
    """Sent as one, it would be another field, or none."""
    assert not is_plain_name(name)
    assert is_plain_name("X-Name")
