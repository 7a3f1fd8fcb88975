"""`netcache recover`."""

from __future__ import annotations

from netcache._core.units import format_size
from netcache_cli.session import Session
from netcache_cli.verb import verb


@verb("recover")
def command(session: Session) -> int | None:
    """Upload the edits that killed programs left behind, and wait for it.

    Only edits made with durability="journal" are kept.  One that conflicts stays, for
    `netcache conflicts`.  --json prints one array of {name, url, size, error, code}.
    """
    with session.client() as client:
        done = client.edits.recover()
        waiting = [edit for edit in client.edits.unsent() if edit.conflict]
    failed = [item for item in done if item.error is not None]
    if session.settings.json:
        session.document(
            [
                {
                    "name": item.name,
                    "url": item.url,
                    "size": item.size,
                    "error": str(item.error) if item.error is not None else None,
                    "code": item.error.exit_code if item.error is not None else 0,
                }
                for item in done
            ]
        )
    else:
        for item in done:
            result = "uploaded" if item.error is None else f"failed: {item.error}"
            session.line(f"{item.url}: {format_size(item.size)} {result}")
        if not done:
            session.line("Nothing to recover.")
    if waiting:
        session.note(f"{len(waiting)} in conflict: see netcache conflicts ls")
    if not failed:
        return None
    codes = {item.error.exit_code for item in failed if item.error is not None}
    return codes.pop() if len(failed) == len(done) and len(codes) == 1 else 6
