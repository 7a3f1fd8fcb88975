"""What requests leave behind, and a disk that is soon full."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netcache_server import ServerThread


def digest(data: bytes) -> str:
    """The value of a digest field."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def names(folder: Path) -> list[str]:
    """All that is in a folder and below, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def wait_for_requests(server: ServerThread, count: int) -> None:
    """Wait until so many requests are finished, also those whose client has left."""
    ticks = threading.Event()
    for _ in range(2000):
        if len(server.requests) >= count:
            return
        ticks.wait(0.005)
    raise AssertionError(f"only {len(server.requests)} requests are finished")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A filesystem of its own of this size (as ``mount`` spells it); skips where none can be."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small filesystem cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
