"""`netcache cat`."""

from __future__ import annotations

from netcache_cli.places import Url
from netcache_cli.session import Session, write_all
from netcache_cli.values import Size
from netcache_cli.verb import argument, option, verb


@verb("cat")
@argument("url", type=Url())
@option("--offset", type=Size(), default=0, help="Start here.")
@option("--count", type=Size(), help="So many bytes.")
def command(session: Session, url: str, offset: int, count: int | None) -> int | None:
    """Print a resource, or a part of it.

    Only the bytes asked for, rounded to blocks, are fetched.
    """
    with session.client(quick=True) as client:
        for piece in client.cat(url, offset, count):
            write_all(piece)
    return None
