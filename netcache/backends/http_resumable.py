"""The fields of resumable uploads (draft-ietf-httpbis-resumable-upload).  Pure."""

from __future__ import annotations

from urllib.parse import urljoin

from netcache._core.extent import Extent
from netcache._core.urls import Resource, parse
from netcache.backends.http_fields import Fields, all_of, sha256_field
from netcache.errors import UsageError

__all__ = [
    "adding_headers",
    "beginning_headers",
    "is_complete",
    "located",
    "upload_length",
    "upload_limit",
    "upload_offset",
]

PARTIAL_TYPE = "application/partial-upload"
SIZE_MAX = 1 << 62
_NUMBER_DIGITS_MAX = 18


def upload_limit(fields: Fields) -> Extent | None:
    """How large resumable uploads may be (``Upload-Limit``), as ``[smallest, largest + 1)``.

    None where there are none, or nothing is to be understood.
    """
    text = all_of(fields, "Upload-Limit")
    smallest, largest = 0, SIZE_MAX
    for member in text.split(","):
        name, _, value = member.partition(";")[0].strip().partition("=")
        number = _number(value)
        if name in ("min-size", "max-size") and number is None:
            return None
        if name == "min-size":
            smallest = number or 0
        elif name == "max-size":
            largest = number or 0
    return Extent(smallest, largest + 1) if text.strip() and smallest <= largest else None


def upload_offset(fields: Fields) -> int | None:
    """How much the server says it has (``Upload-Offset``)."""
    return _number(fields.get("Upload-Offset"))


def upload_length(fields: Fields) -> int | None:
    """How long the server says it will be (``Upload-Length``)."""
    return _number(fields.get("Upload-Length"))


def is_complete(fields: Fields) -> bool:
    """Whether the server says that it has all (``Upload-Complete``)."""
    return fields.get("Upload-Complete", "").strip() == "?1"


def located(target: Resource, at: str, location: str) -> Resource | None:
    """Where an upload to ``target`` lies, named by ``location`` in the answer of ``at``.

    None for another origin: it has not been given these bytes, nor the credentials for them.
    """
    try:
        found = parse(urljoin(at, location))
    except (UsageError, ValueError):
        return None
    if not location or found.origin != target.origin:
        return None
    return found._replace(user=None, password=None)


def beginning_headers(size: int, mtime_s: float | None) -> dict[str, str]:
    """The headers of the request that begins an upload, without its preconditions."""
    headers = {
        "Upload-Complete": "?0",
        "Upload-Length": str(size),
        "Content-Length": "0",
        "Content-Type": "application/octet-stream",
    }
    if mtime_s is not None:
        headers["X-OC-Mtime"] = str(int(mtime_s))
    return headers


def adding_headers(start: int, size: int, digest: bytes | None) -> dict[str, str]:
    """The headers of the request that brings all from ``start`` on; ``digest`` is of the whole.

    ``X-Upload-Repr-Digest`` is by private agreement: in a ``PATCH``, ``Repr-Digest`` would be the
    digest of the patch (RFC 9530 3).  Who does not know it takes no notice.
    """
    headers = {
        "Content-Type": PARTIAL_TYPE,
        "Upload-Complete": "?1",
        "Upload-Offset": str(start),
        "Content-Length": str(size - start),
    }
    if digest is not None:
        headers["X-Upload-Repr-Digest"] = sha256_field(digest)
    return headers


def _number(text: str | None) -> int | None:
    digits = (text or "").strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _NUMBER_DIGITS_MAX):
        return None
    return int(digits)
