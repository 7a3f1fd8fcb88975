"""`netcache mv`."""

from __future__ import annotations

from netcache_cli.places import Url
from netcache_cli.session import Session
from netcache_cli.values import EntityTag
from netcache_cli.verb import argument, option, verb


@verb("mv")
@argument("source", metavar="URL", type=Url())
@argument("target", metavar="URL", type=Url())
@option(
    "--if-match", metavar="ETAG", type=EntityTag(), help="Only if this version has the old name."
)
@option("--no-clobber", is_flag=True, help="Only if nothing has the new name.")
def command(
    session: Session, source: str, target: str, if_match: str | None, no_clobber: bool
) -> int | None:
    """Give a file or folder another name on its server.

    A file takes the place of a file, and goes into a URL that ends with a slash. A folder goes
    with all that lies in it, and only to a name that is free.
    """
    with session.client() as client:
        url = client.mv(source, target, if_match=if_match, no_clobber=no_clobber)
    if session.settings.json:
        session.document({"from": source, "url": url})
    return None
