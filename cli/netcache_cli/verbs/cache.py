"""`netcache cache`: looking after the cache itself.  None of it needs a server.

A cache that cannot be used is an error here (exit code 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netcache._core.units import format_size
from netcache_cli.places import Url
from netcache_cli.session import Session
from netcache_cli.text import columns, format_time, printable
from netcache_cli.values import Size
from netcache_cli.verb import LazyGroup, argument, option, verb
from netcache_cli.verbs.conflicts import described

if TYPE_CHECKING:
    from netcache._client.edits import UnsentEdit

EXIT_VERIFICATION_FAILED = 7

_HERE = "netcache_cli.verbs.cache"

command = LazyGroup(
    "cache",
    homes={name: f"{_HERE}:{name}" for name in ("status", "ls", "map", "verify", "cull", "drop")}
    | {"clear": f"{_HERE}:clear", "why": "netcache_cli.verbs.why:command"},
    help="Look after the cache: what it holds, what is cached of a resource, making room.",
)


@verb("status")
def status(session: Session) -> int | None:
    """Show directory, filesystem, block size, what is held, limits, culling."""
    with session.client(about_cache=True, local=True) as client:
        state = client.cache.status()
        unsent = client.edits.unsent()
    if session.settings.json:
        session.document(
            {
                "directory": state.directory,
                "filesystem": state.filesystem,
                "block_size": state.block_size,
                "format": state.format,
                "bytes": state.allocated_bytes,
                "objects": state.objects,
                "limit": state.limit_bytes,
                "culling": state.culling,
                "dirty": [described(edit) for edit in unsent],
                "missing": list(state.missing),
            }
        )
        return None
    limit = "free space" if state.limit_bytes is None else format_size(state.limit_bytes)
    for label, value in (
        ("directory", printable(state.directory)),
        ("filesystem", state.filesystem),
        ("block size", f"{state.block_size}"),
        ("format", f"{state.format}"),
        ("held", f"{format_size(state.allocated_bytes)} in {_count(state.objects, 'object')}"),
        ("limit", limit),
        ("free", f"{format_size(state.free_bytes)}, room for {state.free_files} files"),
        ("culling", "yes" if state.culling else "no"),
        ("not uploaded", _unsent(unsent)),
        ("missing", ", ".join(state.missing) or "nothing"),
    ):
        session.line(f"{label + ':':<14}{value}")
    return None


def _unsent(edits: Sequence[UnsentEdit]) -> str:
    if not edits:
        return "nothing"
    size = format_size(sum(edit.size for edit in edits))
    waiting = sum(1 for edit in edits if edit.conflict)
    conflicts = f", {_count(waiting, 'conflict')} (netcache conflicts)" if waiting else ""
    return f"{size} of {_count(len(edits), 'edit')}{conflicts}"


@verb("ls")
def ls(session: Session) -> int | None:
    """List cached objects, the most recently used first.

    --json prints one array of {url, size, cached_bytes, content, etag, last_used, pinned}.
    """
    with session.client(about_cache=True, local=True) as client:
        objects = sorted(client.cache.objects(), key=lambda item: (-item.last_used_s, item.url))
    if session.settings.json:
        session.document(
            [
                {
                    "url": item.url,
                    "size": item.size,
                    "cached_bytes": item.cached_bytes,
                    "content": item.content.name,
                    "etag": item.version.validator.etag,
                    "last_used": item.last_used_s,
                    "pinned": item.pinned,
                }
                for item in objects
            ]
        )
        return None
    rows = []
    for item in objects:
        size, cached = (
            (format_size(item.size), format_size(item.cached_bytes))
            if session.on_terminal
            else (str(item.size), str(item.cached_bytes))
        )
        used = format_time(item.last_used_s, exact=not session.on_terminal)
        validator = printable(item.version.validator.value or "-")
        rows.append((size, cached, item.content.name, used, validator, printable(item.url)))
    if session.on_terminal and rows:
        rows.insert(0, ("SIZE", "CACHED", "CONTENT", "LAST USED", "VALIDATOR", "URL"))
    for line in columns(rows, right=frozenset({0, 1})):
        session.line(line)
    return None


@verb("map")
@argument("url", type=Url())
def map(session: Session, url: str) -> int | None:  # the name of the command
    """Draw which extents of a resource are cached.

    --json prints {url, size, block_size, content, cached_bytes, extents: [[start, end], ...]}.
    """
    with session.client(about_cache=True, local=True) as client:
        found = client.cache.map(url)
    if session.settings.json:
        session.document(
            {
                "url": found.url,
                "size": found.size,
                "block_size": found.block_size,
                "content": found.content.name,
                "cached_bytes": found.cached_bytes,
                "extents": [[extent.start, extent.end] for extent in found.extents],
            }
        )
        return None
    from netcache_cli.extent_map import map_lines, terminal_picture

    for line in map_lines(found, terminal_picture()):
        session.line(line)
    return None


@verb("verify")
@argument("urls", metavar="[URL...]", nargs=-1, type=Url())
@option("--repair", is_flag=True, typed_only=True, help="Forget what is damaged.")
def verify(session: Session, urls: tuple[str, ...], repair: bool) -> int | None:
    """Check structure and checksums of the cache, or of single objects.

    --json prints {problems: [{what, why, repaired}, ...]}. Anything wrong and not repaired is exit
    code 7. What is forgotten is fetched again when it is needed.
    """
    with session.client(about_cache=True) as client:
        problems = client.cache.verify(list(urls) or None, repair=repair)
    left = sum(not problem.repaired for problem in problems)
    if session.settings.json:
        session.document(
            {
                "problems": [
                    {"what": problem.what, "why": problem.why, "repaired": problem.repaired}
                    for problem in problems
                ]
            }
        )
    else:
        for problem in problems:
            end = " (repaired)" if problem.repaired else ""
            session.line(printable(f"{problem.what}: {problem.why}{end}"))
        if not problems and not session.settings.quiet:
            session.line("nothing is wrong")
    if not left:
        return None
    from netcache.errors import IntegrityError

    hint = "it is in use: try again later" if repair else "forget what is damaged with --repair"
    raise IntegrityError(
        f"check of the cache failed: {_count(left, 'problem')} found ({hint}; what is forgotten is "
        "fetched again when it is needed)"
    )


@verb("cull")
@option("--to", "target", type=Size(), typed_only=True, help="Down to this size.")
def cull(session: Session, target: int | None) -> int | None:
    """Make room now: discard what was used least recently, down to the limits."""
    with session.client(about_cache=True, local=True) as client:
        objects, freed = client.cache.cull(target)
    if session.settings.json:
        session.document({"objects": objects, "freed": freed})
    elif not session.settings.quiet:
        session.line(f"{_count(objects, 'object')} discarded, {format_size(freed)} given free")
    return None


@verb("drop")
@argument("urls", metavar="URL...", nargs=-1, required=True, type=Url())
def drop(session: Session, urls: tuple[str, ...]) -> int | None:
    """Forget cached objects."""
    with session.client(about_cache=True, local=True) as client:
        _tell_freed(session, client.cache.drop(urls))
    return None


@verb("clear")
def clear(session: Session) -> int | None:
    """Forget everything that is cached."""
    with session.client(about_cache=True, local=True) as client:
        _tell_freed(session, client.cache.clear())
    return None


def _tell_freed(session: Session, freed: int) -> None:
    if session.settings.json:
        session.document({"freed": freed})
    elif not session.settings.quiet:
        session.line(f"{format_size(freed)} given free")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
