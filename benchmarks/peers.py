"""The programs that are measured: our own command, and those of others that are installed.

Peers that are not here are left out, and named: fsspec, obstore and aiofiles are Python packages
(``make bench`` installs them); curl and rclone are found on the path.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contest import Work
from benchmarks.rig import Rig, timed

BIN = Path(sys.executable).parent
_PACKAGES = ("fsspec", "obstore", "aiofiles")
_told: set[str] = set()


def peers(**works: Work) -> dict[str, Work]:
    """Those of the named programs and packages that are here."""
    found = {}
    for name, work in works.items():
        here = importlib.util.find_spec(name) if name in _PACKAGES else shutil.which(name)
        if here:
            found[name] = work
        elif name not in _told:
            _told.add(name)
            print(f"{name} is not installed: left out", file=sys.stderr)
    return found


def run_timed(*command: str) -> float:
    """Seconds of a whole process; its output goes nowhere, its failure ends the benchmark."""
    with timed() as seconds:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return seconds()


def ours(cache: Path, *command: str) -> float:
    """Seconds of one of our commands, with a cache of its own."""
    return run_timed(str(BIN / "netcache"), "--cache-dir", str(cache), "-q", *command)


def rclone_copy(rig: Rig, source: str, target: str) -> float:
    """Seconds of ``rclone copyto``."""
    return run_timed(
        "rclone", "--config", os.devnull, "-q", "--http-url", rig.url, "copyto", source, target
    )


@contextlib.contextmanager
def bundled_server(folder: Path) -> Iterator[str]:
    """Our object server on ``folder``, in a process of its own; gives its URL."""
    command = [str(BIN / "netcache"), "serve", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
