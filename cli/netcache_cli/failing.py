"""How an error is told: its line, its exit code, the URL that it is about."""

from __future__ import annotations

from typing import NamedTuple

import click

from netcache._client.failures import exit_code_of, one_line
from netcache.errors import NetCacheError
from netcache_cli.text import printable

EXIT_USAGE = 2


class Failure(NamedTuple):
    """An error as the user sees it."""

    message: str
    code: int
    url: str | None = None


def describe(error: Exception) -> Failure:
    """The line (without `netcache:`) and the code for any error."""
    if isinstance(error, click.ClickException):
        return Failure(printable(_usage(error)), EXIT_USAGE)
    if isinstance(error, OSError):
        url = error.url if isinstance(error, NetCacheError) else None
        return Failure(printable(one_line(error)), exit_code_of(error), url)
    kind = type(error).__name__
    text = " ".join(str(error).split())
    why = f"{kind}: {text}" if text else kind
    return Failure(printable(f"internal error: {why} (-vv shows where; please report it)"), 1)


def _usage(error: click.ClickException) -> str:
    """What click says, on one line, in our style, with the way to the help."""
    message = " ".join(error.format_message().split()).rstrip(".")
    message = message.replace(". (Did you mean", " (did you mean")
    message = message[:1].lower() + message[1:] if not message[:2].isupper() else message
    context = getattr(error, "ctx", None)
    if context is None or "(see " in message:
        return message
    return f"{message} (see '{context.command_path} --help')"
