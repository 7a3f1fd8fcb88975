"""What a command is made of: the shared options on every one, its own options from three places.

A verb's own options also come from the environment and the config file, unless they are marked as
`typed_only`: what destroys data must stand on the command line.  (`sync --delete` may be kept, as
the limit for it may: whoever mirrors always wants both.)
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click

from netcache_cli.config_file import check_keys, read_config_if_good
from netcache_cli.session import Session
from netcache_cli.shared_options import (
    SHARED_NAMES,
    SharedOption,
    resolve_settings,
    shared_options,
)

__all__ = ["LazyGroup", "Verb", "VerbOption", "argument", "option", "verb"]

F = TypeVar("F", bound=Callable[..., Any])

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class VerbOption(click.Option):
    """An option of one verb, also taken from `NETCACHE_<OPTION>` and the config file."""

    def __init__(self, *args: Any, typed_only: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.typed_only = typed_only
        if not typed_only and self.name is not None:
            self.envvar = f"NETCACHE_{self.name.upper()}"


class _WithSharedOptions(click.Command):
    def __init__(self, *args: Any, **attributes: Any) -> None:
        attributes.setdefault("context_settings", _CONTEXT)
        super().__init__(*args, **attributes)
        own = {param.name for param in self.params}
        self.params += [option for option in shared_options() if option.name not in own]

    def make_parser(self, ctx: click.Context) -> Any:
        """Click's own takes a `-q` for a long option first, and makes the error that it is none,
        with a translation and with suggestions, before it looks among the short ones: a millisecond
        and a half.  Flags are found at once; with another parser nothing is different.
        """
        parser = super().make_parser(ctx)
        short, long = (getattr(parser, name, {}) for name in ("_short_opt", "_long_opt"))
        for name, option in short.items():
            if not option.takes_value:
                long.setdefault(name, option)
        return parser

    def get_help_option(self, ctx: click.Context) -> click.Option:
        """Click's own asks gettext for a translation of its help: a millisecond at every start."""
        return click.Option(
            ["-h", "--help"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_help,
            help="Show this message and exit.",
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands of a group, the command's own options, those that every command has."""
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                (shared if isinstance(param, SharedOption) else own).append(record)
        for title, records in (("Options", own), ("Global options", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _show_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(ctx.get_help())
        ctx.exit()


class Verb(_WithSharedOptions):
    """A command that is handed a `Session` as its first argument."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """The context, with what the config file says about the verb's own options."""
        names = {
            param.name
            for param in self.params
            if isinstance(param, VerbOption) and not param.typed_only
        }
        if names:
            config = read_config_if_good()
            extra["default_map"] = {name: config[name] for name in names & config.keys()}
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Settle the shared options, then do it."""
        check_keys(SHARED_NAMES, lambda: _option_names(ctx.find_root()))
        session = ctx.obj = Session(resolve_settings(ctx))
        ctx.call_on_close(session.close)
        return super().invoke(ctx)


class LazyGroup(_WithSharedOptions, click.Group):
    """A group whose commands are imported when they are used.

    `homes` maps the name of a command to `module:attribute`, in the order of the help.
    """

    homes: dict[str, str]

    def __init__(self, *args: Any, homes: dict[str, str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.homes = homes

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order that they were given."""
        return list(self.homes)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        home = self.homes.get(cmd_name)
        if home is None:
            return None
        module, _, attribute = home.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


def _option_names(root: click.Context) -> set[str]:
    """The names of all options of verbs that the config file may set."""
    names: set[str] = set()
    waiting: list[click.Command] = [root.command]
    while waiting:
        command = waiting.pop()
        for param in command.params:
            if isinstance(param, VerbOption) and not param.typed_only and param.name:
                names.add(param.name)
        if isinstance(command, LazyGroup):
            found = (command.get_command(root, name) for name in command.homes)
            waiting += [one for one in found if one is not None]
    return names


def verb(name: str, **attributes: Any) -> Callable[[Callable[..., int | None]], Verb]:
    """Make a function a command: it gets a `Session`, and returns the exit code (None: 0)."""

    def decorate(function: Callable[..., int | None]) -> Verb:
        return click.command(name, cls=Verb, **attributes)(click.pass_obj(function))

    return decorate


def option(*declarations: str, **attributes: Any) -> Callable[[F], F]:
    """An option of the verb's own."""
    return click.option(*declarations, cls=VerbOption, **attributes)


argument = click.argument
