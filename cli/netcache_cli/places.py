"""Where commands read from and write to: URLs, and URLs or local paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netcache_cli.values import Kind

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Url(Kind):
    """A resource URL; completed from what is cached."""

    name = "url"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The URL, if it begins like one."""
        if is_url(str(value)):
            return str(value)
        self.fail(f"{value!r} is not a URL; it must begin with http:// or https://", param, ctx)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem[Any]]:
        """Cached URLs."""
        from netcache_cli.cached_urls import cached_urls

        return cached_urls(ctx, incomplete)


class Place(Kind):
    """A URL or a local path."""

    name = "place"

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem[Any]]:
        """Cached URLs for what begins like one, else local files."""
        from click.shell_completion import CompletionItem

        from netcache_cli.cached_urls import cached_urls

        if incomplete and "http".startswith(incomplete[:4]):
            return cached_urls(ctx, incomplete) or [CompletionItem(incomplete, type="file")]
        return [CompletionItem(incomplete, type="file")]


def is_url(text: str) -> bool:
    """Whether `text` is meant as a URL rather than as a local path."""
    return text[:8].lower().startswith(("http://", "https://"))
