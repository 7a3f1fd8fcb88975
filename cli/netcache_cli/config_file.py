"""The config file: `$XDG_CONFIG_HOME/netcache/config.toml`, keys named like the options."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

import click


def config_path() -> str:
    """Where the config file is, or would be."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "netcache", "config.toml")


def read_config() -> dict[str, Any]:
    """What the config file says, by option; empty when there is none.

    `click.UsageError` for a file that cannot be read.
    """
    path = config_path()
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from error
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not a TOML file: {error}") from error


def read_config_if_good() -> dict[str, Any]:
    """`read_config`, with nothing for a file that is no good (its error is told elsewhere)."""
    try:
        return read_config()
    except click.UsageError:
        return {}


def check_keys(shared: Collection[str], of_verbs: Callable[[], Collection[str]]) -> None:
    """Raise `click.UsageError` for a key of the file that names no option.

    `shared` are the options of every command; `of_verbs` is only asked for a key that is not one.
    """
    unknown = [key for key in read_config() if key not in shared]
    if not unknown:
        return
    known = of_verbs()
    for key in unknown:
        if key not in known:
            hint = _hint(key, {*known, *shared})
            raise click.UsageError(f"{config_path()}: there is no option {key!r}{hint}")


def _hint(key: str, known: set[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key.replace("-", "_"), sorted(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else " (remove it)"
