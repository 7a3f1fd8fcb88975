"""The root command, and the one place where errors become a line and an exit code.

Exit codes: 0 done, 1 other error, 2 usage, 3 not found, 4 precondition failed or conflict, 5 server
or network, 6 some of several items failed, 7 verification failed, 8 offline and not cached,
9 cache unusable, 10 not authorised, 11 no space on the destination, 130 interrupted (Ctrl-C or
SIGTERM).  A reader that closes our stdout early (`| head`) has had enough: that is 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from netcache_cli.shared_options import Invocation
from netcache_cli.verb import LazyGroup

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_VERBS = {
    name: f"netcache_cli.verbs.{name}:command"
    for name in (
        "get",
        "put",
        "sync",
        "cat",
        "ls",
        "stat",
        "rm",
        "mv",
        "warm",
        "pin",
        "unpin",
        "cache",
        "recover",
        "conflicts",
        "stats",
        "serve",
        "demo",
    )
}


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from netcache._version import __version__

        click.echo(f"netcache {__version__}")
        ctx.exit()


def _completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    if shell and not ctx.resilient_parsing:
        from netcache_cli import completion

        if param.name == "install_completion":
            completion.install(ctx.command, shell)
        else:
            click.echo(completion.script(ctx.command, shell), nl=False)
        ctx.exit()


def _eager(name: str, callback: Any, text: str, **attributes: Any) -> click.Option:
    return click.Option(
        [name], is_eager=True, expose_value=False, callback=callback, help=text, **attributes
    )


_SHELLS = click.Choice(["bash", "zsh", "fish"])

cli = LazyGroup(
    "netcache",
    homes=_VERBS,
    params=[
        _eager("--version", _version, "Print the version.", is_flag=True),
        _eager(
            "--install-completion", _completion, "Install completion for a shell.", type=_SHELLS
        ),
        _eager("--show-completion", _completion, "Print the completion script.", type=_SHELLS),
    ],
    help="Read, write and sync what lies on HTTP servers, through a sparse cache on disk.",
    epilog="Every option is also NETCACHE_<OPTION> in the environment and a key of "
    "~/.config/netcache/config.toml; but rm -r, cache verify --repair, cache cull --to and "
    "serve --allow-unauthenticated have to be typed.",
)


def run(args: Sequence[str]) -> int:
    """Run the command line on `args`; returns the exit code.  Never raises an `Exception`."""
    invocation = Invocation()
    try:
        _prepare_streams()
        if "_NETCACHE_COMPLETE" in os.environ:
            from netcache_cli.completion import complete

            return complete(cli, os.environ["_NETCACHE_COMPLETE"])
        code = _invoke(args, invocation)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _let_go_of_stdout()
    except (KeyboardInterrupt, click.Abort):
        _let_go_if_stuck()
        return EXIT_INTERRUPTED
    except Exception as error:
        return _fail(error, invocation, args)


def _invoke(args: Sequence[str], invocation: Invocation) -> int:
    """What `click.Command.main` does, but that would end the process itself on a closed pipe."""
    try:
        with cli.make_context("netcache", list(args), obj=invocation) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as request:
        code = request.exit_code
    return code if isinstance(code, int) else 0


def _prepare_streams() -> None:
    """Let any file name through: as its bytes where that works, else escaped."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
        if hasattr(stream, "reconfigure"):
            is_utf8 = encoding == "utf8" and not stream.isatty()
            stream.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def _let_go_of_stdout() -> int:
    """Nobody reads on.  What is still buffered must not fail again when Python exits."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    return 0


def _let_go_if_stuck() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _let_go_of_stdout()


# Failing.


def _fail(error: Exception, invocation: Invocation, args: Sequence[str]) -> int:
    """Tell an error: one line, or one JSON document; a traceback before it with `-vv`."""
    from netcache_cli.failing import describe

    _let_go_if_stuck()
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stderr.write(error.format_message() + "\n")
        return EXIT_USAGE
    failure = describe(error)
    if _verbose(invocation, args) > 1:
        import traceback

        from netcache_cli.text import printable

        told = "".join(traceback.format_exception(error))
        sys.stderr.write("\n".join(map(printable, told.split("\n"))))
    if _wants_json(invocation, args):
        import json

        document = {"error": failure.message, "code": failure.code, "url": failure.url}
        sys.stderr.write(json.dumps(document) + "\n")
    else:
        sys.stderr.write(f"netcache: {failure.message}\n")
    return failure.code


def _wants_json(invocation: Invocation, args: Sequence[str]) -> bool:
    """Also for errors that come before the options are settled."""
    if invocation.settings is not None:
        return invocation.settings.json
    if "--json" in args or invocation.flags.get("json"):
        return True
    return os.environ.get("NETCACHE_JSON", "").lower() in ("1", "true", "yes", "on", "t", "y")


def _verbose(invocation: Invocation, args: Sequence[str]) -> int:
    if invocation.settings is not None:
        return invocation.settings.verbose
    flags = invocation.flags.get("verbose", 0)
    return flags if isinstance(flags, int) else 0


__all__ = ["cli", "run"]
