"""The HTTP backend: the port ``netcache.spi.Backend`` over HTTP/1.1.

The parts: ``http_wire``, ``http_fields``, ``http_plain``, ``http_ranges`` and ``http_multipart``
decide (pure); ``http_session`` exchanges, by ``http_client`` (aiohttp), where little is asked by
``http_first`` and ``http_link``, where much that is small by ``http_small`` and ``http_lanes``;
``http_ranges_read`` asks for several ranges; ``http_body``, ``http_reply``, ``http_ranges_reply``
and ``http_takeover`` receive bodies; ``http_write``, ``http_update`` and ``http_move`` change what
is at the server, ``http_metadata`` and ``http_listing`` tell what is there.  This module ties them
together, with the retries.

Import cost: this is the only package of netcache that may import aiohttp (``aiohttp_import``).  The
parts are made, and their code is imported, when they are first needed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal, TypeVar

from netcache._core.extent import Extent, ExtentSet
from netcache._core.invariant import invariant
from netcache._core.retry import Retries, RetryPolicy
from netcache._core.urls import Resource, as_folder, parse
from netcache.backends.http_fields import whole_digest
from netcache.backends.http_options import HttpOptions
from netcache.backends.http_origins import OriginNotes
from netcache.backends.http_refusals import refusal
from netcache.backends.http_session import HttpSession
from netcache.backends.http_wire import (
    WANT_DIGEST,
    ReadQuestion,
    contradicts,
    read_head,
    read_headers,
)
from netcache.backends.throttle import Throttle
from netcache.errors import NetCacheError, TransientError
from netcache.spi import (
    UNCONDITIONAL,
    OriginCapabilities,
    RangesReply,
    ReadReply,
    ResourceInfo,
    UpdateData,
    UploadBody,
    UploadCondition,
    UploadReply,
)

if TYPE_CHECKING:
    from netcache._core.coherency import Validator, Version
    from netcache.backends.http_metadata import Metadata
    from netcache.backends.http_move import Mover
    from netcache.backends.http_questions import OriginQuestions
    from netcache.backends.http_ranges_read import RangesReader
    from netcache.backends.http_reply import BodyMeans
    from netcache.backends.http_small import SmallReads
    from netcache.backends.http_update import Updater
    from netcache.backends.http_write import Writer

__all__ = ["HttpBackend", "HttpOptions"]

_T = TypeVar("_T")
# The same few resources are asked for again and again; to parse a URL costs a tenth of a request.
_parsed = lru_cache(maxsize=1024)(parse)

_READ_ANSWERS = (200, 206, 304, 412, 416)


class HttpBackend:
    """A ``Backend`` for ``http`` and ``https``.  Connects at the first use."""

    def __init__(
        self, options: HttpOptions | None = None, *, retry: RetryPolicy | None = None
    ) -> None:
        self.options = options or HttpOptions()
        self.retry = retry or RetryPolicy(attempts=self.options.retries + 1, random=random.random)
        self._session = HttpSession(self.options)
        self._notes = OriginNotes()
        self._throttle = Throttle(self.options.bandwidth_limit)

    @cached_property
    def _means(self) -> BodyMeans:
        from netcache.backends.http_reply import BodyMeans

        options = self.options
        return BodyMeans(self._throttle, options.timeout_s, takeover=options.takeover)

    @cached_property
    def _small_reads(self) -> SmallReads:
        from netcache.backends.http_small import SmallReads

        return SmallReads(
            self._session, has_lanes=self.options.takeover and not self._throttle.limited
        )

    @cached_property
    def _ranges_reader(self) -> RangesReader:
        from netcache.backends.http_ranges_read import RangesReader

        return RangesReader(self._session, self._notes, self._means)

    @cached_property
    def _metadata(self) -> Metadata:
        from netcache.backends.http_metadata import Metadata

        return Metadata(self._session, self._notes)

    @cached_property
    def _questions(self) -> OriginQuestions:
        from netcache.backends.http_questions import OriginQuestions

        return OriginQuestions(self._session, self._notes)

    @cached_property
    def _writer(self) -> Writer:
        from netcache.backends.http_write import Writer

        return Writer(self, self._session, self._notes, lambda: self._questions, self._throttle)

    @cached_property
    def _updater(self) -> Updater:
        from netcache.backends.http_update import Updater

        return Updater(self, self._session, self._notes, self._questions, self._throttle)

    @cached_property
    def _mover(self) -> Mover:
        from netcache.backends.http_move import Mover

        return Mover(self, self._session, self._notes, self._writer)

    def add_credentials(self, origin: str, user: str, password: str) -> None:
        """Use these for ``origin`` (``scheme://host[:port]``) and no other."""
        self._session.access.add(origin, user, password)

    async def open_read(
        self,
        url: str,
        extent: Extent | None = None,
        *,
        expected: Version | None = None,
        unless: Validator | None = None,
    ) -> ReadReply:
        """Ask for bytes; see the port.  One request, except where a 416 names no version."""
        if extent is not None:
            invariant(
                extent.end == -1 or 0 <= extent.start < extent.end,
                "an extent to read is not empty",
                extent=extent,
            )
        resource = _parsed(url)
        question = ReadQuestion(resource.url, extent, expected, unless)
        return await self.retried(lambda: self._open_once(resource, question))

    async def open_small(self, url: str, listed: Version | None = None) -> ReadReply:
        """``open_read`` of all of a resource that is small, as far as anybody knows.

        ``listed`` is its version in a listing: with one it may be asked for behind others.
        """
        resource = _parsed(url)
        return await self.retried(lambda: self._open_small_once(resource, listed))

    def limit_small(self, at_once: int) -> None:
        """``open_small`` asks for no more than so many at a time, in as many rows."""
        self._small_reads.limit_lanes(at_once)

    async def open_ranges(
        self, url: str, extents: Sequence[Extent], *, expected: Version
    ) -> RangesReply:
        """Ask for several extents at once; see the port."""
        from netcache.backends.http_ranges import ranges_question

        resource = _parsed(url)
        asked = ExtentSet(extents)
        invariant(
            bool(asked) and all(0 <= start < end <= expected.size for start, end in extents),
            "extents to read are not empty and lie within the version",
            extents=extents,
        )
        invariant(expected.validator.joins_ranges, "the version joins ranges", version=expected)
        question = ranges_question(resource.url, asked, expected)
        return await self.retried(lambda: self._ranges_reader.open(resource, question))

    async def stat(
        self, url: str, *, unless: Validator | None = None, want_digest: bool = False
    ) -> ResourceInfo | None:
        """Metadata by HEAD, or by a GET of one byte where HEAD does not serve."""
        resource = _parsed(url)
        return await self.retried(lambda: self._metadata.stat(resource, unless, want_digest))

    async def check_small(
        self, url: str, *, unless: Validator, want_digest: bool
    ) -> ResourceInfo | None:
        """``stat`` of one of many small resources."""
        resource, lanes = _parsed(url), self._small_reads
        return await self.retried(
            lambda: self._metadata.check_small(resource, unless, want_digest, lanes)
        )

    async def list(self, url: str) -> list[ResourceInfo]:
        """The entries of a folder; see the port."""
        folder = as_folder(_parsed(url))
        return await self.retried(lambda: self._metadata.list_folder(folder))

    async def put(
        self,
        url: str,
        body: UploadBody,
        *,
        condition: UploadCondition = UNCONDITIONAL,
        mtime_s: float | None = None,
    ) -> UploadReply:
        """Store a body; see the port."""
        return await self._writer.put(_parsed(url), body, condition, mtime_s)

    async def learn(self, url: str) -> OriginCapabilities:
        """What the origin offers to writers, by ``OPTIONS``; see the port."""
        return await self._updater.learn(_parsed(url))

    async def update(
        self, url: str, start: int, data: UpdateData, *, size: int, condition: UploadCondition
    ) -> UploadReply:
        """Change a part; see the port."""
        return await self._updater.update(_parsed(url), start, data, size, condition)

    async def delete(self, url: str, *, condition: UploadCondition = UNCONDITIONAL) -> None:
        """Delete a file or an empty folder; see the port."""
        await self._writer.delete(_parsed(url), condition)

    async def move(
        self,
        url: str,
        to_url: str,
        *,
        condition: UploadCondition = UNCONDITIONAL,
        overwrite: bool = False,
    ) -> Literal["file", "directory"]:
        """Give a resource another name; see the port."""
        return await self._mover.move(_parsed(url), _parsed(to_url), condition, overwrite)

    async def make_folder(self, url: str) -> None:
        """Make a folder and its parents; see the port."""
        await self._writer.make_folder(as_folder(_parsed(url)))

    def capabilities(self, url: str) -> OriginCapabilities:
        """What replies have shown of the origin so far."""
        return self._notes.capabilities(_parsed(url).origin)

    def remembered(self, now_s: float) -> dict[str, dict[str, object]]:
        """What was learnt of origins, as a document that ``recall`` takes."""
        return self._notes.as_document(now_s)

    def recall(self, document: object, now_s: float) -> None:
        """Begin with what an earlier backend had learnt; nonsense is passed over."""
        self._notes.recall(document, now_s)

    async def close(self) -> None:
        """Close all connections.  Idempotent."""
        if "_small_reads" in vars(self):
            self._small_reads.close()
        await self._session.close()
        if "_means" in vars(self):
            self._means.pool.close()

    async def retried(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        """Do ``operation``, again after ``TransientError`` as the policy allows."""
        retries = Retries(self.retry)
        while True:
            try:
                return await operation()
            except TransientError as error:
                pause_s = retries.pause_s(error)
            await asyncio.sleep(pause_s)

    # One attempt of each.

    async def _open_small_once(self, resource: Resource, listed: Version | None) -> ReadReply:
        from netcache.backends.http_reply import HttpSmallReply

        question, lanes = ReadQuestion(resource.url, None, None, None), self._small_reads
        while True:
            had_lanes = lanes.reaches(resource)
            if (answer := await lanes.ask(resource, listed)) is not None:
                break
            async with lanes.turns:
                if had_lanes or not lanes.reaches(resource):
                    return await self._open_once(resource, question)
        head = lanes.head_of(answer, resource)
        self._notes.saw_reply(resource.origin, head.fields)
        if head.status != 200:
            raise refusal("read", resource.url, head, time.time())
        told = read_head(question, head)
        self._notes.saw_ranges(resource.origin, told.ranges_supported)
        return HttpSmallReply(told, answer.body)

    async def _open_once(self, resource: Resource, question: ReadQuestion) -> ReadReply:
        from netcache.backends.http_reply import HttpReadReply

        origin = resource.origin
        question = question._replace(pin=self._notes.pin(origin))
        headers = read_headers(question)
        # A check that may bring the whole shows whether a digest could have spared it.
        known = self._notes.capabilities(origin)
        learns = question.unless is not None and known.whole_digests is None
        if learns:
            headers |= WANT_DIGEST
        exchange = await self._session.ask("GET", resource, headers, what="read")
        self._notes.saw_reply(origin, exchange.head.fields)
        if learns and exchange.head.status == 200:
            self._notes.saw_whole_digest(origin, whole_digest(exchange.head.fields) is not None)
        if exchange.head.status not in _READ_ANSWERS:
            await exchange.drop()
            raise refusal("read", question.url, exchange.head, time.time())
        try:
            head = read_head(question, exchange.head)
        except NetCacheError:
            reached = exchange.resource.origin
            self._notes.saw_refused(reached, question.expected, question.pin, exchange.head)
            exchange.give_up()
            raise
        self._notes.saw_ranges(origin, head.ranges_supported)
        unless = question.unless if head.not_modified else None
        if unless is not None and contradicts(unless, exchange.head.fields):
            # "Not modified", but with another validator: an older file was put in place.
            exchange.give_up()
            return await self._open_once(resource, question._replace(unless=None))
        if exchange.head.status == 416:
            await exchange.drop()
            if head.version is None or not head.version.validator.value:
                version = await self._version_past_the_end(resource, question)
                head = head._replace(version=version)
        return HttpReadReply(question.url, exchange, head, self._means)

    async def _version_past_the_end(
        self, resource: Resource, question: ReadQuestion
    ) -> Version | None:
        """A 416 without a validator: ask what the resource is, so that the caller can tell."""
        info = await self._metadata.stat(resource, None, False)
        version = info.version if info is not None else None
        assert question.extent is not None
        if version is not None and version.size > question.extent.start:
            raise TransientError(
                f"read of {question} failed: it is being changed", url=question.url
            )
        return version
