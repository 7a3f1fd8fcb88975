"""`netcache sync`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from netcache_cli.places import Place, is_url
from netcache_cli.progress import shown_progress
from netcache_cli.session import Session
from netcache_cli.text import printable
from netcache_cli.verb import argument, option, verb

if TYPE_CHECKING:
    from netcache._core.progress import ProgressEvent, ProgressSink

_WOULD = {"done": "would copy", "deleted": "would delete"}


@verb("sync")
@argument("src", type=Place())
@argument("dst", type=Place())
@option("--delete", is_flag=True, help="Delete from DST what SRC does not have.")
@option(
    "--max-delete", type=click.IntRange(0), metavar="N", help="Delete nothing if more would go."
)
@option("-n", "--dry-run", is_flag=True, help="Change nothing; show what would be done.")
@option("-c", "--checksum", is_flag=True, help="Compare contents, not sizes and times.")
@option("--size-only", is_flag=True, help="Compare sizes only.")
@option("--include", multiple=True, metavar="GLOB", help="Only these names. Repeatable.")
@option("--exclude", multiple=True, metavar="GLOB", help="Not these names. Repeatable.")
@option("--follow-links", is_flag=True, help="Follow symbolic links on the local side.")
def command(
    session: Session,
    src: str,
    dst: str,
    delete: bool,
    max_delete: int | None,
    dry_run: bool,
    checksum: bool,
    size_only: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    follow_links: bool,
) -> int | None:
    """Make DST like SRC; one of them is a URL.

    Goes on where an earlier run stopped. Prints what was copied, unchanged, deleted, failed.

    GLOB: * within a name, ** over folders; / first: from the root; / last: folders only. What
    --exclude matches is never copied nor deleted, whatever --include says.
    """
    if is_url(src) == is_url(dst):
        both = "both are URLs" if is_url(src) else "both are local paths"
        raise click.UsageError(f"one of SRC and DST must be a URL ({both})")
    if checksum and size_only:
        raise click.UsageError("--checksum and --size-only contradict each other (give one)")
    if max_delete is not None and not delete and _is_typed("max_delete"):
        raise click.UsageError("--max-delete means nothing without --delete")
    with session.client() as client, _progress(session, dry_run) as progress:
        report = client.sync(
            src,
            dst,
            delete=delete,
            max_delete=max_delete,
            dry_run=dry_run,
            checksum=checksum,
            size_only=size_only,
            include=include,
            exclude=exclude,
            follow_links=follow_links,
            progress=progress,
        )
    return session.finish(report, fetched=is_url(src), dry_run=dry_run)


def _is_typed(name: str) -> bool:
    """Whether an option stands on the command line, and not in the environment or the file only."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


@contextmanager
def _progress(session: Session, dry_run: bool) -> Iterator[ProgressSink | None]:
    """Bars; in a dry run, the names that would be copied and deleted instead."""
    if not dry_run:
        with shown_progress(session) as progress:
            yield progress
        return
    told: list[ProgressEvent] = []
    yield told.append
    if not session.settings.json:
        for event in sorted(told, key=lambda event: event.name):
            if event.kind in _WOULD:
                session.line(f"{_WOULD[event.kind]}  {printable(event.name)}")
