"""Names on disk: how keys become folder and file names, as Linux cachefiles spells them.

Facts: the hash of ``fscache_main.c``, the file names of ``fs/cachefiles/key.c`` since 5.17.
A key that does not fit into a name (NAME_MAX) is named ``+`` and its SHA-256; the label has it in
full.  Pure.
"""

from __future__ import annotations

import struct
from binascii import b2a_base64
from functools import lru_cache
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

NAME_BYTES_MAX = 255
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
_STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SPELLING = bytes.maketrans(_STANDARD, _DIGITS.encode())
_MASK = 0xFFFFFFFF
_GOLDEN_RATIO_32 = 0x61C88647
_PLAIN = bytes(byte for byte in range(33, 128) if byte != 47)
_HEX_BYTES = 4
_HEX_BELOW = 16
"""From here on a byte has two digits.  Then words cost ``2n + n/4`` characters, and more than the
``4n/3 + 2`` of the other spelling from five bytes on."""
_VOLUMES_MAX = 256
PLACES_MAX = 4096


class ObjectKey(NamedTuple):
    """The identity of a cached resource: its volume (origin) and its key there."""

    volume: str
    name: bytes


@lru_cache(maxsize=_VOLUMES_MAX)
def volume_folder(volume: str) -> str:
    """The folder name of a volume key."""
    name = "I" + volume
    if len(name.encode()) <= NAME_BYTES_MAX and "/" not in name:
        return name
    return "I+" + _sha256(volume.encode())


def fan_out(volume: str, key: bytes) -> str:
    """The name of the fan-out folder of an object: ``@00`` to ``@ff``."""
    return f"@{hash_words(_salt(volume), key) & 0xFF:02x}"


@lru_cache(maxsize=_VOLUMES_MAX)
def _salt(volume: str) -> int:
    """The hash of a volume's key, which those of its objects go on from."""
    name = volume.encode()
    # The kernel keeps the length in one byte, and its volume keys are never longer than that.
    return hash_words(0, bytes([len(name) & 0xFF]) + name + b"\0")


def object_file(key: bytes) -> str:
    """The file name of an object key."""
    name = _spelled(key)
    return name if len(name) <= NAME_BYTES_MAX else "+" + _sha256(key)


@lru_cache(maxsize=PLACES_MAX)
def folder_and_file(volume: str, key: bytes) -> tuple[str, str]:
    """Where an object is: its folder, from the folder of all volumes on, and its file name.

    Asked for a dozen times while a small object is fetched; remembered for those in use, and for
    a working set of some thousand files: it takes as long as half of the system calls of an open.
    """
    return f"{volume_folder(volume)}/{fan_out(volume, key)}", object_file(key)


def place_bytes(place: str) -> bytes:
    """A place in the store as it is on the disk: names of foreign things need not be UTF-8."""
    return place.encode("utf-8", "surrogateescape")


def place_of(raw: bytes) -> str:
    """Undo ``place_bytes``."""
    return raw.decode("utf-8", "surrogateescape")


def tag_of(place: str) -> int:
    """The tag of the object with this place in the store; never 0.

    Two objects with the same tag would share a record of what is told of them: one's changes would
    make the readers of the other's map look again, and nothing else.
    """
    return xxh3_64_intdigest(place_bytes(place)) or 1


def hash_words(salt: int, data: bytes) -> int:
    """The kernel's hash of ``data``, zero-padded to 32-bit little-endian words."""
    words = -(-len(data) // 4)
    x, y = 0, salt
    for word in struct.unpack(f"<{words}I", data.ljust(4 * words, b"\0")):
        x ^= word
        y ^= x
        x = ((x << 7 | x >> 25) + y) & _MASK
        y = ((y << 20 | y >> 12) & _MASK) * 9 & _MASK
    return _folded(y ^ _folded(x))


def _sha256(data: bytes) -> str:
    # Imported here: few keys are too long, and reading what is cached must not pay for it.
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _folded(value: int) -> int:
    return value * _GOLDEN_RATIO_32 & _MASK


def _spelled(key: bytes) -> str:
    if not key.translate(None, _PLAIN):
        return "D" + key.decode("ascii")
    groups = -(-len(key) // 3)
    # Words in hexadecimal are shorter only for few bytes, or small ones; keys of URLs have none.
    if len(key) <= _HEX_BYTES or min(key) < _HEX_BELOW:
        big, little = _hex_words(key, "big"), _hex_words(key, "little")
        if min(len(big), len(little)) + 1 < 2 + 4 * groups:
            return "S" + big if len(big) <= len(little) else "T" + little
    return _base64(key, groups)


def _hex_words(key: bytes, order: str) -> str:
    """32-bit words in hexadecimal without leading zeros; a zero word prints nothing."""
    padded = key + bytes(-len(key) % 4)
    words = [
        int.from_bytes(padded[start : start + 4], "big" if order == "big" else "little")
        for start in range(0, len(padded), 4)
    ]
    return ",".join(f"{word:x}" if word else "" for word in words)


def _base64(key: bytes, groups: int) -> str:
    """Groups of three bytes as little-endian numbers, lowest six bits first.

    That is the ordinary spelling of the bytes in reverse, read backwards, with other digits.
    """
    padding = groups * 3 - len(key)
    text = b2a_base64(key.ljust(groups * 3, b"\0")[::-1], newline=False)
    return f"E{padding}{text[::-1].translate(_SPELLING).decode()}"
