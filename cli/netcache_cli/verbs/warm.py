"""`netcache warm`."""

from __future__ import annotations

import click

from netcache_cli.places import Url
from netcache_cli.progress import shown_progress
from netcache_cli.session import Session
from netcache_cli.values import Size
from netcache_cli.verb import argument, option, verb


@verb("warm")
@argument("urls", metavar="URL...", nargs=-1, required=True, type=Url())
@option("--offset", type=Size(), default=0, help="Start here.")
@option("--count", type=Size(), help="So many bytes.")
@option("-r", "--recursive", is_flag=True, help="Whole trees.")
def command(
    session: Session, urls: tuple[str, ...], offset: int, count: int | None, recursive: bool
) -> int | None:
    """Bring into the cache: whole resources, parts of them, or trees."""
    if recursive and (offset or count is not None):
        raise click.UsageError("--offset and --count are for single resources (leave out -r)")
    with session.client(about_cache=True) as client, shown_progress(session) as progress:
        report = client.warm(
            list(urls) if len(urls) > 1 else urls[0],
            offset,
            count,
            recursive=recursive,
            progress=progress,
        )
    return session.finish(report, fetched=True)
