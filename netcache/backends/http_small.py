"""Reads of small resources, and checks of them: on lanes (``http_lanes``) where that is possible.

It is for many resources that are wanted whole, at an origin that has answered aiohttp before,
directly: what it takes to reach it, aiohttp knows then, and it makes the connections.  Lanes take
no more than a quarter of the connections that an origin may have, and what goes the ordinary way
has as many turns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from multidict import CIMultiDict

from netcache.backends.aiohttp_import import aiohttp
from netcache.backends.http_failures import connection_error
from netcache.backends.http_lanes import Lanes
from netcache.backends.http_plain import PlainAnswer, field_lines, is_plain_value, plain_request
from netcache.backends.http_signs import Sign
from netcache.backends.http_wire import Head

if TYPE_CHECKING:
    from netcache._core.coherency import Validator, Version
    from netcache._core.urls import Resource
    from netcache.backends.http_session import HttpSession

__all__ = ["SmallReads"]

PART = 4
"""Lanes are one of so many of an origin's connections."""

_logger = logging.getLogger("netcache.http")


class SmallReads:
    """Asks for small resources.  On the client's loop."""

    def __init__(self, session: HttpSession, *, has_lanes: bool) -> None:
        self.turns = asyncio.Semaphore(max(1, session.options.connections // PART))
        self._session = session
        self._has_lanes = has_lanes
        self._lanes_most = session.options.connections // PART
        self._origins: dict[str, _Origin] = {}

    def reaches(self, resource: Resource) -> bool:
        """Whether there are lanes to the origin of ``resource``."""
        return self._open_origin(resource) is not None

    async def ask(self, resource: Resource, listed: Version | None) -> PlainAnswer | None:
        """Ask for all of a resource; None: it is to be asked for the ordinary way.

        ``listed`` is its version in a listing.  Raises ``TransientError`` when no answer came.
        """
        origin = self._open_origin(resource)
        if origin is None:
            return None
        fields = self._session.access.headers_for(resource, resource.origin)
        request = plain_request(resource.target, origin.lines_with(fields))
        return await self._answer("GET", "read", resource, origin, request, Sign.of(listed))

    async def ask_head(
        self, resource: Resource, own: Mapping[str, str], unless: Validator
    ) -> PlainAnswer | None:
        """Ask for the head of a resource, with the fields ``own`` besides; as ``ask``.

        ``own`` asks whether ``unless`` is still current.
        """
        origin = self._open_origin(resource)
        if origin is None or origin.refuses_heads or not all(map(is_plain_value, own.values())):
            return None
        fields = self._session.access.headers_for(resource, resource.origin)
        if not {name.lower() for name in fields}.isdisjoint(name.lower() for name in own):
            return None
        lines = origin.lines_with(fields) + field_lines(own)
        request = plain_request(resource.target, lines, b"HEAD")
        sign = Sign.of_check(unless)
        return await self._answer("HEAD", "stat", resource, origin, request, sign)

    @staticmethod
    def head_of(answer: PlainAnswer, resource: Resource) -> Head:
        """The head of an answer."""
        return Head(answer.status, CIMultiDict(answer.fields), resource.url)

    def refused_head(self, resource: Resource) -> None:
        """The answer to a ``HEAD`` was of no use: no more of them on the lanes of that origin."""
        if (origin := self._origins.get(resource.origin)) is not None:
            origin.refuses_heads = True

    async def _answer(
        self,
        method: str,
        what: str,
        resource: Resource,
        origin: _Origin,
        request: bytes | None,
        sign: Sign | None,
    ) -> PlainAnswer | None:
        if request is None:
            return None
        try:
            answer = await origin.lanes.ask(request, to_head=method == "HEAD", sign=sign)
        except (aiohttp.ClientError, OSError) as error:
            timeout_s = self._session.options.timeout_s
            raise connection_error(what, resource.url, error, timeout_s) from error
        if answer is not None:
            _logger.debug("%s %s: %s", method, resource.url, answer.status)
        return answer

    def _open_origin(self, resource: Resource) -> _Origin | None:
        """The origin of ``resource``, if it has lanes."""
        if not self._has_lanes:
            return None
        origin = self._origins.get(resource.origin) or self._reach(resource.origin)
        return None if origin is None or origin.lanes.closed else origin

    def _reach(self, name: str) -> _Origin | None:
        """An origin that has answered aiohttp before; None when there is no such way."""
        door = self._session.door_to(name)
        if door is None:
            return None
        timeout_s = self._session.options.timeout_s
        lanes = Lanes(door.connect, most=self._lanes_most, timeout_s=timeout_s)
        self._origins[name] = _Origin(lanes, door.fields)
        return self._origins[name]

    def limit_lanes(self, most: int) -> None:
        """Have no more than ``most`` lanes to each origin, as long as other processes have some.

        What goes the ordinary way from now on has as many turns.
        """
        self._lanes_most = min(most, self._session.options.connections // PART)
        self.turns = asyncio.Semaphore(max(1, self._lanes_most))
        for origin in self._origins.values():
            origin.lanes.limit(self._lanes_most)

    def close(self) -> None:
        """Give all connections up.  Idempotent."""
        for origin in self._origins.values():
            origin.lanes.close()


class _Origin:
    """The lanes to an origin, and what all requests there say."""

    def __init__(self, lanes: Lanes, fields: Mapping[str, str]) -> None:
        self.lanes = lanes
        self.refuses_heads = False
        self._fields = fields
        self._last: tuple[Mapping[str, str], bytes] | None = None

    def lines_with(self, fields: Mapping[str, str]) -> bytes:
        """The lines of the common fields, and of these, which go before them."""
        if self._last is None or self._last[0] != fields:
            own = {name.lower() for name in fields}
            common = {name: text for name, text in self._fields.items() if name.lower() not in own}
            self._last = fields, field_lines(common | dict(fields))
        return self._last[1]
