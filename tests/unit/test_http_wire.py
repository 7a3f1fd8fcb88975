"""The wire rules of HTTP: fields, questions, and the judgement of reply heads."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from netcache._core.coherency import NO_VALIDATOR, Validator, ValidatorKind, Version
from netcache._core.extent import Extent
from netcache.backends import http_fields as fields
from netcache.backends.http_refusals import refusal
from netcache.backends.http_wire import (
    Head,
    ReadHead,
    ReadQuestion,
    condition_headers,
    contradicts,
    read_head,
    read_headers,
)
from netcache.errors import (
    AccessDeniedError,
    NotFoundError,
    RemoteError,
    RemoteProtocolError,
    StaleError,
    TransientError,
)
from netcache.spi import UploadCondition

URL = "http://host.invalid/a"
TAG = Validator(ValidatorKind.STRONG_ETAG, '"v1"')
WEAK_TAG = Validator(ValidatorKind.WEAK_ETAG, 'W/"v1"')
MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
MODIFIED_S = 1_700_000_000
DATE = Validator(ValidatorKind.STRONG_DATE, MODIFIED)
WEAK_DATE = Validator(ValidatorKind.WEAK_DATE, MODIFIED)
FULL = {"ETag": '"v1"', "Content-Length": "1000"}


def ask(
    extent: tuple[int, int] | None = None,
    *,
    expected: Version | None = None,
    unless: Validator | None = None,
) -> ReadQuestion:
    """A question for the one resource of these tests."""
    return ReadQuestion(URL, Extent(*extent) if extent else None, expected, unless)


def judge(question: ReadQuestion, status: int, headers: dict[str, str]) -> ReadHead:
    """The judgement of a reply with these fields."""
    return read_head(question, Head(status, CIMultiDict(headers), URL))


class TestFields:
    """Parsing of single fields."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("bytes 0-9/100", (0, 10, 100)),
            ("Bytes  5-5/6", (5, 6, 6)),
            ("bytes 0-9/*", (0, 10, None)),
            ("bytes */100", (None, None, 100)),
            ("bytes */0", (None, None, 0)),
            ("bytes 9-0/100", None),
            ("bytes 0-100/100", None),
            ("bytes */*", None),
            ("bytes 0-9", None),
            ("bytes=0-9/100", None),
            ("items 0-9/100", None),
            ("bytes -1-9/100", None),
            ("bytes 0-9/100, bytes 20-29/100", None),
            ("bytes 0-99999999999999999999/*", None),
            ("bytes ٠-٩/100", None),
            ("", None),
            (None, None),
        ],
    )
    def test_content_range(self, text: str | None, expected: object) -> None:
        """Only what is sound by itself is taken."""
        assert fields.content_range(text) == expected

    @given(st.integers(0, 10**12), st.integers(1, 10**9), st.none() | st.integers(0, 10**9))
    def test_content_range_round_trip(self, start: int, length: int, more: int | None) -> None:
        """What a server spells is what is read."""
        total = None if more is None else start + length + more
        text = f"bytes {start}-{start + length - 1}/{'*' if total is None else total}"
        assert fields.content_range(text) == (start, start + length, total)

    @given(st.text(max_size=40))
    def test_no_text_makes_a_parser_fail(self, text: str) -> None:
        """Whatever a server sends, parsers give an answer."""
        fields.content_range(text)
        fields.entity_tag(text)
        fields.http_date_s(text)
        fields.retry_after_s(text, 0.0)
        fields.sha256_digest(text)

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ('"abc"', ValidatorKind.STRONG_ETAG),
            ('""', ValidatorKind.STRONG_ETAG),
            ('W/"abc"', ValidatorKind.WEAK_ETAG),
            ('w/"abc"', None),
            ("abc", None),
            ('"a"b"', None),
            ('"a b"', None),
            ('"abc', None),
            ("", None),
            (None, None),
        ],
    )
    def test_entity_tag(self, text: str | None, kind: ValidatorKind | None) -> None:
        """Tags are case-sensitive, quoted, and weak only with ``W/``."""
        tag = fields.entity_tag(text)
        assert (tag.kind if tag else None) == kind

    @pytest.mark.parametrize(
        "text",
        [MODIFIED, "Tuesday, 14-Nov-23 22:13:20 GMT", "Tue Nov 14 22:13:20 2023"],
    )
    def test_http_dates_in_all_spellings(self, text: str) -> None:
        """The preferred, the obsolete and the C library's form mean the same."""
        assert fields.http_date_s(text) == MODIFIED_S

    def test_http_date_round_trip(self) -> None:
        """What is spelled is what is read."""
        assert fields.http_date(MODIFIED_S + 0.9) == MODIFIED
        assert fields.http_date_s("nonsense") is None

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"ETag": '"v1"', "Last-Modified": MODIFIED}, TAG),
            ({"ETag": 'W/"v1"'}, WEAK_TAG),
            ({"Last-Modified": MODIFIED, "Date": "Tue, 14 Nov 2023 22:13:21 GMT"}, DATE),
            ({"Last-Modified": MODIFIED, "Date": MODIFIED}, WEAK_DATE),
            ({"Last-Modified": MODIFIED}, WEAK_DATE),
            (
                {"ETag": 'W/"v1"', "Last-Modified": MODIFIED, "Date": MODIFIED},
                WEAK_TAG,
            ),
            (
                {
                    "ETag": 'W/"v1"',
                    "Last-Modified": MODIFIED,
                    "Date": "Wed, 15 Nov 2023 22:13:20 GMT",
                },
                DATE,
            ),
            ({"ETag": "unquoted"}, NO_VALIDATOR),
            ({"Last-Modified": "yesterday"}, NO_VALIDATOR),
            ({}, NO_VALIDATOR),
        ],
    )
    def test_best_validator(self, headers: dict[str, str], expected: Validator) -> None:
        """Strong before weak; a date is strong only a second after it (RFC 9110 8.8.2.2)."""
        assert fields.validator_of(CIMultiDict(headers)) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("120", 120.0),
            ("0", 0.0),
            (fields.http_date(1_000_090), 90.0),
            (fields.http_date(999_000), 0.0),
            ("soon", None),
            ("-5", None),
            (None, None),
        ],
    )
    def test_retry_after(self, text: str | None, expected: float | None) -> None:
        """Seconds, or a date from now on."""
        assert fields.retry_after_s(text, 1_000_000.0) == expected

    def test_digest_round_trip(self) -> None:
        """A digest that is spelled is the one that is read."""
        digest = hashlib.sha256(b"x").digest()
        assert fields.sha256_digest(fields.sha256_field(digest)) == digest

    def test_digest_among_others(self) -> None:
        """Other algorithms and parameters do not disturb."""
        digest = hashlib.sha256(b"x").digest()
        spelled = base64.b64encode(digest).decode()
        text = f"sha-512=:AAAA:, sha-256=:{spelled}:;a=1, md5=:BBBB:"
        assert fields.sha256_digest(text) == digest

    @pytest.mark.parametrize(
        "text",
        ["sha-256=:AAAA:", "sha-256=AAAA", "sha-2567=:AAAA:", "xsha-256=:AAAA:", "sha-256=::"],
    )
    def test_malformed_digest_is_none(self, text: str) -> None:
        """What is not the length of a SHA-256, or not a byte sequence, is none."""
        assert fields.sha256_digest(text) is None
        assert fields.whole_digest({"Repr-Digest": text, "Digest": text}) is None

    def test_the_digest_of_the_whole_in_either_field(self) -> None:
        """The newer one counts, where both are told; the digest of a part never does."""
        one, other = hashlib.sha256(b"x").digest(), hashlib.sha256(b"y").digest()
        older = f"md5=AAAA,SHA-256={base64.b64encode(other).decode()}"
        assert fields.whole_digest({"Digest": older}) == other
        both = {"Digest": older, "Repr-Digest": fields.sha256_field(one)}
        assert fields.whole_digest(both) == one
        assert fields.whole_digest({"Content-Digest": fields.sha256_field(one)}) is None


class TestQuestions:
    """The fields of requests."""

    def test_everything_has_no_range(self) -> None:
        """From 0 to the end is the same as all."""
        assert read_headers(ask()) == {}
        assert read_headers(ask((0, -1))) == {}

    def test_ranges(self) -> None:
        """The end on the wire is inclusive; an open end stays open."""
        assert read_headers(ask((0, 1))) == {"Range": "bytes=0-0"}
        assert read_headers(ask((5, 100))) == {"Range": "bytes=5-99"}
        assert read_headers(ask((5, -1))) == {"Range": "bytes=5-"}

    @pytest.mark.parametrize(
        ("validator", "headers"),
        [
            (TAG, {"If-Match": '"v1"'}),
            (DATE, {"If-Unmodified-Since": MODIFIED}),
            (WEAK_TAG, {}),
            (WEAK_DATE, {}),
            (NO_VALIDATOR, {}),
        ],
    )
    def test_pins(self, validator: Validator, headers: dict[str, str]) -> None:
        """Only strong validators can be a condition: weak ones never match strongly."""
        assert read_headers(ask(expected=Version(validator, 10))) == headers

    @pytest.mark.parametrize(
        ("validator", "headers"),
        [
            (TAG, {"If-None-Match": '"v1"'}),
            (WEAK_TAG, {"If-None-Match": 'W/"v1"'}),
            (DATE, {"If-Modified-Since": MODIFIED}),
            (WEAK_DATE, {"If-Modified-Since": MODIFIED}),
            (NO_VALIDATOR, {}),
        ],
    )
    def test_unless(self, validator: Validator, headers: dict[str, str]) -> None:
        """Any validator can ask whether it is current."""
        assert read_headers(ask(unless=validator)) == headers

    def test_upload_conditions(self) -> None:
        """Each part of a condition is a field of its own."""
        assert condition_headers(UploadCondition()) == {}
        assert condition_headers(UploadCondition('"v1"', False, MODIFIED)) == {
            "If-Match": '"v1"',
            "If-Unmodified-Since": MODIFIED,
        }
        assert condition_headers(UploadCondition(if_absent=True)) == {"If-None-Match": "*"}


class TestWholeReplies:
    """200."""

    def test_whole(self) -> None:
        """Size and validator make the version."""
        head = judge(ask(), 200, FULL | {"Last-Modified": MODIFIED})
        assert head == ReadHead(False, Version(TAG, 1000, MODIFIED_S), Extent(0, 1000), True, None)

    def test_unknown_length(self) -> None:
        """Chunked: no size, so no version."""
        head = judge(ask(), 200, {"ETag": '"v1"', "Transfer-Encoding": "chunked"})
        assert (head.version, head.extent) == (None, (0, -1))

    def test_ignored_range(self) -> None:
        """200 to a range says that ranges do not work."""
        assert judge(ask((10, 20)), 200, FULL).ranges_supported is False
        assert judge(ask((0, 20)), 200, FULL).ranges_supported is False
        assert judge(ask((10, -1)), 200, FULL).ranges_supported is False

    def test_range_that_covers_everything(self) -> None:
        """Some servers answer 200 to it, though they know ranges."""
        assert judge(ask((0, 1000)), 200, FULL).ranges_supported is None
        assert judge(ask((0, 4096)), 200, FULL).ranges_supported is None

    def test_denied_ranges(self) -> None:
        """``Accept-Ranges: none`` is a word too."""
        assert judge(ask(), 200, FULL | {"Accept-Ranges": "none"}).ranges_supported is False
        assert judge(ask(), 200, FULL | {"Accept-Ranges": "bytes"}).ranges_supported is None

    def test_encoded_bytes_are_refused(self) -> None:
        """They are not the resource's."""
        with pytest.raises(RemoteProtocolError, match="gzip"):
            judge(ask(), 200, FULL | {"Content-Encoding": "gzip"})
        judge(ask(), 200, FULL | {"Content-Encoding": "identity"})


class TestPartialReplies:
    """206."""

    def test_as_asked(self) -> None:
        """The extent, the whole size, and proof that ranges work."""
        headers = {"ETag": '"v1"', "Content-Range": "bytes 10-19/1000", "Content-Length": "10"}
        head = judge(ask((10, 20)), 206, headers)
        assert head == ReadHead(False, Version(TAG, 1000), Extent(10, 20), False, True)

    def test_cut_at_the_end(self) -> None:
        """What lies past the end cannot come."""
        head = judge(ask((990, 2000)), 206, {"Content-Range": "bytes 990-999/1000"})
        assert head.extent == (990, 1000)

    def test_less_than_asked_is_allowed(self) -> None:
        """Some servers limit the length of one reply."""
        head = judge(ask((0, 500)), 206, {"Content-Range": "bytes 0-99/1000"})
        assert head.extent == (0, 100)

    @pytest.mark.parametrize(
        ("question", "headers"),
        [
            ((10, 20), {}),
            ((10, 20), {"Content-Range": "bytes 11-19/1000"}),
            ((10, 20), {"Content-Range": "bytes 0-19/1000"}),
            ((10, 20), {"Content-Range": "bytes 10-20/1000"}),
            ((10, 20), {"Content-Range": "bytes */1000"}),
            ((10, 20), {"Content-Range": "bytes 10-19/15"}),
            ((10, 20), {"Content-Range": "bytes 10-19/1000", "Content-Length": "11"}),
            ((10, 20), {"Content-Range": "bytes 10-19/1000", "Content-Encoding": "gzip"}),
            ((10, 20), {"Content-Type": "multipart/byteranges; boundary=x"}),
            (None, {"Content-Range": "bytes 0-999/1000"}),
            ((0, -1), {"Content-Range": "bytes 0-999/1000"}),
        ],
    )
    def test_contradictions(
        self, question: tuple[int, int] | None, headers: dict[str, str]
    ) -> None:
        """Bytes of another place, or of no place, are never taken."""
        with pytest.raises(RemoteProtocolError):
            judge(ask(question), 206, {"ETag": '"v1"'} | headers)

    def test_unknown_total(self) -> None:
        """Legal; without a pin there is no version then."""
        headers = {"ETag": '"v1"', "Content-Range": "bytes 10-19/*"}
        assert judge(ask((10, 20)), 206, headers).version is None
        pinned = Version(TAG, 1000)
        assert judge(ask((10, 20), expected=pinned), 206, headers).version == pinned

    @given(
        start=st.integers(0, 300),
        length=st.integers(1, 300),
        delta=st.integers(-3, 3),
        growth=st.integers(-3, 3),
        size=st.integers(1, 400),
    )
    def test_never_another_place(
        self, start: int, length: int, delta: int, growth: int, size: int
    ) -> None:
        """Whatever the reply claims: the extent begins where asked and stays inside."""
        first, last = max(0, start + delta), start + delta + length + growth - 1
        text = f"bytes {first}-{last}/{size}"
        try:
            head = judge(ask((start, start + length)), 206, {"Content-Range": text})
        except RemoteProtocolError:
            return
        assert head.extent.start == start
        assert head.extent.end <= min(start + length, size)


class TestPinnedReplies:
    """Replies are compared, whatever became of the condition."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"ETag": '"v2"'},
            {"ETag": 'W/"v1"'},
            {"ETag": '"v1"', "Content-Range": "bytes 10-19/1001"},
        ],
    )
    def test_another_version_is_stale(self, headers: dict[str, str]) -> None:
        """Another tag, a weak one, another size."""
        question = ask((10, 20), expected=Version(TAG, 1000))
        with pytest.raises(StaleError):
            judge(question, 206, {"Content-Range": "bytes 10-19/1000"} | headers)

    def test_missing_validator_proves_nothing(self) -> None:
        """Without a tag nobody can tell which version the bytes are of."""
        question = ask((10, 20), expected=Version(TAG, 1000))
        headers = {"Content-Range": "bytes 10-19/1000", "Last-Modified": MODIFIED}
        with pytest.raises(RemoteProtocolError, match="ETag"):
            judge(question, 206, headers)

    def test_dates(self) -> None:
        """A date is compared as it is spelled, strong or weak by now."""
        question = ask((10, 20), expected=Version(DATE, 1000))
        headers = {"Content-Range": "bytes 10-19/1000"}
        assert judge(question, 206, headers | {"Last-Modified": MODIFIED}).version == Version(
            DATE, 1000
        )
        with pytest.raises(StaleError):
            judge(question, 206, headers | {"Last-Modified": fields.http_date(MODIFIED_S + 1)})

    def test_whole_reply_of_another_version(self) -> None:
        """Also where ranges are ignored."""
        with pytest.raises(StaleError):
            judge(ask((1, 2), expected=Version(TAG, 1000)), 200, FULL | {"ETag": '"v2"'})
        with pytest.raises(StaleError):
            judge(ask(expected=Version(TAG, 999)), 200, FULL)

    def test_size_alone(self) -> None:
        """Without a validator the size is all there is to compare."""
        assert judge(ask(expected=Version(NO_VALIDATOR, 1000)), 200, FULL).whole
        with pytest.raises(StaleError):
            judge(ask(expected=Version(NO_VALIDATOR, 1001)), 200, FULL)

    def test_failed_precondition(self) -> None:
        """412 answers a pin, and nothing else."""
        with pytest.raises(StaleError):
            judge(ask(expected=Version(TAG, 1000)), 412, {})
        with pytest.raises(RemoteProtocolError):
            judge(ask(), 412, {})


class TestNotModified:
    """304."""

    def test_answers_unless_only(self) -> None:
        """It needs a question that it can answer."""
        assert judge(ask(unless=TAG), 304, {}).not_modified
        with pytest.raises(RemoteProtocolError):
            judge(ask(), 304, {})

    def test_contradiction(self) -> None:
        """A 304 with another validator of the same kind is no confirmation."""
        assert contradicts(TAG, CIMultiDict({"ETag": '"v2"'}))
        assert contradicts(DATE, CIMultiDict({"Last-Modified": fields.http_date(1)}))
        assert not contradicts(TAG, CIMultiDict({"ETag": 'W/"v1"'}))
        assert not contradicts(TAG, CIMultiDict({"Last-Modified": MODIFIED}))
        assert not contradicts(DATE, CIMultiDict({}))


class TestPastTheEnd:
    """416."""

    def test_tells_the_size(self) -> None:
        """An empty extent at the start, and how large the resource is."""
        head = judge(ask((2000, 3000)), 416, {"Content-Range": "bytes */1000", "ETag": '"v1"'})
        assert head.extent == (2000, 2000)
        assert head.version == Version(TAG, 1000)

    def test_without_validator_or_size(self) -> None:
        """What is not told is not made up."""
        head = judge(ask((2000, 3000)), 416, {"Content-Range": "bytes */1000"})
        assert head.version == Version(NO_VALIDATOR, 1000)
        assert judge(ask((2000, 3000)), 416, {}).version is None

    def test_satisfiable_all_the_same(self) -> None:
        """416 for a range inside the size that it tells is nonsense."""
        with pytest.raises(RemoteProtocolError):
            judge(ask((500, 600)), 416, {"Content-Range": "bytes */1000"})

    @pytest.mark.parametrize(
        ("start", "headers"),
        [
            (500, {"Content-Range": "bytes */400"}),
            (500, {}),
            (1000, {"Content-Range": "bytes */999"}),
            (1000, {"Content-Range": "bytes */1000", "ETag": '"v2"'}),
        ],
    )
    def test_pinned_and_shrunk(self, start: int, headers: dict[str, str]) -> None:
        """A pinned resource that has no such place any more has changed."""
        with pytest.raises(StaleError):
            judge(ask((start, start + 10), expected=Version(TAG, 1000)), 416, headers)

    def test_pinned_and_the_same(self) -> None:
        """Nothing lies past the end of the pinned version."""
        pinned = Version(TAG, 1000)
        head = judge(ask((1000, 1010), expected=pinned), 416, {"Content-Range": "bytes */1000"})
        assert (head.version, head.extent.length) == (pinned, 0)


class TestRefusals:
    """Statuses that are errors."""

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (404, NotFoundError),
            (410, NotFoundError),
            (401, AccessDeniedError),
            (403, AccessDeniedError),
            (407, AccessDeniedError),
            (429, TransientError),
            (503, TransientError),
            (507, RemoteError),
            (413, RemoteError),
            (302, RemoteProtocolError),
            (204, RemoteProtocolError),
        ],
    )
    def test_classes(self, status: int, kind: type[RemoteError]) -> None:
        """Each status has its class, and a message of one line that names all that matters."""
        error = refusal("read", URL, Head(status, CIMultiDict(), URL), 0.0)
        assert type(error) is kind
        assert "\n" not in str(error)
        assert str(error).startswith(f"read of {URL} failed: ")
        assert str(status) in str(error)

    def test_retry_after_is_kept(self) -> None:
        """The server's wish comes with the error."""
        error = refusal("read", URL, Head(503, CIMultiDict({"Retry-After": "9"}), URL), 0.0)
        assert isinstance(error, TransientError)
        assert error.retry_after_s == 9.0
