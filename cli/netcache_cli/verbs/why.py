"""`netcache cache why`: why reads hit or missed.  No server is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netcache_cli.places import Url
from netcache_cli.session import Session
from netcache_cli.text import columns, format_time
from netcache_cli.values import Range, Size
from netcache_cli.verb import argument, option, verb

if TYPE_CHECKING:
    from netcache._client.explaining import Explanation, Found, PastRead


@verb("why")
@argument("url", type=Url())
@option("--offset", type=Size(), help="Explain what lies from here on.")
@option("--count", type=Size(), help="So many bytes.")
@option("--range", "extent", type=Range(), metavar="START-END", help="The same; END is exclusive.")
def command(
    session: Session,
    url: str,
    offset: int | None,
    count: int | None,
    extent: tuple[int, int] | None,
) -> int | None:
    """Tell why reads of a resource hit or missed, and what a read would find now.

    Each miss has one cause: never fetched, culled, version changed, expired, checksum, dropped,
    partial block, cache down.

    --json prints {url, size, now: [{start, end, cached, cause}, ...], reads: [{time, start, end,
    cause, hits}, ...]}; end is -1 where the size is not known, the cause of a hit is null.
    """
    if extent is not None:
        if offset is not None or count is not None:
            raise click.UsageError("--range says what --offset and --count say (leave them out)")
        offset, count = extent[0], extent[1] - extent[0]
    with session.client(about_cache=True, local=True) as client:
        found = client.cache.why(url, offset or 0, count)
    if session.settings.json:
        session.document(_document(found))
        return None
    for line in _lines(found, on_terminal=session.on_terminal):
        session.line(line)
    return None


def _document(found: Explanation) -> dict[str, object]:
    return {
        "url": found.url,
        "size": found.size,
        "now": [
            {
                "start": one.start,
                "end": one.end,
                "cached": one.cause is None,
                "cause": one.cause.value if one.cause else None,
            }
            for one in found.now
        ],
        "reads": [
            {
                "time": one.when_s,
                "start": one.start,
                "end": one.end,
                "cause": one.cause.value if one.cause else None,
                "hits": one.hits,
            }
            for one in found.reads
        ],
    }


def _lines(found: Explanation, *, on_terminal: bool) -> list[str]:
    rows = [("now", _place(one), one.cause.value if one.cause else "cached") for one in found.now]
    for one in found.reads:
        when = format_time(one.when_s, exact=not on_terminal)
        if one.cause is None:
            rows.append((when, "", f"{one.hits} {'hit' if one.hits == 1 else 'hits'}"))
        else:
            rows.append((when, _place(one), one.cause.value))
    return columns(rows)


def _place(one: Found | PastRead) -> str:
    return f"{one.start}-{one.end if one.end >= 0 else 'end'}"
