"""Servers for the tests, stopped when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from netcache_server import ServerOptions, ServerThread

Serve = Callable[..., ServerThread]
"""Starts a server of the ``root`` folder with these options beside the defaults of the tests."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that the test's servers serve."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def serve(root: Path) -> Iterator[Serve]:
    """Start servers; they stop when the test ends."""
    with ExitStack() as stack:

        def start(**options: Any) -> ServerThread:
            given: dict[str, Any] = {"root": root, "log": "memory", "fsync": False} | options
            return stack.enter_context(ServerThread(ServerOptions(**given)))

        yield start


@pytest.fixture
def server(serve: Serve) -> ServerThread:
    """A server with the defaults."""
    return serve()
