"""HTML indexes of folders, read as a stream: the links of a page and the text behind each.  Pure.

Rules:

1. No tree is built, so a page costs the memory of what it yields, whatever it is made of.
2. What no index has ends the reading: tags with very many attributes, very deep nesting, a long
   stretch without a tag or text (one endless tag or comment), a long beginning that does not say
   that it is an index.  Each would cost time or memory out of proportion.
3. The text behind a link is what follows it up to the next link; in a table, up to the row's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Link", "NotAnIndexError", "read_index"]

STEP_BYTES = 16 * 1024
IDLE_STEPS_MAX = 4
"""So many steps may bring nothing: a longer tag or comment is no index's."""
HEADLESS_STEPS_MAX = 16
"""The title, the heading or the link to the parent stands within so many steps."""
ATTRIBUTES_MAX = 64
DEPTH_MAX = 256
LINK_CHARACTERS_MAX = 16 * 1024
TEXT_CHARACTERS_MAX = 512
ROW_LINKS_MAX = 8

_TITLE = re.compile(
    r"\s*(index of\b|directory listing\b|directory:|listing of\b|contents of\b)", re.IGNORECASE
)


class NotAnIndexError(ValueError):
    """The page is no index, or nothing that could be read as one; the text says why."""


class Link(NamedTuple):
    """A link, and the text behind it."""

    href: str
    text: str


def read_index(body: bytes, charset: str | None) -> Iterator[Link]:
    """The links of a page as it is read.  Raises ``NotAnIndexError``, at its end at the latest."""
    # Not needed for JSON; costs a tenth of aiohttp.
    from lxml import etree

    page = _Page()
    try:
        parser = etree.HTMLParser(target=page, encoding=charset or "utf-8")
    except LookupError:
        parser = etree.HTMLParser(target=page, encoding="utf-8")
    idle = 0
    try:
        for number, start in enumerate(range(0, len(body), STEP_BYTES)):
            before = page.events
            parser.feed(body[start : start + STEP_BYTES])
            idle = idle + 1 if page.events == before else 0
            if idle > IDLE_STEPS_MAX:
                raise NotAnIndexError("a tag of it is too long")
            if number >= HEADLESS_STEPS_MAX and not page.is_index:
                raise NotAnIndexError("it is a page, but not an index")
            yield from page.take()
        if body:
            parser.close()
    except etree.LxmlError as error:
        raise NotAnIndexError("it is not HTML") from error
    page.end_row()
    if not page.is_index:
        raise NotAnIndexError("it is a page, but not an index")
    yield from page.take()


class _Page:
    """What the parser tells of a page: the target of its events.  Its method names are lxml's."""

    def __init__(self) -> None:
        self.events = 0
        self.is_index = False
        self._depth = 0
        self._heading: str | None = None
        self._in_link = False
        self._cells = 0
        # Links that wait for the text behind them, each with the place where that begins.
        self._waiting: list[tuple[str, int]] = []
        self._text = ""
        self._done: list[Link] = []

    def take(self) -> list[Link]:
        """The links that are complete."""
        done, self._done = self._done, []
        return done

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """A tag opens."""
        self.events += 1
        self._depth += 1
        if self._depth > DEPTH_MAX or len(attributes) > ATTRIBUTES_MAX:
            raise NotAnIndexError("no index is built like this page")
        if tag == "a":
            self._open_link(attributes.get("href"))
        elif tag in ("title", "h1"):
            self._heading = ""
        elif tag == "tr":
            self.end_row()
        elif tag == "td":
            self._cells += 1
            self.data(" ")

    def end(self, tag: str) -> None:
        """A tag closes."""
        self.events += 1
        self._depth -= 1
        if tag == "a":
            self._in_link = False
        elif tag in ("title", "h1"):
            self._judge_heading()
        elif tag in ("tr", "pre", "ul", "table"):
            self.end_row()

    def data(self, text: str) -> None:
        """Text; that of a link itself does not count as what follows it."""
        self.events += 1
        if self._heading is not None and len(self._heading) < TEXT_CHARACTERS_MAX:
            self._heading += text[:TEXT_CHARACTERS_MAX]
        if self._waiting and not self._in_link and len(self._text) < TEXT_CHARACTERS_MAX:
            self._text += text[:TEXT_CHARACTERS_MAX]

    def comment(self, text: str) -> None:
        """A comment."""
        self.events += 1

    def pi(self, target: str, data: str | None = None) -> None:
        """A processing instruction."""
        self.events += 1

    def close(self) -> None:
        """The page ends."""
        self._judge_heading()

    def end_row(self) -> None:
        """The links that wait get the text that came after them."""
        for href, start in self._waiting:
            self._done.append(Link(href, self._text[start:]))
        self._waiting.clear()
        self._text = ""
        self._cells = 0

    def _open_link(self, href: str | None) -> None:
        if not self._cells or len(self._waiting) >= ROW_LINKS_MAX:
            self.end_row()
        self._in_link = True
        if href is None or len(href) > LINK_CHARACTERS_MAX:
            return
        self.is_index = self.is_index or href in ("../", "..")
        self._waiting.append((href, len(self._text)))

    def _judge_heading(self) -> None:
        if self._heading is not None and _TITLE.match(self._heading):
            self.is_index = True
        self._heading = None
