"""`netcache rm`."""

from __future__ import annotations

from netcache_cli.places import Url
from netcache_cli.session import Session
from netcache_cli.verb import argument, option, verb


@verb("rm")
@argument("url", type=Url())
@option(
    "-r", "--recursive", is_flag=True, typed_only=True, help="A folder, with all that lies in it."
)
def command(session: Session, url: str, recursive: bool) -> int | None:
    """Delete from the server, and forget in the cache."""
    with session.client() as client:
        report = client.rm(url, recursive=recursive)
    return session.finish(report)
