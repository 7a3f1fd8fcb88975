"""Names of objects on disk (``docs/on-disk-format.md``, "The tree").

The examples with fixed names and hashes were computed by a transliteration into C of the kernel's
``key.c`` and ``fscache_hash``, not by the code under test; ``tests.support.labels`` reads names
back, and is written from the format alone.
"""

from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netcache._core.keys import (
    NAME_BYTES_MAX,
    ObjectKey,
    _base64,
    _hex_words,
    _spelled,
    fan_out,
    folder_and_file,
    hash_words,
    object_file,
    volume_folder,
)
from netcache._fscache.ports import CacheStore
from tests.support import labels
from tests.support.stores import found, put

PLAIN = bytes([*range(33, 47), *range(48, 128)])
VOLUME = "netcache,http,example.org"

NAMES = [
    (b"a", "Da"),
    (b"a.b-c_d", "Da.b-c_d"),
    (b".", "D."),
    (b"..", "D.."),
    (b"!", "D!"),
    (b"\x7f", "D\x7f"),
    (b"+", "D+"),
    (b"\x20", "T20"),
    (b"/", "T2f"),
    (b"\x80", "T80"),
    (b"\x00", "S"),
    (b"\x00\x00\x00\x00", "S"),
    (b"\x00\x00\x00\x00\x00", "S,"),
    (b"\x00\x00\x00\x00\x00\x00\x00\x01", "S,1"),
    (b"\x01\x00\x00\x00\x00\x00\x00\x00", "T1,"),
    (b"\x00\x00\x00\x01\x00\x00\x00\x02", "S1,2"),
    (b"\x01\x00\x00\x00\x02\x00\x00\x00\x03", "T1,2,3"),
    (b"\x01\x00\x00\x01", "S1000001"),
    (b"\x0b\x5a\x00\x00", "T5a0b"),
    (b"\xff\xff\xff\xff", "Sffffffff"),
    (b"\xff\xff\xff\xff\xff", "E1------f0"),
    (b"\xff\x00\xff\x00\xff\x00", "E0-3M-0Yf0"),
    (b"\x12\x34\x56\x78\x12\x34\x56\x78", "E1igzlU91dmx70"),
    (b"f/g", "E0CZOp"),
    (b"folder/file", "E1CZ6rAlCsLomqIl60"),
    ("bücher".encode(), "E2ydcLzxmpO100"),
    (b"\xff\xfe\xfd", "E0-Xv-"),
]

HASHES = [
    (VOLUME, b"a", "@5d"),
    (VOLUME, b"folder/file", "@3b"),
    (VOLUME, b"index.html", "@03"),
    (VOLUME, b"\x00\x00\x00\x01\x00\x00\x00\x02", "@90"),
    (VOLUME, b"abcd", "@d9"),
    (VOLUME, b"\xff\xfe\xfd", "@de"),
    ("a", b"a", "@49"),
    ("a", b"folder/file", "@78"),
    ("a", b"abcd", "@6d"),
    ("afs,example.com,100058", b"a", "@cc"),
    ("afs,example.com,100058", b"index.html", "@38"),
    ("afs,example.com,100058", b"abcd", "@10"),
]

plain_keys = st.lists(st.sampled_from(list(PLAIN)), min_size=1, max_size=300).map(bytes)
# Numbers make names of kind S and T, anything else makes names of kind E.
numbers = st.lists(
    st.integers(0, 0xFFF).flatmap(
        lambda n: st.sampled_from([n.to_bytes(4, "big"), n.to_bytes(4, "little")])
    ),
    min_size=1,
    max_size=80,
).map(b"".join)
keys = st.one_of(plain_keys, numbers, st.binary(min_size=1, max_size=300))
volumes = st.text(st.sampled_from(string.ascii_lowercase + string.digits + ",.:-[]"), max_size=300)


def too_long(name: str) -> bool:
    """Whether the kernel's spelling is no name."""
    return len(name) > 255


class TestObjectFiles:
    """Names of kind D, S, T, E and +."""

    @pytest.mark.parametrize(("key", "name"), NAMES)
    def test_examples(self, key: bytes, name: str) -> None:
        """Names that the kernel's code gives."""
        assert object_file(key) == name

    def test_the_examples_are_of_every_kind(self) -> None:
        """Apart from the hashed one, which the kernel does not have."""
        assert {name[0] for _, name in NAMES} == set("DSTE")

    @pytest.mark.parametrize("byte", range(256))
    def test_which_bytes_are_spelled_as_they_are(self, byte: int) -> None:
        """33 to 46 and 48 to 127, alone and among others."""
        literal = 33 <= byte <= 46 or 48 <= byte <= 127
        for key in (bytes([byte]), b"ab" + bytes([byte]) + b"yz"):
            name = object_file(key)
            assert (name[0] == "D") is literal
            assert (name[1:].encode("latin-1") == key) is literal

    @given(key=keys)
    @example(key=b"\x00" * 300)
    @example(key=b"\xff" * 190)
    def test_names_are_the_kernels_unless_too_long(self, key: bytes) -> None:
        """An independent spelling gives the same; where that is no name, the hash stands."""
        spelled = labels.expected_name(key)
        name = object_file(key)
        if too_long(spelled):
            assert name == "+" + hashlib.sha256(key).hexdigest()
        else:
            assert name == spelled

    @given(key=keys)
    @example(key=b"\x01\x00\x00\x00\x00")
    def test_a_name_tells_its_key(self, key: bytes) -> None:
        """D and E exactly; S and T up to the zeros that fill the last word."""
        name = object_file(key)
        if name[0] in "DE":
            assert labels.decoded_name(name) == key
        elif name[0] in "ST":
            assert labels.decoded_name(name) == key + bytes(-len(key) % 4)
        else:
            assert name[0] == "+"

    @given(key=keys)
    def test_names_are_names(self, key: bytes) -> None:
        """One component, printable ASCII, of a kind that the kernel's daemon lets live."""
        name = object_file(key)
        assert 1 <= len(name.encode("ascii")) <= 255
        assert name[0] in "DSTE+"
        assert "/" not in name
        assert all(33 <= ord(sign) <= 127 for sign in name)

    @given(key=st.one_of(numbers, st.binary(min_size=1, max_size=189)))
    def test_the_shorter_spelling_is_taken(self, key: bytes) -> None:
        """Never longer than base 64 would be, and hexadecimal only where that is shorter."""
        name, base64 = object_file(key), 2 + 4 * -(-len(key) // 3)
        if name[0] in "ST":
            assert len(name) < base64
        elif name[0] == "E":
            assert len(name) == base64

    @given(pair=st.lists(keys, min_size=2, max_size=2, unique=True))
    @example(pair=[b"ab", b"Dab"])
    @example(pair=[b"a/b", b"a_b"])
    @example(pair=[b"\x01", b"\x01\x00\x00\x00\x00"])
    @example(pair=[b"\x00\x00\x00\x01", b"\x01\x00\x00\x00"])
    @example(pair=[b"\xff" * 190, b"\xff" * 191])
    @example(pair=[b"E0CZOp", b"f/g"])
    def test_distinct_keys_have_distinct_names(self, pair: list[bytes]) -> None:
        """But for the zeros that fill the last word of kinds S and T."""
        one, other = pair
        if object_file(one) == object_file(other):
            assert object_file(one)[0] in "ST"
            assert one + bytes(-len(one) % 4) == other + bytes(-len(other) % 4)

    @pytest.mark.parametrize("pair", [(b"\x01", b"\x01\x00"), (b"\x00", b"\x00\x00\x00")])
    def test_keys_that_share_a_name_share_no_object(
        self, store: CacheStore, pair: tuple[bytes, bytes]
    ) -> None:
        """The label has the key in full: whoever has the name, the other one is a miss."""
        one, other = (ObjectKey(VOLUME, key) for key in pair)
        assert len({folder_and_file(VOLUME, key) for key in pair}) == 1
        put(store, b"the first", key=one).close()
        found(store, one).close()
        assert store.lookup(other) is None
        put(store, b"the other", key=other).close()
        found(store, other).close()
        assert store.lookup(one) is None


class TestLengths:
    """The limit of a name, on both of its sides."""

    @pytest.mark.parametrize("length", [1, 252, 253, 254])
    def test_plain_keys_up_to_the_limit(self, length: int) -> None:
        """One sign for the kind, the rest for the key."""
        assert object_file(b"k" * length) == "D" + "k" * length

    @pytest.mark.parametrize("length", [255, 256, 4000])
    def test_plain_keys_past_the_limit_are_hashed(self, length: int) -> None:
        """SHA-256 of the key, and of nothing else."""
        key = b"k" * length
        assert object_file(key) == "+" + hashlib.sha256(key).hexdigest()

    @pytest.mark.parametrize(("length", "kind"), [(189, "E"), (190, "+"), (191, "+"), (192, "+")])
    def test_other_keys(self, length: int, kind: str) -> None:
        """Base 64 of 189 bytes is the longest that fits."""
        name = object_file(b"\xff" * length)
        assert name[0] == kind
        assert len(name) == (254 if kind == "E" else 65)

    @pytest.mark.parametrize(("words", "kind"), [(127, "T"), (128, "+")])
    def test_hexadecimal_reaches_further(self, words: int, kind: str) -> None:
        """Small numbers are short: two signs a word, and 127 of them still fit."""
        key = b"\x01\x00\x00\x00" * words
        name = object_file(key)
        assert name[0] == kind
        if kind == "T":
            assert name == "T" + ",".join(["1"] * words)
        assert len(name) <= NAME_BYTES_MAX == 255

    @given(length=st.integers(1, 1200), fill=st.sampled_from([b"a", b"\xff", b"\x00", b"/"]))
    def test_no_name_is_ever_too_long(self, length: int, fill: bytes) -> None:
        """Whatever the key is made of."""
        assert len(object_file(fill * length)) <= 255


class TestFanOut:
    """The folder between the volume and the object."""

    @pytest.mark.parametrize(("volume", "key", "folder"), HASHES)
    def test_examples(self, volume: str, key: bytes, folder: str) -> None:
        """Low eight bits of the kernel's hash."""
        assert fan_out(volume, key) == folder

    @pytest.mark.parametrize(
        ("salt", "value"), [(0, 0x5EA08083), (7, 0x56982038)], ids=["no salt", "salted"]
    )
    def test_hash_examples(self, salt: int, value: int) -> None:
        """All 32 bits of it."""
        assert hash_words(salt, b"\x01\x02\x03\x04") == value

    def test_volume_hash_example(self) -> None:
        """The salt of a volume's objects: its length, its key, a zero, padded."""
        name = VOLUME.encode()
        assert hash_words(0, bytes([len(name)]) + name + b"\0") == 0xCC7B4C78

    @given(volume=volumes.filter(lambda text: len(text) <= 255), key=keys)
    def test_all_of_them(self, volume: str, key: bytes) -> None:
        """An independent hash gives the same folder."""
        assert fan_out(volume, key) == labels.fan_out(volume, key)

    @given(volume=volumes, key=keys)
    def test_it_is_one_of_256(self, volume: str, key: bytes) -> None:
        """Two lower-case hexadecimal digits, for volume keys of any length."""
        folder = fan_out(volume, key)
        assert len(folder) == 3
        assert folder[0] == "@"
        assert set(folder[1:]) <= set("0123456789abcdef")

    def test_keys_spread_over_all_folders(self) -> None:
        """Of many keys each folder has some, none very many."""
        counts = [0] * 256
        for number in range(256 * 64):
            counts[int(fan_out(VOLUME, b"folder/file-%d" % number)[1:], 16)] += 1
        assert min(counts) > 0
        assert max(counts) < 256

    def test_volumes_spread_the_same_key(self) -> None:
        """The volume is in the hash."""
        assert len({fan_out(f"netcache,http,host-{n}", b"index.html") for n in range(512)}) > 128


class TestVolumes:
    """The folder of an origin."""

    @pytest.mark.parametrize("length", [0, 1, 253, 254])
    def test_short_keys_stand_as_they_are(self, length: int) -> None:
        """Up to 254 bytes, as the kernel has it."""
        assert volume_folder("v" * length) == "I" + "v" * length

    @pytest.mark.parametrize("volume", ["v" * 255, "ü" * 128, "a/b", "/"])
    def test_others_are_hashed(self, volume: str) -> None:
        """Too long in bytes, or no single name."""
        assert volume_folder(volume) == "I+" + hashlib.sha256(volume.encode()).hexdigest()

    def test_length_counts_in_bytes(self) -> None:
        """127 letters of two bytes are 254."""
        assert volume_folder("ü" * 127) == "I" + "ü" * 127

    @given(pair=st.lists(volumes, min_size=2, max_size=2, unique=True))
    def test_distinct_volumes_have_distinct_folders(self, pair: list[str]) -> None:
        """Origins never share one."""
        assert volume_folder(pair[0]) != volume_folder(pair[1])


@given(volume=st.one_of(volumes, st.text(st.characters(codec="utf-8"), max_size=300)), key=keys)
@example(volume=".", key=b".")
@example(volume="..", key=b"..")
@example(volume="../..", key=b"../..")
def test_a_place_is_three_names_and_none_is_hidden(volume: str, key: bytes) -> None:
    """No name begins with a dot (those are private files), and no key leads out of its place."""
    parts = "/".join(folder_and_file(volume, key)).split("/")
    assert parts == [volume_folder(volume), fan_out(volume, key), object_file(key)]
    assert len(parts) == 3
    for part, signs in zip(parts, ("I", "@", "DSTE+"), strict=True):
        assert part[0] in signs
        assert len(part.encode()) <= 255


@given(
    st.binary(min_size=1, max_size=40)
    | st.text(st.characters(min_codepoint=16, max_codepoint=126), min_size=1).map(str.encode)
)
@example(b"\x10" * 5)
@example(b"\x10" * 7)
@example(b"/" * 4)
def test_a_key_that_is_not_plain_has_the_shorter_of_its_spellings(key: bytes) -> None:
    """Also where hexadecimal words are not even tried."""
    groups = -(-len(key) // 3)
    words = min((_hex_words(key, order) for order in ("big", "little")), key=len)
    spelled = _spelled(key)
    if spelled[0] == "D":
        assert spelled == "D" + key.decode()
    elif len(words) + 1 < 2 + 4 * groups:
        assert spelled[1:] in (_hex_words(key, "big"), _hex_words(key, "little"))
        assert len(spelled) == len(words) + 1
    else:
        assert spelled == _base64(key, groups)
