"""The wire rules of reads over HTTP: questions, and the judgement of reply heads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from netcache._core.coherency import NO_VALIDATOR, Validator, Version
from netcache._core.extent import Extent
from netcache.backends import http_fields as fields
from netcache.backends.http_wire import (
    Head,
    ReadHead,
    ReadQuestion,
    condition_headers,
    contradicts,
    read_head,
    read_headers,
)
from netcache.errors import RemoteProtocolError, StaleError
from netcache.spi import UploadCondition
from tests.support.validators import DATE, MODIFIED, MODIFIED_S, TAG, WEAK_DATE, WEAK_TAG

URL = "http://host.invalid/a"

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
