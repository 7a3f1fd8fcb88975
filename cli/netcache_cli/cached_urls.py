"""Cached URLs as candidates for what is being typed."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click
from click.shell_completion import CompletionItem

from netcache_cli.session import Session
from netcache_cli.shared_options import resolve_settings

_CANDIDATES_MAX = 500
_OBJECTS_SEEN_MAX = 20_000


def cached_urls(ctx: Any, incomplete: str) -> list[CompletionItem[Any]]:
    """Cached URLs that begin with what was typed, folder by folder.  Never an error."""
    try:
        found = _cached_urls(ctx, incomplete)
    except Exception:
        # A completion that fails must not write into the line that is being typed.
        found = []
    return [CompletionItem(url) for url in found]


def _cached_urls(ctx: click.Context, incomplete: str) -> list[str]:
    with Session(resolve_settings(ctx)).client(about_cache=True) as client:
        names = {
            _up_to_next_slash(item.url, len(incomplete))
            for item in islice(client.cache.objects(), _OBJECTS_SEEN_MAX)
            if item.url.startswith(incomplete)
        }
    return sorted(names)[:_CANDIDATES_MAX]


def _up_to_next_slash(url: str, typed: int) -> str:
    """`url` up to the end of the folder or origin that comes next."""
    end = url.find("/", max(typed, url.index("://") + 3))
    return url if end < 0 else url[: end + 1]
