"""The fields of HTTP: what is read from them, and what is written into them."""

from __future__ import annotations

import base64
import email.utils
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from netcache._core.coherency import NO_VALIDATOR, Validator, ValidatorKind
from netcache.backends import http_fields as fields
from tests.support.validators import DATE, MODIFIED, MODIFIED_S, TAG, WEAK_DATE, WEAK_TAG


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

    @given(st.integers(-30_000_000_000, 30_000_000_000), st.integers(0, 28), st.characters())
    def test_dates_are_read_as_the_library_reads_them(
        self, seconds: int, place: int, letter: str
    ) -> None:
        """The quick way for the usual spelling, and what one letter makes of it."""
        text = email.utils.formatdate(seconds, usegmt=True)
        changed = text[:place] + letter + text[place + 1 :]
        assert fields.http_date_s(text) == seconds
        parsed = email.utils.parsedate_tz(changed)
        if changed.isascii() and changed.isprintable() and parsed is not None:
            try:
                expected = int(email.utils.mktime_tz(parsed))
            except (ValueError, OverflowError):
                return
            assert fields.http_date_s(changed) == expected

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
