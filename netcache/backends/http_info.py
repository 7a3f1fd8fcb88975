"""What the head of an answer tells of a resource: the wire rules of a stat.

A date is compared here rather than sent: "modified since" does not notice that an older file was
put in place.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netcache._core.coherency import Validator, ValidatorKind
from netcache._core.urls import as_folder
from netcache.backends.http_fields import (
    content_length,
    content_range,
    encoding_of,
    entity_tag,
    mtime_of,
    whole_digest,
)
from netcache.backends.http_refusals import refusal
from netcache.backends.http_wire import (
    WANT_DIGEST,
    Head,
    is_folder_page,
    unless_headers,
    whole_version,
)
from netcache.errors import RemoteProtocolError
from netcache.spi import ResourceInfo

if TYPE_CHECKING:
    from netcache._core.urls import Resource

__all__ = ["info_of", "is_of_no_use", "stat_fields"]

HEAD_REFUSED = (400, 403, 405, 501)
"""Statuses after which a ranged GET is tried instead of HEAD (signed URLs answer 403)."""
WANT_DIGEST_BEFORE = {"Want-Digest": "SHA-256"}
"""As it was before RFC 9530 (RFC 3230)."""
_PROVES_CURRENT = (
    ValidatorKind.STRONG_ETAG,
    ValidatorKind.STRONG_DATE,
    ValidatorKind.WEAK_ETAG,
)


def stat_fields(unless: Validator | None, want_digest: bool) -> dict[str, str]:
    """What a stat asks for besides."""
    fields = WANT_DIGEST | WANT_DIGEST_BEFORE if want_digest else {}
    if unless is not None and unless.is_etag:
        fields |= unless_headers(unless)
    return fields


def is_of_no_use(head: Head, found: Resource) -> bool:
    """Whether the answer to a ``HEAD`` leaves the question to a GET."""
    lacks_size = (
        head.status == 200
        and content_length(head.fields) is None
        and not is_folder_page(found.path, head.fields)
    )
    return lacks_size or head.status in HEAD_REFUSED


def info_of(
    asked: Resource, found: Resource, head: Head, unless: Validator | None
) -> ResourceInfo | None:
    """What ``head``, the answer of ``found``, tells of ``asked``; None: ``unless`` is current.

    Raises what the server answers, as an error of a stat.
    """
    if head.status == 304 and unless is not None:
        return None
    if head.status not in (200, 206, 416):
        raise refusal("stat", asked.url, head, time.time())
    if is_folder_page(found.path, head.fields):
        folder = as_folder(asked)
        mtime_s = mtime_of(head.fields)
        return ResourceInfo(folder.url, folder.name, "directory", None, mtime_s, None)
    if (coding := encoding_of(head.fields)) is not None:
        raise RemoteProtocolError(
            f"stat of {asked.url} failed: the server encodes the bytes ({coding}) though "
            "identity was asked for",
            url=asked.url,
        )
    size = content_length(head.fields)
    if head.status != 200:
        told = content_range(head.fields.get("Content-Range"))
        size = told.total if told is not None else None
    version = whole_version(head.fields, size)
    current = version.validator if version is not None else None
    if current is not None and current == unless and current.kind in _PROVES_CURRENT:
        return None
    tag = entity_tag(head.fields.get("ETag"))
    return ResourceInfo(
        asked.url,
        asked.name,
        "file",
        size,
        mtime_of(head.fields),
        tag.value if tag is not None else None,
        version,
        whole_digest(head.fields),
    )
