"""The faults that are told in headers: validators, ranges and digests that are not true."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

from netcache_server.conditionals import Validators
from netcache_server.etag import new_etag
from netcache_server.faults import Effects

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")


def judged_validators(true: Validators, effects: Effects) -> Validators:
    """The validators by which conditions are judged: those that the client could have been told."""
    etag, last_modified = true
    match effects.validator:
        case "weak":
            return Validators(etag and "W/" + etag, last_modified)
        case "none":
            return Validators(None, None)
        case "last_modified_only":
            return Validators(None, last_modified)
        case "etag_only":
            return Validators(etag, None)
    return true


def distort_headers(headers: MutableMapping[str, str], effects: Effects) -> None:
    """Change the headers of an answer as the effects say."""
    _distort_validators(headers, effects)
    _distort_ranges(headers, effects)
    if effects.omit_date:
        headers.pop("Date", None)
    if effects.content_encoding is not None:
        headers["Content-Encoding"] = effects.content_encoding
    headers.update(effects.headers)
    removed = {name.lower() for name in effects.remove_headers}
    for name in [name for name in headers if name.lower() in removed]:
        del headers[name]


def _distort_validators(headers: MutableMapping[str, str], effects: Effects) -> None:
    etag = headers.get("ETag")
    if etag is not None and effects.etag is not None:
        headers["ETag"] = etag = new_etag() if effects.etag == "random" else effects.etag
    if etag is not None and effects.validator == "weak":
        headers["ETag"] = "W/" + etag.removeprefix("W/")
    if effects.validator in ("none", "last_modified_only"):
        headers.pop("ETag", None)
    if effects.validator in ("none", "etag_only"):
        headers.pop("Last-Modified", None)


def _distort_ranges(headers: MutableMapping[str, str], effects: Effects) -> None:
    if effects.ignore_range:
        headers.pop("Accept-Ranges", None)
    match = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
    if match is None:
        return
    first, last, total = (int(group) for group in match.groups())
    match effects.content_range:
        case "shifted":
            headers["Content-Range"] = f"bytes {first + 1}-{last + 1}/{total}"
        case "wrong_total":
            headers["Content-Range"] = f"bytes {first}-{last}/{total + 1}"
        case "unknown_total":
            headers["Content-Range"] = f"bytes {first}-{last}/*"
        case "missing":
            del headers["Content-Range"]
