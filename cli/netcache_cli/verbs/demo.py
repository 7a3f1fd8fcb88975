"""`netcache demo`."""

from __future__ import annotations

import click

from netcache_cli.session import Session
from netcache_cli.values import Size
from netcache_cli.verb import option, verb

_SIZE_MIN = 1 << 20


@verb("demo")
@option("--size", type=Size(), default="256MiB", show_default=True, help="Of the large object.")
def command(session: Session, size: int) -> int | None:
    """Show the whole story on loopback, in under a minute, with figures just measured.

    Serves a temporary folder; reads, maps, gets, puts, syncs, kills, changes, goes offline; checks
    every claim and cleans up. A check that fails is exit code 1.
    """
    if size < _SIZE_MIN:
        raise click.UsageError("--size: at least 1MiB is needed to show anything")
    from netcache_cli.demo.story import tell

    return tell(size)
