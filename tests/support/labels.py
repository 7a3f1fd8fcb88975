"""An independent reader of what a cache object looks like on disk.

Written from ``docs/on-disk-format.md`` and the format of Linux cachefiles, not from the store.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

ATTRIBUTE = "user.CacheFiles.cache"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
_MASK = 0xFFFFFFFF


class Label(NamedTuple):
    """The decoded attribute of an object."""

    object_size: int
    reserved: bytes
    type: int
    content: int
    coherency: bytes

    @property
    def format(self) -> int:
        """The version of our format, the first byte of the coherency data."""
        return self.coherency[0]


def raw_label(path: Path) -> bytes:
    """The attribute as it is."""
    return os.getxattr(path, ATTRIBUTE)


def read_label(path: Path) -> Label:
    """The attribute of an object's backing file, decoded."""
    raw = raw_label(path)
    return Label(int.from_bytes(raw[:8], "big"), raw[8:16], raw[16], raw[17], raw[18:])


def decoded_name(name: str) -> bytes:
    """The key that a file name spells; S and T names come with their zero padding."""
    kind, body = name[0], name[1:]
    if kind == "D":
        return body.encode("ascii")
    if kind in "ST":
        order = "big" if kind == "S" else "little"
        words = (int(word or "0", 16) for word in body.split(","))
        return b"".join(word.to_bytes(4, "big" if order == "big" else "little") for word in words)
    assert kind == "E", name
    padding, text = int(body[0]), body[1:]
    key = bytearray()
    for index in range(0, len(text), 4):
        group = sum(_DIGITS.index(c) << 6 * i for i, c in enumerate(text[index : index + 4]))
        key += group.to_bytes(3, "little")
    return bytes(key[: len(key) - padding])


def expected_name(key: bytes) -> str:
    """The file name of a key that fits into one."""
    if all(33 <= byte <= 46 or 48 <= byte <= 127 for byte in key):
        return "D" + key.decode("ascii")
    padded = key + bytes(-len(key) % 4)
    words = [padded[i : i + 4] for i in range(0, len(padded), 4)]
    big = ",".join(_hex(int.from_bytes(word, "big")) for word in words)
    little = ",".join(_hex(int.from_bytes(word, "little")) for word in words)
    groups = -(-len(key) // 3)
    if min(len(big), len(little)) + 1 < 2 + 4 * groups:
        return "S" + big if len(big) <= len(little) else "T" + little
    filled = key + bytes(groups * 3 - len(key))
    digits = ""
    for index in range(0, len(filled), 3):
        group = int.from_bytes(filled[index : index + 3], "little")
        digits += "".join(_DIGITS[group >> 6 * i & 63] for i in range(4))
    return f"E{groups * 3 - len(key)}{digits}"


def _hex(word: int) -> str:
    return f"{word:x}" if word else ""


def fan_out(volume: str, key: bytes) -> str:
    """The name of the fan-out directory of an object."""
    name = volume.encode()
    header = bytes([len(name)]) + name + b"\0"
    salt = _hash(0, header + bytes(-len(header) % 4))
    return f"@{_hash(salt, key + bytes(-len(key) % 4)) & 0xFF:02x}"


def _hash(salt: int, data: bytes) -> int:
    x, y = 0, salt
    for index in range(0, len(data), 4):
        x ^= int.from_bytes(data[index : index + 4], "little")
        y ^= x
        x = _rotated(x, 7)
        x = (x + y) & _MASK
        y = _rotated(y, 20)
        y = y * 9 & _MASK
    return _folded(y ^ _folded(x))


def _rotated(value: int, count: int) -> int:
    return (value << count | value >> 32 - count) & _MASK


def _folded(value: int) -> int:
    return value * 0x61C88647 & _MASK
