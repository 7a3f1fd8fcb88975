"""Journal records: what must be known to upload an edit that outlived its process.  Pure.

A record is one line of JSON behind its CRC-32 in hex and a blank.  A record that does not check is
no record: it was being written when the machine stopped, and nobody was told that it is there.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.doubt import Doubt
from netcache._core.extent import Extent
from netcache._core.sizes import Sizes

JOURNAL_FORMAT = 1


class JournalError(ValueError):
    """A record that cannot be used; ``newer`` when only a later netcache can."""

    def __init__(self, why: str, *, newer: bool = False) -> None:
        super().__init__(why)
        self.newer = newer


class JournalRecord(NamedTuple):
    """An edit: of what, made from which version (None: of nothing), and what is unsent.

    ``doubt`` is what was on its way, made from ``base``: the server may have it.
    ``conflict`` says why it was given up, empty while it is to be uploaded.
    """

    url: str
    base: Version | None
    sizes: Sizes
    dirty: tuple[Extent, ...]
    doubt: Doubt | None = None
    created: bool = False
    conflict: str = ""
    saved_s: float = 0.0

    @property
    def dirty_bytes(self) -> int:
        """How much is unsent."""
        return sum(extent.length for extent in self.dirty)


def encode_record(record: JournalRecord) -> bytes:
    """The record as it is stored."""
    # Imported here: a client without unsent edits must not pay for it.
    import json

    base = record.base
    fields = {
        "format": JOURNAL_FORMAT,
        "url": record.url,
        "base": [*base.validator, base.size, base.mtime_s] if base is not None else None,
        "sizes": record.sizes,
        "dirty": record.dirty,
        "doubt": _doubt_fields(record.doubt) if record.doubt is not None else None,
        "created": record.created,
        "conflict": record.conflict,
        "saved_s": record.saved_s,
    }
    text = json.dumps(fields, separators=(",", ":")).encode()
    return f"{zlib.crc32(text):08x} ".encode() + text + b"\n"


def decode_record(raw: bytes) -> JournalRecord:
    """The record of ``encode_record``; raises ``JournalError``."""
    import json

    checksum, _, text = raw.rstrip(b"\n").partition(b" ")
    if checksum != f"{zlib.crc32(text):08x}".encode():
        raise JournalError("the checksum is wrong")
    try:
        fields = json.loads(text)
        if fields["format"] > JOURNAL_FORMAT:
            raise JournalError("a newer netcache wrote it", newer=True)
        return JournalRecord(
            url=str(fields["url"]),
            base=_version(fields["base"]),
            sizes=Sizes(*fields["sizes"]),
            dirty=tuple(Extent(*extent) for extent in fields["dirty"]),
            doubt=_doubt(fields["doubt"]) if fields["doubt"] else None,
            created=bool(fields["created"]),
            conflict=str(fields["conflict"]),
            saved_s=float(fields["saved_s"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, JournalError):
            raise
        raise JournalError(f"it does not read ({error})") from error


def _version(fields: list[Any] | None) -> Version | None:
    if fields is None:
        return None
    kind, value, size, mtime_s = fields
    return Version(Validator(ValidatorKind(kind), str(value)), int(size), mtime_s)


def _doubt_fields(doubt: Doubt) -> dict[str, Any]:
    digests = sorted(digest.hex() for digest in doubt.digests)
    return doubt._replace(digests=frozenset())._asdict() | {"digests": digests}


def _doubt(fields: dict[str, Any]) -> Doubt:
    cut = fields["cut"]
    return Doubt(
        int(fields["size"]),
        Extent(*fields["part"]) if fields["part"] else None,
        frozenset(bytes.fromhex(digest) for digest in fields["digests"]),
        tuple(Extent(*extent) for extent in fields["unchanged"]),
        int(cut) if cut is not None else None,
    )
