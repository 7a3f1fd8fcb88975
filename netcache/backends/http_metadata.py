"""Metadata over HTTP: stat and folder listings, one attempt of each.

Rules:

1. A stat is a HEAD; where the server refuses HEAD, or tells no length in it, a GET of one byte.
2. A folder is a page (HTML or JSON) at a path that ends with a slash, after redirects.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from netcache._core.urls import Resource, child
from netcache.backends.http_body import next_chunk
from netcache.backends.http_fields import encoding_of
from netcache.backends.http_info import info_of, is_of_no_use, stat_fields
from netcache.backends.http_refusals import refusal
from netcache.errors import RemoteProtocolError, TransientError

if TYPE_CHECKING:
    from netcache._core.coherency import Validator
    from netcache.backends.http_origins import OriginNotes
    from netcache.backends.http_session import Exchange, HttpSession
    from netcache.backends.http_small import SmallReads
    from netcache.backends.http_wire import Head
    from netcache.spi import ResourceInfo

__all__ = ["Metadata"]

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
        headers = stat_fields(unless, want_digest)
        exchange = await self._session.ask("HEAD", asked, headers, what="stat")
        if is_of_no_use(exchange.head, exchange.resource):
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
        answer = await lanes.ask_head(asked, stat_fields(unless, want_digest), unless)
        if answer is None:
            async with lanes.turns:
                return await self.stat(asked, unless, want_digest)
        head = lanes.head_of(answer, asked)
        if is_of_no_use(head, asked):
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
        info = info_of(asked, found, head, unless)
        if want_digest and info is not None and info.type == "file":
            self._notes.saw_whole_digest(asked.origin, info.digest_sha256 is not None)
        return info

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
        from netcache.spi import FolderListing

        moved = FolderListing(
            entry._replace(url=child(folder, entry.name, is_folder=entry.type == "directory").url)
            for entry in entries
        )
        moved.left_out = entries.left_out
        return moved

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
