"""Shell completion: scripts, where they go, and what bash offers."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from netcache_cli.cached_urls import _up_to_next_slash
from tests.support.commands import Commands

SHELLS = ["bash", "zsh", "fish"]


@pytest.fixture
def netcache(tmp_path: Path) -> Commands:
    """The command line in a home of its own."""
    return Commands(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_shown(netcache: Commands, shell: str) -> None:
    """It calls the command back through its variable."""
    ran = netcache("--show-completion", shell)
    assert ran.code == 0
    assert f"_NETCACHE_COMPLETE={shell}_complete" in ran.text
    assert ran.err == ""


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/netcache"),
        ("zsh", ".zfunc/_netcache"),
        ("fish", ".config/fish/completions/netcache.fish"),
    ],
)
def test_the_script_is_installed_in_the_home(netcache: Commands, shell: str, place: str) -> None:
    """Stdout is the path, stderr says what else is needed."""
    ran = netcache("--install-completion", shell)
    path = netcache.home / place
    assert (ran.code, ran.text) == (0, f"{path}\n")
    assert path.read_text() == netcache("--show-completion", shell).text
    assert ran.error.startswith(f"netcache: completion for {shell} is in {path} (")


def test_an_unknown_shell_is_a_usage_error(netcache: Commands) -> None:
    """One line that names the shells there are."""
    ran = netcache("--install-completion", "tcsh")
    assert ran.code == 2
    assert "'bash', 'zsh', 'fish'" in ran.error


def completed(netcache: Commands, typed: str, **environ: str) -> list[str]:
    """What bash would put in the place of the last word, as its own machinery finds it."""
    bash = shutil.which("bash")
    assert bash is not None
    bin_dir = netcache.home / "bin"
    bin_dir.mkdir(exist_ok=True)
    command = bin_dir / "netcache"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m netcache_cli "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    program = (
        f"source <({command} --show-completion bash)\n"
        'COMP_LINE="$1"; COMP_POINT=${#1}\n'
        f'_netcache_completion "{command}"\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", program, "bash", typed],
        capture_output=True,
        text=True,
        env=netcache.environ | {"PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}"} | environ,
        timeout=30,
        check=True,
    )
    return done.stdout.split("\n")[:-1]


def test_bash_completes_verbs(netcache: Commands) -> None:
    """All that begin so."""
    assert completed(netcache, "netcache c") == ["cat", "cache", "conflicts"]
    assert completed(netcache, "netcache cache c") == ["cull", "clear"]


def test_bash_completes_options(netcache: Commands) -> None:
    """The verb's own and the global ones."""
    assert completed(netcache, "netcache sync --ma") == ["--max-delete"]
    assert completed(netcache, "netcache --offline get --cache-") == ["--cache-dir", "--cache-size"]
    assert completed(netcache, "netcache get --validate a") == ["always"]


def test_bash_leaves_paths_to_itself(netcache: Commands) -> None:
    """No candidates of ours: the shell's own completion of files takes over."""
    assert completed(netcache, "netcache put ./so") in ([], [""])


def test_completion_survives_a_broken_cache(netcache: Commands) -> None:
    """Nothing is offered, and nothing is printed into the line."""
    netcache.cache.write_text("not a folder")
    assert completed(netcache, "netcache cat http://h") in ([], [""])


@pytest.mark.parametrize(
    ("url", "typed", "offered"),
    [
        ("http://h:80/a/b/c", "http", "http://h:80/"),
        ("http://h:80/a/b/c", "http://h:80/", "http://h:80/a/"),
        ("http://h:80/a/b/c", "http://h:80/a/b/", "http://h:80/a/b/c"),
    ],
)
def test_urls_are_offered_folder_by_folder(url: str, typed: str, offered: str) -> None:
    """As a shell does it with paths."""
    assert _up_to_next_slash(url, len(typed)) == offered
