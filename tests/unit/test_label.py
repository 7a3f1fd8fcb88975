"""Labels: what goes in comes out, and what is not whole is never believed.

Only the first 18 bytes and the place of the format's number are the same for good (the first are
those of Linux cachefiles); everything else goes through ``encode`` and ``decode``.
"""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netcache._core.coherency import NO_VALIDATOR, Validator, ValidatorKind, Version
from netcache._core.content import Content
from netcache._core.label import (
    FORMAT,
    LABEL_BYTES_MAX,
    SUM_BYTES,
    Binding,
    Epoch,
    Label,
    LabelError,
    Why,
    decode,
    encode,
    fits_with_sums,
)

HEAD_BYTES = 18
TYPE_AT, CONTENT_AT, FORMAT_AT = 16, 17, 18

SAMPLE = Label(
    version=Version(Validator(ValidatorKind.STRONG_ETAG, '"abc"'), 123_456, 1_600_000_000),
    content=Content.ALL,
    generation=7,
    stored_end=126_976,
    committed=4096,
    epoch=Epoch(bytes(range(16)), 42),
    binding=Binding(1_000_001, 1_700_000_000_123_456_789),
    checked_ms=1_700_000_000_123,
    key=b"folder/file",
    unit=65_536,
    sums=bytes(range(16)),
)
LONG_ETAG = Validator(ValidatorKind.WEAK_ETAG, 'W/"' + "é" * 700 + '"')
VARIETY = {
    "sample": SAMPLE,
    "least": Label(
        version=Version(NO_VALIDATOR, 0, None),
        content=Content.NO_DATA,
        generation=0,
        stored_end=0,
        committed=0,
        epoch=Epoch(bytes(16), 0),
        binding=Binding(0, 0),
        checked_ms=0,
        key=b"",
        unit=1,
    ),
    "table": SAMPLE._replace(content=Content.BACKFS_MAP, sums=b"", table=3, doubtful=True),
    "long": SAMPLE._replace(version=Version(LONG_ETAG, (1 << 64) - 1, -1), key=b"\xff" * 700),
}
labels_of_all_kinds = pytest.mark.parametrize("label", VARIETY.values(), ids=VARIETY.keys())

unsigned = st.integers(0, (1 << 64) - 1)
signed = st.integers(-(1 << 63), (1 << 63) - 1)
validators = st.builds(
    Validator,
    st.sampled_from(ValidatorKind),
    st.text(st.characters(max_codepoint=255), max_size=60),
)
any_sums = st.integers(0, 12).flatmap(
    lambda count: st.binary(min_size=count * SUM_BYTES, max_size=count * SUM_BYTES)
)


@st.composite
def any_label(draw: st.DrawFn) -> Label:
    """A label with fields from the whole of their ranges."""
    sums = draw(any_sums)
    return Label(
        version=Version(draw(validators), draw(unsigned), draw(st.none() | signed)),
        content=draw(st.sampled_from(Content)),
        generation=draw(st.integers(0, (1 << 32) - 1)),
        stored_end=draw(unsigned),
        committed=draw(unsigned),
        epoch=Epoch(draw(st.binary(min_size=16, max_size=16)), draw(unsigned)),
        binding=Binding(draw(unsigned), draw(signed)),
        checked_ms=draw(st.integers(0, (1 << 63) - 1)),
        key=draw(st.binary(max_size=60)),
        unit=draw(st.integers(1, (1 << 32) - 1)),
        table=0 if sums else draw(unsigned),
        sums=sums,
        doubtful=draw(st.booleans()),
    )


def why(raw: bytes) -> Why:
    """Why ``raw`` is no label."""
    with pytest.raises(LabelError) as caught:
        decode(raw)
    return caught.value.why


def kernel_label(aux: bytes) -> bytes:
    """What Linux cachefiles would write for a whole object, with the coherency data ``aux``."""
    return struct.pack(">QQBB", 123_456, 0, 1, Content.ALL) + aux


def of_format(label: Label, number: int) -> bytes:
    """The same with another number of the format, and otherwise sound."""
    raw = bytearray(encode(label))
    raw[FORMAT_AT] = number
    raw[-4:] = zlib.crc32(raw[:-4]).to_bytes(4, "big")
    return bytes(raw)


class TestRoundTrip:
    """What goes in comes out."""

    @given(label=any_label())
    @example(label=VARIETY["least"])
    @example(label=VARIETY["long"])
    @example(label=VARIETY["table"])
    def test_all_fields(self, label: Label) -> None:
        """Every field, with its type."""
        found = decode(encode(label))
        assert found == label
        assert isinstance(found.content, Content)
        assert isinstance(found.version.validator.kind, ValidatorKind)
        assert isinstance(found.doubtful, bool)

    @given(one=any_label(), other=any_label())
    def test_distinct_labels_are_distinct_bytes(self, one: Label, other: Label) -> None:
        """And the same label always gives the same bytes."""
        assert (encode(one) == encode(other)) is (one == other)

    @pytest.mark.parametrize("mtime_s", [None, 0, -1, 1])
    def test_no_time_is_not_the_time_0(self, mtime_s: int | None) -> None:
        """The epoch itself is a time."""
        label = SAMPLE._replace(version=SAMPLE.version._replace(mtime_s=mtime_s))
        assert decode(encode(label)).version.mtime_s == mtime_s

    def test_the_generation_goes_round(self) -> None:
        """It counts changes, for ever, in 32 bits."""
        assert decode(encode(SAMPLE._replace(generation=1 << 32))).generation == 0
        assert decode(encode(SAMPLE._replace(generation=(1 << 32) + 5))).generation == 5

    @pytest.mark.parametrize("content", Content)
    def test_the_head_is_that_of_linux(self, content: Content) -> None:
        """Size, eight zeros, type 1, content; then the number of our format."""
        raw = encode(SAMPLE._replace(content=content))
        assert raw[:HEAD_BYTES] == struct.pack(">QQBB", 123_456, 0, 1, content)
        assert raw[FORMAT_AT] == FORMAT

    @pytest.mark.parametrize("length", [0, 1, 7, 8, 255])
    @pytest.mark.parametrize("part", ["validator", "key"])
    def test_lengths_of_what_varies(self, length: int, part: str) -> None:
        """T34: neither short nor long parts run into one another."""
        value = "e" * length
        label = SAMPLE._replace(sums=b"")
        if part == "key":
            label = label._replace(key=value.encode())
        else:
            validator = Validator(ValidatorKind.STRONG_ETAG, value)
            label = label._replace(version=SAMPLE.version._replace(validator=validator))
        assert decode(encode(label)) == label


class TestWhatDoesNotFit:
    """``encode`` refuses what it could not give back."""

    @pytest.mark.parametrize(
        "changed",
        [
            {"stored_end": -1},
            {"stored_end": 1 << 64},
            {"committed": -1},
            {"epoch": Epoch(bytes(16), 1 << 64)},
            {"binding": Binding(-1, 0)},
            {"binding": Binding(1, 1 << 63)},
            {"checked_ms": 1 << 64},
            {"checked_ms": -(1 << 63) - 1},
            {"unit": 1 << 32},
            {"table": 1 << 64, "sums": b""},
            {"key": b"k" * 70_000},
            {"version": Version(SAMPLE.version.validator, -1)},
            {"version": Version(SAMPLE.version.validator, 1 << 64)},
            {"version": Version(SAMPLE.version.validator, 1, 1 << 63)},
            {"version": Version(Validator(ValidatorKind.STRONG_ETAG, '"€"'), 1)},
        ],
        ids=repr,
    )
    def test_out_of_range(self, changed: dict[str, object]) -> None:
        """A plain error, no label that says something else."""
        with pytest.raises(ValueError, match=r"."):
            encode(SAMPLE._replace(**changed))  # type: ignore[arg-type]

    def test_an_attribute_fits_into_a_block(self) -> None:
        """The longest key that goes leaves no byte over; one more is refused."""
        label = SAMPLE._replace(sums=b"", key=b"")
        room = LABEL_BYTES_MAX - len(encode(label))
        whole = encode(label._replace(key=b"k" * room))
        assert len(whole) == LABEL_BYTES_MAX
        assert decode(whole).key == b"k" * room
        with pytest.raises(ValueError, match="does not fit"):
            encode(label._replace(key=b"k" * (room + 1)))

    @given(label=any_label(), count=st.integers(0, LABEL_BYTES_MAX // SUM_BYTES + 1))
    def test_room_for_sums_is_foretold(self, label: Label, count: int) -> None:
        """Yes when, and only when, such a label can be written."""
        sums = b"s" * (count * SUM_BYTES)
        if fits_with_sums(label, len(sums)):
            written = label._replace(sums=sums, table=0)
            assert decode(encode(written)) == written
        else:
            with pytest.raises(ValueError, match="does not fit"):
                encode(label._replace(sums=sums, table=0))


class TestDamage:
    """What is not whole is told by a ``LabelError``, never by another error, never believed."""

    @labels_of_all_kinds
    def test_truncated_at_every_length(self, label: Label) -> None:
        """No beginning of a label is a label."""
        raw = encode(label)
        for length in range(len(raw)):
            assert why(raw[:length]) is Why.XATTR, length

    @labels_of_all_kinds
    @pytest.mark.parametrize("more", [b"\0", b"\0" * 8, b"\xff" * 255])
    def test_too_long(self, label: Label, more: bytes) -> None:
        """Nothing may follow it."""
        assert why(encode(label) + more) is Why.XATTR

    @labels_of_all_kinds
    def test_every_flipped_bit_is_caught(self, label: Label) -> None:
        """Or harmless: then the label still says the same."""
        raw = encode(label)
        reasons = set()
        for place in range(len(raw) * 8):
            spoilt = bytearray(raw)
            spoilt[place // 8] ^= 1 << place % 8
            try:
                assert decode(bytes(spoilt)) == label, place
            except LabelError as error:
                reasons.add(error.why)
        assert Why.OK not in reasons
        assert {Why.XATTR, Why.TYPE} <= reasons

    @given(label=any_label(), data=st.data())
    def test_changed_bytes_are_caught(self, label: Label, data: st.DataObject) -> None:
        """A run of up to four bytes that became others: a CRC-32 sees it for certain."""
        raw = encode(label)
        start = data.draw(st.integers(0, len(raw) - 1))
        mask = data.draw(st.binary(min_size=1, max_size=4))
        spoilt = bytearray(raw)
        for offset, bits in enumerate(mask[: len(raw) - start]):
            spoilt[start + offset] ^= bits
        try:
            assert decode(bytes(spoilt)) == label
        except LabelError:
            assert bytes(spoilt) != raw

    @given(one=any_label(), other=any_label(), cut=st.integers(0, 600))
    def test_torn_labels(self, one: Label, other: Label, cut: int) -> None:
        """The head of one and the tail of another is one of them or nothing."""
        torn = encode(one)[:cut] + encode(other)[cut:]
        try:
            assert decode(torn) in (one, other)
        except LabelError:
            assert torn not in (encode(one), encode(other))

    @given(raw=st.binary(max_size=300))
    @example(raw=b"")
    def test_any_bytes(self, raw: bytes) -> None:
        """Random bytes are refused, and by no other error."""
        assert why(raw) is not Why.OK

    @given(aux=st.binary(max_size=300))
    def test_any_bytes_after_a_sound_head(self, aux: bytes) -> None:
        """The same where the head is right and the format is ours."""
        assert why(kernel_label(bytes([FORMAT]) + aux)) in (Why.XATTR, Why.CONTENT)

    @pytest.mark.parametrize("length", [0, 1, 7, 8, 255])
    def test_short_coherency_data(self, length: int) -> None:
        """T34: coherency data of the kernel's lengths is never read past its end."""
        for fill in range(256):
            reason = why(kernel_label(bytes([fill]) * length))
            if not length or fill == FORMAT:
                assert reason is Why.XATTR, fill
            else:
                assert reason is (Why.FORMAT if fill < FORMAT else Why.NEWER), fill


class TestReasons:
    """Each rule has its word."""

    def test_type(self) -> None:
        """Only data is known."""
        for number in [0, *range(2, 256)]:
            raw = bytearray(encode(SAMPLE))
            raw[TYPE_AT] = number
            assert why(bytes(raw)) is Why.TYPE, number

    @labels_of_all_kinds
    def test_an_unknown_newer_format_is_told_apart(self, label: Label) -> None:
        """It is somebody's, and not to be thrown away."""
        for number in range(FORMAT + 1, 256):
            assert why(of_format(label, number)) is Why.NEWER, number

    @labels_of_all_kinds
    def test_an_older_format_is_told_apart(self, label: Label) -> None:
        """It is made anew."""
        for number in range(FORMAT):
            assert why(of_format(label, number)) is Why.FORMAT, number

    def test_unknown_content(self) -> None:
        """With a right checksum, as another program might write it."""
        for number in range(len(Content), 256):
            label = SAMPLE._replace(content=number)  # type: ignore[arg-type]
            raw = encode(label)
            assert raw[CONTENT_AT] == number
            assert why(raw) is Why.CONTENT, number

    @pytest.mark.parametrize(
        "changed",
        [
            {"version": Version(Validator(len(ValidatorKind), "x"), 1)},  # type: ignore[arg-type]
            {"version": Version(Validator(255, "x"), 1)},  # type: ignore[arg-type]
            {"unit": 0},
            {"sums": b"s" * (SUM_BYTES - 1)},
            {"sums": b"s" * (SUM_BYTES + 1)},
            {"sums": b"s" * SUM_BYTES, "table": 1},
        ],
        ids=repr,
    )
    def test_values_that_make_no_sense(self, changed: dict[str, object]) -> None:
        """Sound bytes that say what cannot be."""
        assert why(encode(SAMPLE._replace(**changed))) is Why.CONTENT  # type: ignore[arg-type]

    def test_dirty_is_for_others_to_judge(self) -> None:
        """The label itself is sound."""
        assert decode(encode(SAMPLE._replace(content=Content.DIRTY))).content is Content.DIRTY

    def test_the_words_are_the_kernels(self) -> None:
        """As its trace prints them."""
        words = {reason.name: reason.value for reason in Why}
        for name, word in [
            ("XATTR", "BAD xatt"),
            ("TYPE", "BAD type"),
            ("SIZE", "BAD osiz"),
            ("DIRTY", "BAD dirt"),
            ("OK", "OK"),
        ]:
            assert words[name] == word
            assert str(LabelError(Why[name])) == word
