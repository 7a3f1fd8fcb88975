"""`netcache ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache_cli.listing import info_as_json, listing_lines
from netcache_cli.places import Url
from netcache_cli.session import Session
from netcache_cli.verb import argument, option, verb

if TYPE_CHECKING:
    from netcache.spi import ResourceInfo
    from netcache.sync import Client


@verb("ls")
@argument("url", type=Url())
@option("-l", "--long", is_flag=True, help="Also type, size and time.")
@option("-r", "--recursive", is_flag=True, help="The whole tree, with relative names.")
def command(session: Session, url: str, long: bool, recursive: bool) -> int | None:
    """List a folder.

    --json prints one array of {name, url, type, size, mtime, etag}.
    """
    with session.client() as client:
        entries = _entries(client, url, recursive)
    if session.settings.json:
        session.document([{"name": entry.name, **info_as_json(entry)} for entry in entries])
    else:
        for line in listing_lines(entries, long=long, on_terminal=session.on_terminal):
            session.line(line)
    return None


def _entries(client: Client, url: str, recursive: bool) -> list[ResourceInfo]:
    """The entries of a folder; a file lists itself."""
    from netcache.errors import NetCacheError

    try:
        return client.ls(url, recursive=recursive)
    except NetCacheError:
        if url.endswith("/"):
            raise
        try:
            info = client.stat(url)
        except NetCacheError:
            info = None
        if info is None or info.type != "file":
            raise
        return [info]
