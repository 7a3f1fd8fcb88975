"""Folder listings: the JSON of nginx and the bundled server, the common HTML indexes.  Pure.

Rules:

1. Only direct children of the folder count, however their links are spelled (relative, absolute,
   percent-encoded); parents, sort links and other places are passed over.
2. A size or time is told only where the page has it exactly: ``1.2K`` is no size, and a time of
   whole minutes in an unknown time zone is no time.
3. Names that could not be plain local names are dropped and logged.
4. What is not a listing raises ``RemoteProtocolError``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urljoin

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.urls import Resource, as_folder, child, parse
from netcache.backends.http_fields import entity_tag, http_date, http_date_s
from netcache.errors import RemoteProtocolError, UsageError
from netcache.spi import ResourceInfo

__all__ = ["ENTRIES_MAX", "LISTING_ACCEPT", "LISTING_BYTES_MAX", "is_plain_name", "parse_listing"]

LISTING_ACCEPT = "application/json, text/html;q=0.5"
LISTING_BYTES_MAX = 64 << 20
ENTRIES_MAX = 1_000_000

_TITLE = re.compile(
    r"\s*(index of\b|directory listing\b|directory:|listing of\b|contents of\b)", re.IGNORECASE
)
_TAIL = re.compile(
    r"(?:\d{2}-[A-Z][a-z]{2}-\d{4}|\d{4}-\d{2}-\d{2}) \d{2}:\d{2}(?::\d{2})?\s+(\S+)"
)
_SIZE_MAX = 1 << 63
_logger = logging.getLogger("netcache.http")


class _Entry(NamedTuple):
    name: str
    is_folder: bool
    size: int | None = None
    mtime_s: float | None = None
    etag: str | None = None


def is_plain_name(name: str) -> bool:
    """Whether a name from a server can be a plain local name."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        return False
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def parse_listing(url: str, content_type: str, body: bytes) -> list[ResourceInfo]:
    """The entries of the folder page ``body`` that ``url`` gave, sorted by name."""
    folder = as_folder(parse(url))
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or (not kind and body.lstrip()[:1] == b"["):
        entries = _from_json(folder, body)
    elif kind in ("text/html", "application/xhtml+xml", ""):
        entries = _from_html(folder, content_type, body)
    else:
        raise _not_a_listing(folder, f"its type is {kind}")
    by_name: dict[str, _Entry] = {}
    for entry in entries:
        if not is_plain_name(entry.name):
            _logger.warning("listing of %s: the name %r is dropped", folder.url, entry.name)
            continue
        known = by_name.get(entry.name)
        # Apache links each name twice (icon and text): the one that tells more counts.
        if known is None or (entry.size is not None and known.size is None):
            by_name[entry.name] = entry
        if len(by_name) > ENTRIES_MAX:
            raise RemoteProtocolError(
                f"listing of {folder.url} failed: more than {ENTRIES_MAX} entries", url=folder.url
            )
    return [_info(folder, by_name[name]) for name in sorted(by_name)]


def _from_json(folder: Resource, body: bytes) -> Iterator[_Entry]:
    try:
        items = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise _not_a_listing(folder, f"it is not sound JSON ({error})") from error
    if not isinstance(items, list):
        raise _not_a_listing(folder, "it is JSON, but no array")
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise _not_a_listing(folder, "an element of the array bears no name")
        kind = item.get("type", "file")
        if kind not in ("file", "directory"):
            _logger.info("listing of %s: %r is a %s", folder.url, item["name"], kind)
            continue
        yield _json_entry(item, kind == "directory")


def _json_entry(item: dict[str, Any], is_folder: bool) -> _Entry:
    size, etag = item.get("size"), item.get("etag")
    sound = type(size) is int and 0 <= size < _SIZE_MAX
    return _Entry(
        item["name"].rstrip("/") if is_folder else item["name"],
        is_folder,
        size if sound and not is_folder else None,
        _json_time(item.get("mtime")),
        etag if isinstance(etag, str) and entity_tag(etag) is not None else None,
    )


def _json_time(value: object) -> float | None:
    if isinstance(value, str):
        return http_date_s(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 40:
        return float(value)
    return None


def _from_html(folder: Resource, content_type: str, body: bytes) -> Iterator[_Entry]:
    # Not needed for JSON; costs a tenth of aiohttp.
    from lxml import etree, html

    found = re.search(r"charset=\"?([\w.:-]+)", content_type, re.IGNORECASE)
    try:
        parser = html.HTMLParser(encoding=found[1] if found else "utf-8", huge_tree=True)
    except LookupError:
        parser = html.HTMLParser(encoding="utf-8", huge_tree=True)
    try:
        page = html.document_fromstring(body, parser=parser)
    except (etree.LxmlError, ValueError) as error:
        raise _not_a_listing(folder, "it is not HTML") from error
    if not _is_index(page):
        raise _not_a_listing(folder, "it is a page, but not an index")
    for link in page.iter("a"):
        target = _child_of(folder, link.get("href"))
        if target is not None:
            yield _Entry(target.name, target.is_folder, _size_behind(link, target))


def _is_index(page: Any) -> bool:
    for tag in ("title", "h1"):
        if any(_TITLE.match(element.text_content()) for element in page.iter(tag)):
            return True
    return any((link.get("href") or "") in ("../", "..") for link in page.iter("a"))


def _child_of(folder: Resource, href: str | None) -> Resource | None:
    """The direct child of ``folder`` that ``href`` leads to, or None."""
    if not href:
        return None
    try:
        target = parse(urljoin(folder.url, href.strip()))
    except (UsageError, ValueError):
        return None
    if target.origin != folder.origin or target.query or "?" in href:
        return None
    if not target.path.startswith(folder.path):
        return None
    rest = target.path[len(folder.path) :].removesuffix("/")
    return target if rest and "/" not in rest else None


def _size_behind(link: Any, target: Resource) -> int | None:
    """The size in the text that follows a link, in the style of nginx or Apache, if it is exact."""
    if target.is_folder:
        return None
    cell = link.getparent()
    text = link.tail or ""
    if cell is not None and cell.tag == "td":
        text = " ".join(other.text_content() for other in cell.itersiblings("td"))
    found = _TAIL.search(" ".join(text.split()))
    if found is None or not (found[1].isascii() and found[1].isdigit()):
        return None
    size = int(found[1])
    return size if size < _SIZE_MAX else None


def _info(folder: Resource, entry: _Entry) -> ResourceInfo:
    url = child(folder, entry.name, is_folder=entry.is_folder).url
    if entry.is_folder:
        return ResourceInfo(url, entry.name, "directory", None, entry.mtime_s, None)
    return ResourceInfo(
        url, entry.name, "file", entry.size, entry.mtime_s, entry.etag, _version(entry)
    )


def _version(entry: _Entry) -> Version | None:
    if entry.size is None:
        return None
    mtime_s = None if entry.mtime_s is None else int(entry.mtime_s)
    validator = entity_tag(entry.etag)
    if validator is None and mtime_s is not None:
        # Nothing tells how old the time was when it was listed (RFC 9110 8.8.2.2).
        validator = Validator(ValidatorKind.WEAK_DATE, http_date(mtime_s))
    if validator is None:
        return None
    return Version(validator, entry.size, mtime_s)


def _not_a_listing(folder: Resource, why: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"listing of {folder.url} failed: {why}; the server shows no folder there", url=folder.url
    )
