"""`netcache stat`."""

from __future__ import annotations

from netcache._core.units import format_size
from netcache_cli.listing import info_as_json
from netcache_cli.places import Url
from netcache_cli.session import Session
from netcache_cli.text import format_time, printable
from netcache_cli.verb import argument, verb


@verb("stat")
@argument("url", type=Url())
def command(session: Session, url: str) -> int | None:
    """Tell type, size, time and version of a resource."""
    with session.client() as client:
        info = client.stat(url)
    if session.settings.json:
        session.document(info_as_json(info))
        return None
    size = "-" if info.size is None else f"{info.size} bytes ({format_size(info.size)})"
    for label, value in (
        ("url", info.url),
        ("type", info.type),
        ("size", size),
        ("mtime", format_time(info.mtime_s, exact=True)),
        ("etag", info.etag or "-"),
    ):
        session.line(f"{label + ':':<7}{printable(value)}")
    return None
