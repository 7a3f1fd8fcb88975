"""Folder listings: the JSON of nginx and the bundled server, the common HTML indexes.  Pure.

Rules:

1. Only direct children of the folder count, however their links are spelled (relative, absolute,
   percent-encoded); parents, sort links and other places are passed over.
2. A size or time is told only where the page has it exactly: ``1.2K`` is no size, and a time of
   whole minutes in an unknown time zone is no time.
3. Names that could not be plain local names are dropped and logged.
4. What is neither file nor folder (nginx: ``other``) has no entry; its name is in ``left_out``.
5. What is not a listing raises ``RemoteProtocolError``.
6. A page costs the memory of its entries and the time of its bytes, whatever it is made of.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urljoin

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.urls import Resource, as_folder, child, parse
from netcache.backends.http_fields import entity_tag, http_date, http_date_s, is_time, shown
from netcache.backends.http_html_index import NotAnIndexError, read_index
from netcache.backends.json_array import elements_of
from netcache.errors import RemoteProtocolError, UsageError
from netcache.spi import FolderListing, ResourceInfo

__all__ = ["ENTRIES_MAX", "LISTING_ACCEPT", "LISTING_BYTES_MAX", "is_plain_name", "parse_listing"]

LISTING_ACCEPT = "application/json, text/html;q=0.5"
LISTING_BYTES_MAX = 64 << 20
ENTRIES_MAX = 1_000_000
NAME_BYTES_MAX = 4096
DROPPED_NAMES_TOLD = 10
"""So many names that cannot be used are logged one by one; the others are counted."""

_CHARSET = re.compile(r"charset=\"?([\w.:-]{1,40})", re.IGNORECASE)
_PLAIN_LINK = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]*/?")
_TAIL = re.compile(
    r"(?:\d{2}-[A-Z][a-z]{2}-\d{4}|\d{4}-\d{2}-\d{2}) \d{2}:\d{2}(?::\d{2})?\s+(\S+)"
)
_SIZE_MAX = 1 << 63
_logger = logging.getLogger("netcache.http")


class _Entry(NamedTuple):
    name: str
    is_folder: bool | None
    """None: neither a file nor a folder."""
    size: int | None = None
    mtime_s: float | None = None
    etag: str | None = None


def is_plain_name(name: str) -> bool:
    """Whether a name from a server can be a plain local name."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        return False
    try:
        return len(name.encode("utf-8", "surrogateescape")) <= NAME_BYTES_MAX
    except UnicodeEncodeError:
        return False


def parse_listing(url: str, content_type: str, body: bytes) -> FolderListing:
    """The entries of the folder page ``body`` that ``url`` gave, sorted by name."""
    folder = as_folder(parse(url))
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or (not kind and body.lstrip()[:1] == b"["):
        entries = _from_json(folder, body)
    elif kind in ("text/html", "application/xhtml+xml", ""):
        entries = _from_html(folder, content_type, body)
    else:
        raise _not_a_listing(folder, f"its type is {shown(kind)}")
    by_name: dict[str, _Entry] = {}
    dropped = 0
    for entry in entries:
        if not is_plain_name(entry.name):
            dropped += 1
            if dropped <= DROPPED_NAMES_TOLD:
                _logger.warning("listing of %s: the name %.99r is dropped", folder.url, entry.name)
            continue
        known = by_name.get(entry.name)
        # Apache links each name twice (icon and text): the one that tells more counts.
        if known is None or (entry.size is not None and known.size is None):
            by_name[entry.name] = entry
        if len(by_name) > ENTRIES_MAX:
            raise RemoteProtocolError(
                f"listing of {folder.url} failed: more than {ENTRIES_MAX} entries", url=folder.url
            )
    if dropped > DROPPED_NAMES_TOLD:
        _logger.warning("listing of %s: %d names in all are dropped", folder.url, dropped)
    names = sorted(by_name)
    usable = (by_name[name] for name in names if by_name[name].is_folder is not None)
    listing = FolderListing(_info(folder, entry) for entry in usable)
    if len(listing) < len(names):
        listing.left_out = [name for name in names if by_name[name].is_folder is None]
    return listing


def _from_json(folder: Resource, body: bytes) -> Iterator[_Entry]:
    try:
        for item in elements_of(body):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise _not_a_listing(folder, "an element of the array bears no name")
            kind = item.get("type", "file")
            if kind in ("file", "directory"):
                yield _json_entry(item, kind == "directory")
            else:
                _logger.info("listing of %s: %.99r is a %.99r", folder.url, item["name"], kind)
                yield _Entry(item["name"], None)
    except (ValueError, RecursionError) as error:
        raise _not_a_listing(folder, f"its JSON is no sound array ({error})") from error


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
    if isinstance(value, int | float) and not isinstance(value, bool) and is_time(value):
        return float(value)
    return None


def _from_html(folder: Resource, content_type: str, body: bytes) -> Iterator[_Entry]:
    found = _CHARSET.search(content_type)
    try:
        for link in read_index(body, found[1] if found else None):
            target = _child_of(folder, link.href)
            if target is not None:
                yield _Entry(target.name, target.is_folder, _size_in(link.text, target))
    except NotAnIndexError as error:
        raise _not_a_listing(folder, str(error)) from error


def _child_of(folder: Resource, href: str | None) -> Resource | None:
    """The direct child of ``folder`` that ``href`` leads to, or None."""
    if not href:
        return None
    if _PLAIN_LINK.fullmatch(href):
        return child(folder, href.rstrip("/"), is_folder=href.endswith("/"))
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


def _size_in(text: str, target: Resource) -> int | None:
    """The size in the text that follows a link, in the style of nginx or Apache, if it is exact."""
    if target.is_folder:
        return None
    found = _TAIL.search(" ".join(text.split()))
    if found is None or not (found[1].isascii() and found[1].isdigit()):
        return None
    size = int(found[1]) if len(found[1]) < 20 else _SIZE_MAX
    return size if size < _SIZE_MAX else None


def _info(folder: Resource, entry: _Entry) -> ResourceInfo:
    url = child(folder, entry.name, is_folder=bool(entry.is_folder)).url
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
