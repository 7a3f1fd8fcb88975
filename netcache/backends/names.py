"""Names that resources can be given.  Pure."""

from __future__ import annotations

from netcache._core.urls import Resource, as_file, as_folder
from netcache.errors import UsageError

__all__ = ["check_new_name"]


def check_new_name(source: Resource, target: Resource) -> None:
    """Raise ``UsageError`` when ``source`` can never be called ``target``."""
    start = f"move of {source.url} to {target.url} failed"
    if source.origin != target.origin:
        raise UsageError(f"{start}: both must be on one server", url=source.url)
    if as_file(source).url == as_file(target).url:
        raise UsageError(f"{start}: they are the same", url=source.url)
    if as_folder(target).path.startswith(as_folder(source).path):
        raise UsageError(f"{start}: nothing can move into itself", url=source.url)
