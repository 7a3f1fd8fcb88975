"""The label of a cache object: the extended attribute ``user.CacheFiles.cache``, byte by byte.

The first 18 bytes are those of Linux cachefiles, big-endian; the rest is our coherency data, also
big-endian (``docs/on-disk-format.md`` has the table).  A label is valid if and only if its length
is what its fields say, its checksum is right, its format is ours, and its values are in range.
Pure.
"""

from __future__ import annotations

import struct
from binascii import crc32
from enum import Enum
from typing import NamedTuple

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.content import Content

ATTRIBUTE = "user.CacheFiles.cache"
FORMAT = 2
TYPE_DATA = 1

LABEL_BYTES_MAX = 3800
"""An attribute must fit, with its name, into one 4 KiB block of ext4."""

SUM_BYTES = 8
"""The length of the sum of one block."""

_HEAD = struct.Struct(">QQBB")
_BODY = struct.Struct(">BBIQQ16sQQqQqBHHIQH")
_SUM = struct.Struct(">I")
_FIXED_BYTES = _HEAD.size + _BODY.size
_HAS_MTIME, _DOUBTFUL = 1, 2
# Looked up for each label read: asking the enumeration would take as long as all the rest.
_CONTENTS = {int(content): content for content in Content}
_KINDS = {int(kind): kind for kind in ValidatorKind}
# What the classes call themselves, in Python: a label is read at each open, and has five of them.
_new = tuple.__new__


class Why(Enum):
    """Why a label is, or is not, believed (the words of the kernel's trace)."""

    OK = "OK"
    XATTR = "BAD xatt"
    TYPE = "BAD type"
    FORMAT = "BAD form"
    NEWER = "BAD newer"
    CONTENT = "BAD cont"
    DIRTY = "BAD dirt"
    SIZE = "BAD osiz"
    BINDING = "BAD bind"
    KEY = "BAD key"
    LENGTH = "BAD len"
    EPOCH = "BAD epoch"


class LabelError(Exception):
    """A label that cannot be used; ``why`` says which rule it broke."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


class Epoch(NamedTuple):
    """Within one epoch what was written stays written: one boot of one kernel, one mount."""

    boot: bytes
    mount: int


class Binding(NamedTuple):
    """The backing file that a label belongs to: a copied or restored file is not believed."""

    inode: int
    born_ns: int


class Label(NamedTuple):
    """All fields.  Sizes and positions in bytes, times in milliseconds since 1970.

    ``committed`` is how much of ``stored_end`` was synced to the disk, for ALL and SINGLE; a
    BACKFS_MAP has no such length.

    The sums of its blocks of ``unit`` bytes (see ``checksums``) are in ``sums``, as far as there
    are any, or in the table with the number ``table``; 0 means that there is none.  ``doubtful``
    says that the data comes from another epoch and was not all synced: a block of it counts only
    when its sum fits.
    """

    version: Version
    content: Content
    generation: int
    stored_end: int
    committed: int
    epoch: Epoch
    binding: Binding
    checked_ms: int
    key: bytes
    unit: int
    table: int = 0
    sums: bytes = b""
    doubtful: bool = False


def fits_with_sums(label: Label, length: int) -> bool:
    """Whether the label has room for ``length`` bytes of sums."""
    value = label.version.validator.value
    fixed = _HEAD.size + _BODY.size + _SUM.size
    return fixed + len(value) + len(label.key) + length <= LABEL_BYTES_MAX


def encode(label: Label) -> bytes:
    """The attribute's value; ``ValueError`` when something does not fit into it."""
    try:
        return _encode(label)
    except struct.error as error:
        raise ValueError(f"a label's field is out of range ({error})") from error


def _encode(label: Label) -> bytes:
    value = label.version.validator.value.encode("latin-1", "strict")
    head = _HEAD.pack(label.version.size, 0, TYPE_DATA, label.content)
    mtime_s = label.version.mtime_s
    body = _BODY.pack(
        FORMAT,
        (_HAS_MTIME if mtime_s is not None else 0) | (_DOUBTFUL if label.doubtful else 0),
        label.generation & 0xFFFFFFFF,
        label.stored_end,
        label.committed,
        label.epoch.boot,
        label.epoch.mount,
        label.binding.inode,
        label.binding.born_ns,
        label.checked_ms,
        mtime_s or 0,
        label.version.validator.kind,
        len(value),
        len(label.key),
        label.unit,
        label.table,
        len(label.sums),
    )
    raw = head + body + value + label.key + label.sums
    if len(raw) + _SUM.size > LABEL_BYTES_MAX:
        raise ValueError(f"a label of {len(raw)} bytes does not fit (key or validator too long)")
    return raw + _SUM.pack(crc32(raw))


def decode(raw: bytes) -> Label:
    """The label in an attribute's value; ``LabelError`` says what is wrong with it."""
    if len(raw) < _HEAD.size + 1:
        raise LabelError(Why.XATTR)
    size, _, kind, content_number = _HEAD.unpack_from(raw)
    if kind != TYPE_DATA:
        raise LabelError(Why.TYPE)
    if raw[_HEAD.size] > FORMAT:
        raise LabelError(Why.NEWER)
    if raw[_HEAD.size] < FORMAT:
        raise LabelError(Why.FORMAT)
    if len(raw) < _FIXED_BYTES + _SUM.size:
        raise LabelError(Why.XATTR)
    (_, flags, generation, stored_end, committed, boot, mount, inode, born_ns, checked_ms,
     mtime_s, validator_kind, value_length, key_length, unit, table, sums_length,
    ) = _BODY.unpack_from(raw, _HEAD.size)  # fmt: skip
    key_start = _FIXED_BYTES + value_length
    key_end = key_start + key_length
    end = key_end + sums_length
    if len(raw) != end + _SUM.size or _SUM.unpack_from(raw, end)[0] != crc32(raw[:end]):
        raise LabelError(Why.XATTR)
    content, known_kind = _CONTENTS.get(content_number), _KINDS.get(validator_kind)
    if content is None or known_kind is None:
        raise LabelError(Why.CONTENT)
    if not unit or sums_length % SUM_BYTES or (table and sums_length):
        raise LabelError(Why.CONTENT)
    validator = _new(Validator, (known_kind, raw[_FIXED_BYTES:key_start].decode("latin-1")))
    version = _new(Version, (validator, size, mtime_s if flags & _HAS_MTIME else None))
    return _new(
        Label,
        (
            version,
            content,
            generation,
            stored_end,
            committed,
            _new(Epoch, (boot, mount)),
            _new(Binding, (inode, born_ns)),
            checked_ms,
            raw[key_start:key_end],
            unit,
            table,
            raw[key_end:end],
            bool(flags & _DOUBTFUL),
        ),
    )
