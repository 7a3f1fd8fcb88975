"""The options that every command has, before the verb and after it, and their final values.

Order of authority: flag after the verb, flag before it, environment (`NETCACHE_<OPTION>`), config
file, default.  Headers given in both places add up, and so do `-v`s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from netcache_cli.config_file import config_path, read_config
from netcache_cli.values import (
    Duration,
    Header,
    LocalPath,
    Rate,
    Size,
    StaleIfError,
    Timeout,
    Validate,
)

__all__ = [
    "SHARED_NAMES",
    "Invocation",
    "Settings",
    "SharedOption",
    "resolve_settings",
    "shared_options",
]


class Settings(NamedTuple):
    """The final values of the shared options."""

    cache_dir: str | None = None
    cache_size: int | None = None
    no_cache: bool = False
    offline: bool = False
    stale_if_error: str | float | None = None
    validate: str | float = "open"
    timeout: float = 30.0
    retries: int = 4
    transfers: int = 4
    processes: int | None = None
    bwlimit: int | None = None
    header: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    token: str | None = None
    netrc: bool = False
    ca_cert: str | None = None
    insecure: bool = False
    json: bool = False
    verbose: int = 0
    quiet: bool = False
    log_file: str | None = None


SHARED_NAMES = frozenset(Settings._fields)


class Invocation:
    """One run of the command line: the shared flags as they are met, and what became of them."""

    def __init__(self) -> None:
        self.flags: dict[str, Any] = {}
        self.settings: Settings | None = None


class SharedOption(click.Option):
    """An option that is kept in the `Invocation` instead of being handed to the verb."""

    def __init__(self, *declarations: str, **attributes: Any) -> None:
        super().__init__(declarations, expose_value=False, callback=_keep, **attributes)

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Nothing, if it was not typed; `resolve_settings` asks the other places.

        Click would ask for a default and convert it, for all of them, before the verb and after it.
        """
        return super().handle_parse_result(ctx, opts, args) if self.name in opts else (None, args)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    name = param.name
    assert name is not None
    if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
        return
    flags = ctx.find_root().ensure_object(Invocation).flags
    if param.multiple:
        flags[name] = (*flags.get(name, ()), *value)
    elif getattr(param, "count", False):
        flags[name] = flags.get(name, 0) + value
    else:
        flags[name] = value


@cache
def shared_options() -> tuple[SharedOption, ...]:
    """The options: the same for every command, for they hold no state."""
    new = SharedOption
    return (
        new("--cache-dir", type=LocalPath(is_folder=True), help="The cache directory."),
        new("--cache-size", type=Size(), help="The most that the cache may hold."),
        new("--no-cache", is_flag=True, help="Work without a cache."),
        new("--offline", is_flag=True, help="Never ask a server; serve what is cached."),
        new(
            "--stale-if-error",
            type=StaleIfError(),
            metavar="WHEN",
            help="Serve what is cached when the server fails: never (default), always, or if it "
            "was checked less than a DURATION ago.",
        ),
        new(
            "--validate",
            type=Validate(),
            metavar="WHEN",
            help="Check at the server: open (default), always, never, or after a DURATION.",
        ),
        new("--timeout", type=Timeout(), help="Give up after this time without a byte: 30s."),
        new(
            "--retries",
            type=click.IntRange(0, 100),
            metavar="N",
            help="How often to try again: 4.",
        ),
        new(
            "--transfers",
            type=click.IntRange(1, 64),
            metavar="N",
            help="How many files to move at the same time, or rows of small ones: 4.",
        ),
        new(
            "--processes",
            type=click.IntRange(1, 64),
            metavar="N",
            help="How many processes bring trees of small files: one a core, at most 4.",
        ),
        new("--bwlimit", type=Rate(), help="The most bytes a second, such as 10M."),
        new("--header", type=Header(), metavar="K:V", multiple=True, help="Send this. Repeatable."),
        new("--user", metavar="U[:P]", help="User and password; asked for if no P is given."),
        new("--token", metavar="T", help="A bearer token."),
        new("--netrc", is_flag=True, help="Take passwords from ~/.netrc (or $NETRC)."),
        new("--ca-cert", type=LocalPath(), help="Trust the certificates of this PEM file."),
        new("--insecure", is_flag=True, help="Do not check certificates."),
        new("--json", is_flag=True, help="Print results and errors as JSON."),
        new("-v", "--verbose", count=True, help="Log what is done; -vv also the details."),
        new("-q", "--quiet", is_flag=True, help="No progress, summaries or warnings."),
        new("--log-file", type=LocalPath(), help="Log to this file."),
    )


def resolve_settings(ctx: click.Context) -> Settings:
    """The final values; `click.UsageError` names the variable or key that makes no sense."""
    invocation = ctx.find_root().ensure_object(Invocation)
    flags, config, environ = invocation.flags, read_config(), os.environ
    values: dict[str, Any] = {}
    for option in _relevant_options(flags, config):
        name = option.name
        assert name is not None
        variable = f"NETCACHE_{name.upper()}"
        if name in flags:
            values[name] = flags[name]
        elif environ.get(variable):
            values[name] = _converted(option, environ[variable], variable, ctx)
        elif name in config:
            values[name] = _converted(option, config[name], f"{config_path()}: {name}", ctx)
    invocation.settings = Settings(**values)
    return invocation.settings


def _relevant_options(flags: dict[str, Any], config: dict[str, Any]) -> Iterator[SharedOption]:
    """The options that somebody has set: making all of them costs more than most commands."""
    named = {*flags, *config}
    named |= {key[9:].lower() for key in os.environ if key.startswith("NETCACHE_")}
    if named & SHARED_NAMES:
        yield from (option for option in shared_options() if option.name in named)


def _converted(option: SharedOption, value: Any, place: str, ctx: click.Context) -> Any:
    """A value from the environment or the config file, as the flag would have given it."""
    try:
        if option.multiple:
            items = value if isinstance(value, list) else str(value).splitlines()
            return tuple(option.type.convert(item, option, ctx) for item in items)
        if option.count:
            return int(value)
        if option.is_flag:
            return click.BOOL.convert(value, option, ctx)
        if isinstance(value, bool | list | dict):
            raise click.BadParameter(f"{value!r} is not a single value")
        return option.type.convert(
            str(value) if not isinstance(value, int | float) else value, option, ctx
        )
    except click.BadParameter as error:
        raise click.UsageError(f"{place}: {error.message}") from error
    except ValueError as error:
        raise click.UsageError(f"{place}: {value!r} is not a number") from error


DURATION = Duration()
SIZE = Size()
