"""Versions of files: strong entity tags that survive restarts, and remembered digests.

Rules:

1. A file that this server wrote has a random tag in ``user.netcache.etag``, next to the identity
   (inode, mtime, size) that the file had then.  A tag whose identity is not the file's any more
   was overtaken by a change from outside, and does not count.
2. Any other file's tag is derived from its identity, so it needs no place to be kept.
3. The digest of a file is remembered in ``user.netcache.sha256`` under the same rule.
4. A filesystem without extended attributes costs only the memory: rule 2 does the rest.
"""

from __future__ import annotations

import base64
import errno
import os
import secrets
from contextlib import suppress

import xattr

ETAG_ATTRIBUTE = "user.netcache.etag"
SHA256_ATTRIBUTE = "user.netcache.sha256"
_FORMAT = b"1"
_TAG_BYTES_MAX = 128
"""A longer one is none of ours, and could be too long for a head."""


def identity(status: os.stat_result) -> bytes:
    """What changes when a file's content is changed by anybody."""
    return b"%x-%x-%x" % (status.st_ino, status.st_mtime_ns, status.st_size)


def new_etag() -> str:
    """A strong tag that was never given before."""
    return f'"{secrets.token_urlsafe(16)}"'


def read_etag(file: int | str, status: os.stat_result) -> str:
    """The strong entity tag of a file (RFC 9110 8.8.3), from its descriptor or its path."""
    remembered = _read(file, ETAG_ATTRIBUTE, status)
    return f'"{(remembered or identity(status)).decode("ascii")}"'


def read_sha256(file: int, status: os.stat_result) -> bytes | None:
    """The remembered digest of a file, or ``None`` if it is not known any more."""
    remembered = _read(file, SHA256_ATTRIBUTE, status)
    if remembered is None:
        return None
    with suppress(ValueError):
        digest = base64.b64decode(remembered, validate=True)
        if len(digest) == 32:
            return digest
    return None


def remember_etag(file: int, etag: str) -> str:
    """Bind a tag to the file as it is now; give the tag that ``read_etag`` will find."""
    status = os.fstat(file)
    _write(file, ETAG_ATTRIBUTE, etag.strip('"').encode("ascii"), status)
    return read_etag(file, status)


def remember_sha256(file: int, digest: bytes, status: os.stat_result) -> None:
    """Bind a digest to the file as it was at ``status``; does nothing where that is impossible."""
    _write(file, SHA256_ATTRIBUTE, base64.b64encode(digest), status)


def _read(file: int | str, name: str, status: os.stat_result) -> bytes | None:
    try:
        value: bytes = xattr.getxattr(file, name)
    except OSError:
        return None
    version, _, rest = value.partition(b" ")
    bound, _, remembered = rest.partition(b" ")
    # An attribute is only as good as who wrote it: what could not stand in a header is no tag.
    if version != _FORMAT or bound != identity(status) or not remembered:
        return None
    if len(remembered) > _TAG_BYTES_MAX:
        return None
    return remembered if all(0x21 <= byte <= 0x7E and byte != 0x22 for byte in remembered) else None


def _write(file: int, name: str, value: bytes, status: os.stat_result) -> None:
    try:
        xattr.setxattr(file, name, b" ".join((_FORMAT, identity(status), value)))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            # Some filesystems also say so where an inode has no room for the attribute.
            return
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EROFS):
            raise
