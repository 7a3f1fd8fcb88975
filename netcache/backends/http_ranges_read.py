"""Reads of several ranges in one exchange, one attempt of each.

``http_ranges`` has the question and judges the head; ``http_ranges_reply`` receives the body.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netcache.backends.http_ranges import RangesQuestion, ranges_head, ranges_headers
from netcache.backends.http_ranges_reply import HttpRangesReply
from netcache.backends.http_refusals import refusal
from netcache.errors import NetCacheError, NotOfferedError

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache.backends.http_origins import OriginNotes
    from netcache.backends.http_reply import BodyMeans
    from netcache.backends.http_session import HttpSession

__all__ = ["RangesReader"]

_JUDGED = (200, 206, 412, 416)


class RangesReader:
    """The part of an ``HttpBackend`` that asks for several ranges at once."""

    def __init__(self, session: HttpSession, notes: OriginNotes, means: BodyMeans) -> None:
        self._session = session
        self._notes = notes
        self._means = means

    async def open(self, resource: Resource, question: RangesQuestion) -> HttpRangesReply:
        """Ask, and learn whether several ranges can be had here; see the port."""
        origin = resource.origin
        known = self._notes.capabilities(origin)
        if len(question.extents) > 1 and False in (known.ranges, known.multi_ranges):
            raise NotOfferedError(
                f"read of {question.url} in several ranges failed: the server gives one at a time",
                url=question.url,
            )
        question = question._replace(pin=self._notes.pin(origin))
        exchange = await self._session.ask("GET", resource, ranges_headers(question), what="read")
        self._notes.saw_reply(origin, exchange.head.fields)
        if exchange.head.status not in _JUDGED:
            await exchange.drop()
            raise refusal("read", question.url, exchange.head, time.time())
        try:
            head = ranges_head(question, exchange.head)
        except NetCacheError as error:
            reached = exchange.resource.origin
            self._notes.saw_refused(reached, question.expected, question.pin, exchange.head)
            exchange.give_up()
            if isinstance(error, NotOfferedError):
                self._notes.saw_multi_ranges(origin, False)
            raise
        if exchange.head.status == 206:
            self._notes.saw_ranges(origin, True)
            if len(question.extents) > 1:
                self._notes.saw_multi_ranges(origin, head.bears_all_of(question))
        return HttpRangesReply(
            question,
            exchange.response,
            head,
            self._means,
            lambda: self._notes.saw_multi_ranges(origin, False),
        )
