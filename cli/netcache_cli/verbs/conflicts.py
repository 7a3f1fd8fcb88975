"""`netcache conflicts`: edits that could not be uploaded, since somebody else was first."""

from __future__ import annotations

from typing import Any

from netcache._core.units import format_size
from netcache_cli.session import Session
from netcache_cli.text import columns, format_time, printable
from netcache_cli.values import LocalPath
from netcache_cli.verb import LazyGroup, argument, option, verb

_HERE = "netcache_cli.verbs.conflicts"

command = LazyGroup(
    "conflicts",
    homes={name: f"{_HERE}:{name}" for name in ("ls", "save", "drop", "push")},
    help="Look after edits that conflict with what is at the server.",
)


@verb("ls")
def ls(session: Session) -> int | None:
    """List them, the oldest first.

    --json prints one array of {name, url, size, saved, conflict}.
    """
    with session.client(about_cache=True, local=True) as client:
        edits = [edit for edit in client.edits.unsent() if edit.conflict]
    if session.settings.json:
        session.document([described(edit) for edit in edits])
        return None
    rows = [
        (
            edit.name,
            format_size(edit.size),
            format_time(edit.saved_s, exact=not session.on_terminal),
            printable(edit.url),
        )
        for edit in edits
    ]
    for line in columns(rows):
        session.line(line)
    if not rows:
        session.note("no conflicts")
    return None


def described(edit: Any) -> dict[str, Any]:
    """An unsent edit as JSON."""
    return {
        "name": edit.name,
        "url": edit.url,
        "size": edit.size,
        "saved": edit.saved_s,
        "conflict": edit.conflict,
    }


@verb("save")
@argument("name")
@argument("path", type=LocalPath())
@option("--changes-only", is_flag=True, help="Leave holes where nothing was changed.")
def save(session: Session, name: str, path: str, changes_only: bool) -> int | None:
    """Save an edit to a local file; it also stays where it is."""
    with session.client() as client:
        size = client.edits.save(name, path, changes_only=changes_only)
    session.note(f"saved {format_size(size)} to {path}")
    return None


@verb("drop")
@argument("name")
def drop(session: Session, name: str) -> int | None:
    """Throw an edit away for good."""
    with session.client(about_cache=True, local=True) as client:
        client.edits.drop(name)
    return None


@verb("push")
@argument("name")
def push(session: Session, name: str) -> int | None:
    """Upload an edit over what is at the server now."""
    with session.client() as client:
        done = client.edits.push(name)
    if done.error is not None:
        raise done.error
    session.note(f"{done.url}: uploaded {format_size(done.size)}")
    return None
