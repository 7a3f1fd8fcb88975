"""`netcache unpin`."""

from __future__ import annotations

from netcache_cli.places import Url
from netcache_cli.session import Session
from netcache_cli.verb import argument, verb


@verb("unpin")
@argument("urls", metavar="URL...", nargs=-1, required=True, type=Url())
def command(session: Session, urls: tuple[str, ...]) -> int | None:
    """Let resources be culled in their turn again."""
    with session.client(about_cache=True, local=True) as client:
        count = client.unpin(urls)
    if session.settings.json:
        session.document({"unpinned": count})
    elif not session.settings.quiet:
        session.line(f"{count} unpinned")
    return None
