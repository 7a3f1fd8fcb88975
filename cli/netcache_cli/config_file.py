"""The config file: `$XDG_CONFIG_HOME/netcache/config.toml`, keys named like the options."""

from __future__ import annotations

import os
from typing import Any

import click


def config_path() -> str:
    """Where the config file is, or would be."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "netcache", "config.toml")


def read_config() -> dict[str, Any]:
    """What the config file says, by option; empty when there is none.

    `click.UsageError` for a file that cannot be read, or whose keys name no option.
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
        values = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not a TOML file: {error}") from error
    _check_keys(path, values)
    return values


def read_config_if_good() -> dict[str, Any]:
    """`read_config`, with nothing for a file that is no good (its error is told elsewhere)."""
    try:
        return read_config()
    except click.UsageError:
        return {}


def _check_keys(path: str, values: dict[str, Any]) -> None:
    from netcache_cli.shared_options import SHARED_NAMES

    unknown = [key for key in values if key not in SHARED_NAMES]
    if not unknown:
        return
    # Only now the verbs are worth importing.
    from netcache_cli.main import verb_option_names

    known = verb_option_names()
    for key in unknown:
        if key not in known:
            hint = _hint(key, {*known, *SHARED_NAMES})
            raise click.UsageError(f"{path}: there is no option {key!r}{hint}")


def _hint(key: str, known: set[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key.replace("-", "_"), sorted(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else " (remove it)"
