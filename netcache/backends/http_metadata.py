"""Metadata over HTTP: stat and folder listings, one attempt of each.

Rules:

1. A stat is a HEAD; where the server refuses HEAD, or tells no length in it, a GET of one byte.
2. A date is compared here rather than sent: "modified since" does not notice that an older file
   was put in place.
3. A folder is a page (HTML or JSON) at a path that ends with a slash, after redirects.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from netcache._core.coherency import Validator, ValidatorKind
from netcache._core.urls import Resource, as_folder, child
from netcache.backends.http_body import next_chunk
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
from netcache.errors import RemoteProtocolError, TransientError
from netcache.spi import ResourceInfo

if TYPE_CHECKING:
    from netcache.backends.http_origins import OriginNotes
    from netcache.backends.http_session import Exchange, HttpSession
    from netcache.backends.http_small import SmallReads

__all__ = ["Metadata"]

HEAD_REFUSED = (400, 403, 405, 501)
"""Statuses after which a ranged GET is tried instead of HEAD (signed URLs answer 403)."""
_PROVES_CURRENT = (
    ValidatorKind.STRONG_ETAG,
    ValidatorKind.STRONG_DATE,
    ValidatorKind.WEAK_ETAG,
)
WANT_DIGEST_BEFORE = {"Want-Digest": "SHA-256"}
"""As it was before RFC 9530 (RFC 3230)."""
_PARSED_IN_PLACE_MAX = 128 * 1024


class Metadata:
    """The asking half of an ``HttpBackend``."""

    def __init__(self, session: HttpSession, notes: OriginNotes) -> None:
        self._session = session
        self._notes = notes

    async def stat(
        self, asked: Resource, unless: Validator | None, want_digest: bool
    ) -> ResourceInfo | None:
        """What ``asked`` is; None when ``unless`` is still current."""
        headers = _fields_of(unless, want_digest)
        exchange = await self._session.ask("HEAD", asked, headers, what="stat")
        if _is_of_no_use(exchange.head, exchange.resource):
            await exchange.drop()
            headers["Range"] = "bytes=0-0"
            exchange = await self._session.ask("GET", asked, headers, what="stat")
        try:
            return self._info(asked, exchange.resource, exchange.head, unless, want_digest)
        finally:
            await exchange.drop()

    async def check_small(
        self, asked: Resource, unless: Validator, want_digest: bool, lanes: SmallReads
    ) -> ResourceInfo | None:
        """``stat``, on one of the ``lanes`` where that is possible."""
        answer = await lanes.ask_head(asked, _fields_of(unless, want_digest))
        if answer is None:
            return await self.stat(asked, unless, want_digest)
        head = lanes.head_of(answer, asked)
        if _is_of_no_use(head, asked):
            lanes.refused_head(asked)
            return await self.stat(asked, unless, want_digest)
        return self._info(asked, asked, head, unless, want_digest)

    def _info(
        self,
        asked: Resource,
        found: Resource,
        head: Head,
        unless: Validator | None,
        want_digest: bool,
    ) -> ResourceInfo | None:
        """What ``head``, the answer of ``found``, tells of ``asked``."""
        self._notes.saw_reply(asked.origin, head.fields)
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
        digest = whole_digest(head.fields)
        if want_digest:
            self._notes.saw_whole_digest(asked.origin, digest is not None)
        return ResourceInfo(
            asked.url,
            asked.name,
            "file",
            size,
            mtime_of(head.fields),
            tag.value if tag is not None else None,
            version,
            digest,
        )

    async def list_folder(self, folder: Resource) -> list[ResourceInfo]:
        """The entries of ``folder``."""
        # Imported here: a transfer of a file reads no pages.
        from netcache.backends.http_listing import LISTING_ACCEPT, parse_listing

        exchange = await self._session.ask(
            "GET", folder, {"Accept": LISTING_ACCEPT}, what="listing"
        )
        head = exchange.head
        self._notes.saw_reply(folder.origin, head.fields)
        if head.status != 200:
            await exchange.drop()
            raise refusal("listing", folder.url, head, time.time())
        try:
            body = await self._read_page(folder, exchange)
        finally:
            exchange.give_up()
        arguments = (exchange.resource.url, head.fields.get("Content-Type") or "", body)
        if len(body) <= _PARSED_IN_PLACE_MAX:
            entries = parse_listing(*arguments)
        else:
            entries = await asyncio.to_thread(parse_listing, *arguments)
        if exchange.resource.url == folder.url:
            return entries
        return [
            entry._replace(url=child(folder, entry.name, is_folder=entry.type == "directory").url)
            for entry in entries
        ]

    async def _read_page(self, folder: Resource, exchange: Exchange) -> bytes:
        """The body of a folder's page, of a bounded size."""
        from netcache.backends.http_listing import LISTING_BYTES_MAX

        if (coding := encoding_of(exchange.head.fields)) is not None:
            raise RemoteProtocolError(
                f"listing of {folder.url} failed: the server encodes it ({coding})", url=folder.url
            )
        timeout_s = self._session.options.timeout_s
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := await next_chunk(exchange.response, timeout_s):
                chunks.append(chunk)
                size += len(chunk)
                if size > LISTING_BYTES_MAX:
                    raise RemoteProtocolError(
                        f"listing of {folder.url} failed: it is longer than "
                        f"{LISTING_BYTES_MAX >> 20} MiB",
                        url=folder.url,
                    )
        except TransientError as error:
            raise type(error)(
                f"listing of {folder.url} broke off after {size} bytes: {error}", url=folder.url
            ) from error
        return b"".join(chunks)


def _fields_of(unless: Validator | None, want_digest: bool) -> dict[str, str]:
    """What a stat asks for besides."""
    fields = WANT_DIGEST | WANT_DIGEST_BEFORE if want_digest else {}
    if unless is not None and unless.is_etag:
        fields |= unless_headers(unless)
    return fields


def _is_of_no_use(head: Head, found: Resource) -> bool:
    """Whether the answer to a ``HEAD`` leaves the question to a GET."""
    lacks_size = (
        head.status == 200
        and content_length(head.fields) is None
        and not is_folder_page(found.path, head.fields)
    )
    return lacks_size or head.status in HEAD_REFUSED
