"""`netcache put`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import click

from netcache_cli.places import Place, is_url
from netcache_cli.progress import shown_progress
from netcache_cli.session import Session
from netcache_cli.values import EntityTag
from netcache_cli.verb import argument, option, verb


@verb("put")
@argument("places", metavar="SRC... URL", nargs=-1, required=True, type=Place())
@option("-r", "--recursive", is_flag=True, help="Upload whole trees.")
@option("--if-match", metavar="ETAG", type=EntityTag(), help="Only if the server has this version.")
@option("--no-clobber", is_flag=True, help="Only if the server has nothing there.")
@option("--follow-links", is_flag=True, help="Follow symbolic links inside SRC.")
def command(
    session: Session,
    places: tuple[str, ...],
    recursive: bool,
    if_match: str | None,
    no_clobber: bool,
    follow_links: bool,
) -> int | None:
    """Upload files, caching what is sent.

    SRC - is stdin; a pipe or a device is read to its end as well. With -r, URL becomes the tree.
    Several sources, and any source when URL ends with a slash, land under their own names in URL. A
    large file whose upload was interrupted goes on where it stopped, if the server can.
    """
    *sources, url = places
    _check(sources, url, recursive)
    if if_match is not None and no_clobber:
        raise click.UsageError("--if-match and --no-clobber contradict each other (give one)")
    if if_match is not None and (recursive or len(sources) > 1):
        raise click.UsageError("--if-match is for a single file (put one at a time)")
    if no_clobber and recursive:
        raise click.UsageError("--no-clobber is not for trees (put the files, without -r)")
    with session.client() as client, _opened(sources) as given, shown_progress(session) as progress:
        report = client.put(
            given if len(given) > 1 else given[0],
            url,
            recursive=recursive,
            if_match=if_match,
            no_clobber=no_clobber,
            follow_links=follow_links,
            progress=progress,
        )
    return session.finish(report)


def _check(sources: list[str], url: str, recursive: bool) -> None:
    if not is_url(url):
        raise click.UsageError(f"{url!r} is not a URL to put to; give it as the last argument")
    if not sources:
        raise click.UsageError(f"there is nothing to put to {url}; give SRC before the URL")
    for source in sources:
        if is_url(source):
            raise click.UsageError(f"{source} is not a local file; put takes one URL, the last")
    if sources.count("-") > 1:
        raise click.UsageError("stdin (-) can be put only once")
    if "-" in sources and recursive:
        raise click.UsageError("stdin (-) is no tree (leave out -r)")
    if "-" in sources and (len(sources) > 1 or url.endswith("/")):
        raise click.UsageError("stdin (-) has no name; put it alone, to the URL of a file")


@contextmanager
def _opened(sources: list[str]) -> Iterator[list[str | BinaryIO]]:
    """The sources, with stdin in the place of `-`."""
    if "-" not in sources:
        yield list(sources)
        return
    from netcache_cli.standard_input import StandardInput

    with StandardInput() as stream:
        yield [cast(BinaryIO, stream) if source == "-" else source for source in sources]
