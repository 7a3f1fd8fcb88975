"""`netcache get`."""

from __future__ import annotations

import os

import click

from netcache_cli import special
from netcache_cli.places import Place, is_url
from netcache_cli.progress import shown_progress
from netcache_cli.session import Session, write_all
from netcache_cli.verb import argument, option, verb


@verb("get")
@argument("places", metavar="URL... [DEST]", nargs=-1, required=True, type=Place())
@option("-r", "--recursive", is_flag=True, help="Bring whole trees.")
@option("--follow-links", is_flag=True, help="Follow symbolic links inside DEST.")
def command(
    session: Session, places: tuple[str, ...], recursive: bool, follow_links: bool
) -> int | None:
    """Fetch through the cache to a file or folder.

    DEST is a file, a folder, or - for stdout; without it, the current folder. With -r, DEST becomes
    the tree. Several URLs land under their own names in the folder DEST. A file appears only when
    it is complete. A device or a pipe (/dev/null, a FIFO) is written to as the bytes come.
    """
    urls, dest = _split(places, recursive)
    if dest == "-":
        if recursive:
            raise click.UsageError("a tree cannot go to stdout (name a folder instead of -)")
        return _to_stdout(session, urls)
    if len(urls) > 1 and dest is not None and os.path.exists(dest) and not os.path.isdir(dest):
        raise click.UsageError(f"{dest} is not a folder, and several URLs need one")
    if dest is None:
        dest = _default_dest(urls, recursive)
    elif not recursive and len(urls) == 1 and special.is_target(dest):
        special.copy(session, urls[0], dest)
        return None
    is_one = len(urls) == 1 and not recursive
    with session.client(quick=is_one) as client, shown_progress(session) as progress:
        report = client.get(
            urls if len(urls) > 1 else urls[0],
            dest,
            recursive=recursive,
            follow_links=follow_links,
            progress=progress,
        )
    return session.finish(report, fetched=True)


def _split(places: tuple[str, ...], recursive: bool) -> tuple[list[str], str | None]:
    urls, dest = list(places), None
    if not is_url(urls[-1]):
        dest = urls.pop()
    if not urls:
        raise click.UsageError(
            f"{dest!r} is not a URL to get from; it must begin with http:// or https://"
        )
    for url in urls:
        if not is_url(url):
            raise click.UsageError(f"{url!r} is not a URL; only the last argument may be a path")
    return urls, dest


def _default_dest(urls: list[str], recursive: bool) -> str:
    """The current folder; for an only tree, its own name there."""
    if not recursive or len(urls) > 1:
        return "."
    from netcache._core.urls import local_name, parse

    return local_name(parse(urls[0]))


def _to_stdout(session: Session, urls: list[str]) -> int | None:
    with session.client() as client:
        for url in urls:
            for piece in client.cat(url):
                write_all(piece)
    return None
