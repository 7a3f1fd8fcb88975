"""Records of uploads under way: what must be known to go on with one in another process.  Pure.

A record is one line of JSON behind its CRC-32 in hex and a blank, like those of the journal.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

UPLOAD_FORMAT = 1


class Source(NamedTuple):
    """A local file as it was: who changes it in any way changes one of these."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class UploadRecord(NamedTuple):
    """An upload of ``source`` to ``url``, which the server keeps at ``location``.

    The last three are the condition that it was begun with.
    """

    url: str
    location: str
    source: Source
    if_match: str | None
    if_absent: bool
    unmodified_since: str | None


def encode_upload(record: UploadRecord) -> bytes:
    """The record as it is stored."""
    # Imported here: a client without large uploads must not pay for it.
    import json

    text = json.dumps({"format": UPLOAD_FORMAT, **record._asdict()}).encode("ascii")
    return f"{zlib.crc32(text):08x} ".encode() + text + b"\n"


def decode_upload(raw: bytes) -> UploadRecord | None:
    """The record of ``encode_upload``; None for anything else."""
    import json

    checksum, _, text = raw.rstrip(b"\n").partition(b" ")
    if checksum != f"{zlib.crc32(text):08x}".encode():
        return None
    try:
        fields = json.loads(text)
        if fields.pop("format") != UPLOAD_FORMAT:
            return None
        source = Source(*map(int, fields.pop("source")))
        record = UploadRecord(source=source, **fields)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    texts = (record.url, record.location, record.if_match or "", record.unmodified_since or "")
    return record if all(isinstance(text, str) for text in texts) else None
