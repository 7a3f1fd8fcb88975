"""Validators and versions: what may be combined, and what is surely the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.coherency import NO_VALIDATOR, Validator, ValidatorKind, Version

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
OTHER_DATE = "Sun, 06 Nov 1994 08:49:38 GMT"

validators = st.one_of(
    st.just(NO_VALIDATOR),
    st.builds(
        Validator,
        st.just(ValidatorKind.STRONG_ETAG),
        st.sampled_from(['"a"', '"b"', '""', f'"{DATE}"']),
    ),
    st.builds(Validator, st.just(ValidatorKind.WEAK_ETAG), st.sampled_from(['W/"a"', 'W/"b"'])),
    st.builds(
        Validator,
        st.sampled_from([ValidatorKind.STRONG_DATE, ValidatorKind.WEAK_DATE]),
        st.sampled_from([DATE, OTHER_DATE]),
    ),
)
versions = st.builds(Version, validators, st.integers(0, 2), st.none() | st.integers(0, 2))


def version(kind: ValidatorKind, value: str, size: int = 9, mtime_s: int | None = None) -> Version:
    """A version with that validator."""
    return Version(Validator(kind, value), size, mtime_s)


@pytest.mark.parametrize(
    ("kind", "joins"),
    [
        (ValidatorKind.NONE, False),
        (ValidatorKind.STRONG_ETAG, True),
        (ValidatorKind.STRONG_DATE, True),
        (ValidatorKind.WEAK_ETAG, False),
        (ValidatorKind.WEAK_DATE, False),
    ],
)
def test_only_strong_validators_join_ranges(kind: ValidatorKind, joins: bool) -> None:
    """Responses may be combined under a strong validator only (RFC 9110 15.3.7)."""
    assert Validator(kind, "value").joins_ranges is joins


def test_kinds_keep_their_numbers() -> None:
    """The numbers are on disk, so they never change."""
    assert [kind.value for kind in ValidatorKind] == [0, 1, 2, 3, 4]
    assert [kind.name for kind in ValidatorKind] == [
        "NONE",
        "STRONG_ETAG",
        "STRONG_DATE",
        "WEAK_ETAG",
        "WEAK_DATE",
    ]


def test_etag_is_given_for_etags_only() -> None:
    """``etag`` is the tag as the server spelled it, and None for dates and for nothing."""
    assert Validator(ValidatorKind.STRONG_ETAG, '"x"').etag == '"x"'
    assert Validator(ValidatorKind.WEAK_ETAG, 'W/"x"').etag == 'W/"x"'
    assert Validator(ValidatorKind.STRONG_DATE, DATE).etag is None
    assert NO_VALIDATOR.etag is None


@given(versions)
def test_nothing_is_sure_without_a_validator(other: Version) -> None:
    """A version without a validator is the same as nothing, itself included."""
    bare = Version(NO_VALIDATOR, other.size, other.mtime_s)
    assert not bare.same_as(bare)
    assert not bare.same_as(other)
    assert not other.same_as(bare)


@given(versions, versions)
def test_same_is_symmetric(one: Version, two: Version) -> None:
    """The order of the comparison does not matter."""
    assert one.same_as(two) == two.same_as(one)


@given(versions)
def test_same_is_reflexive_with_a_validator(one: Version) -> None:
    """A version that has a validator is the same as itself."""
    assert one.same_as(one) == (one.validator.kind is not ValidatorKind.NONE)


@given(versions, versions, versions)
def test_same_is_transitive(one: Version, two: Version, three: Version) -> None:
    """What is the same as the same is the same."""
    if one.same_as(two) and two.same_as(three):
        assert one.same_as(three)


@given(versions, versions)
def test_another_size_is_another_version(one: Version, two: Version) -> None:
    """However equal the validators are, the sizes must be too."""
    if one.size != two.size:
        assert not one.same_as(two)


def test_a_date_may_turn_from_weak_to_strong() -> None:
    """The same date in a later response is strong, and still the same version."""
    weak = version(ValidatorKind.WEAK_DATE, DATE)
    strong = version(ValidatorKind.STRONG_DATE, DATE)
    assert weak.same_as(strong)
    assert not weak.same_as(version(ValidatorKind.STRONG_DATE, OTHER_DATE))


def test_an_etag_is_never_taken_for_a_date() -> None:
    """Equal text under validators of different kinds proves nothing."""
    assert not version(ValidatorKind.STRONG_ETAG, DATE).same_as(
        version(ValidatorKind.STRONG_DATE, DATE)
    )
    assert not version(ValidatorKind.STRONG_ETAG, '"x"').same_as(
        version(ValidatorKind.WEAK_ETAG, '"x"')
    )


def test_the_time_of_modification_is_for_show() -> None:
    """``mtime_s`` takes no part in the comparison."""
    assert version(ValidatorKind.STRONG_ETAG, '"x"', mtime_s=1).same_as(
        version(ValidatorKind.STRONG_ETAG, '"x"', mtime_s=2)
    )
