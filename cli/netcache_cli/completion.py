"""Shell completion: the scripts, and where they are installed."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    add_completion_class,
    get_completion_class,
    shell_complete,
    split_arg_string,
)

COMPLETE_VARIABLE = "_NETCACHE_COMPLETE"

# Unlike click's own script it hands over the line as typed: bash breaks words at colons, so that a
# URL would arrive in pieces.  What it gets back is cut at the last colon for the same reason.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' type value current cut=""
    current="${COMP_LINE:0:COMP_POINT}"
    current="${current##*[[:space:]]}"
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        cut="${current%%"${current##*:}"}"
    fi
    COMPREPLY=()
    while IFS=',' read -r type value; do
        if [[ $type == dir ]]; then
            compopt -o dirnames 2>/dev/null
        elif [[ $type == file ]]; then
            compopt -o default 2>/dev/null
        elif [[ $type == plain ]]; then
            COMPREPLY+=("${value#"$cut"}")
        fi
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1")
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class BashLineComplete(BashComplete):
    """Completion for bash that keeps URLs whole."""

    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """No process is started to look at the version: `-o nosort` needs 4.4, of 2016."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is being typed, and that one."""
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)
        incomplete = "" if not line or line[-1].isspace() or not words else words.pop()
        return words[1:], incomplete


def script(cli: click.Command, shell: str) -> str:
    """The completion script for a shell."""
    kind = _class_for(shell)
    return str(kind(cli, {}, "netcache", COMPLETE_VARIABLE).source())


def install(cli: click.Command, shell: str) -> None:
    """Write the script to where the shell looks for it in a user's home, and say where."""
    path, advice = _place(shell)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(script(cli, shell))
    except OSError as error:
        raise click.UsageError(
            f"completion cannot be written to {path}: {error.strerror}"
        ) from error
    click.echo(path)
    click.echo(f"netcache: completion for {shell} is in {path} ({advice})", err=True)


def complete(cli: click.Command, instruction: str) -> int:
    """Answer a shell that completes: `instruction` is `<shell>_complete` or `<shell>_source`."""
    add_completion_class(BashLineComplete, "bash")
    return shell_complete(cli, {}, "netcache", COMPLETE_VARIABLE, instruction)


def _class_for(shell: str) -> type[Any]:
    if shell == "bash":
        return BashLineComplete
    found = get_completion_class(shell)
    assert found is not None
    return found


def _place(shell: str) -> tuple[str, str]:
    home = os.path.expanduser("~")
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    if shell == "bash":
        return (
            os.path.join(data, "bash-completion", "completions", "netcache"),
            "new shells with bash-completion load it; in others: source it",
        )
    if shell == "fish":
        return os.path.join(config, "fish", "completions", "netcache.fish"), "new shells load it"
    return (
        os.path.join(home, ".zfunc", "_netcache"),
        "~/.zshrc needs, once: fpath+=(~/.zfunc); autoload -Uz compinit; compinit",
    )
