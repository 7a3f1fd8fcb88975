"""`netcache pin`."""

from __future__ import annotations

from netcache_cli.places import Url
from netcache_cli.session import Session
from netcache_cli.verb import argument, verb


@verb("pin")
@argument("urls", metavar="URL...", nargs=-1, required=True, type=Url())
def command(session: Session, urls: tuple[str, ...]) -> int | None:
    """Keep resources from being culled, cached already or not."""
    with session.client(about_cache=True, local=True) as client:
        client.pin(urls)
    if session.settings.json:
        session.document({"pinned": len(urls)})
    elif not session.settings.quiet:
        session.line(f"{len(urls)} pinned")
    return None
