"""A served folder: the bundled server, and questions about what it was asked."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netcache_server import ServerOptions, ServerThread


def random_bytes(size: int, seed: int = 0) -> bytes:
    """The same bytes for the same seed."""
    return random.Random(seed).randbytes(size)


class Served:
    """A running server and its folder."""

    def __init__(self, server: ServerThread, root: Path) -> None:
        self.server = server
        self.root = root
        self.url = server.url

    def put(self, name: str, data: bytes) -> str:
        """Place a file in the folder; returns its URL."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_bytes(data)
        new.replace(path)
        return self.url + name

    def requests(self, method: str | None = None) -> list[dict[str, Any]]:
        """The requests so far, in order of their ends."""
        return [
            record
            for record in list(self.server.requests)
            if method is None or record["method"] == method
        ]

    def count(self, method: str | None = None) -> int:
        """How many requests there were."""
        return len(self.requests(method))

    def body_bytes(self) -> int:
        """How many bytes of bodies the server has sent in answer to GET."""
        return sum(record["bytes_sent"] for record in self.requests("GET"))

    def forget(self) -> None:
        """Empty the log."""
        self.server.clear_log()


@contextlib.contextmanager
def serve(root: Path, **options: Any) -> Iterator[Served]:
    """Serve ``root`` on a free port of the loopback interface."""
    root.mkdir(parents=True, exist_ok=True)
    with ServerThread(ServerOptions(root=root, log="memory", fsync=False, **options)) as server:
        yield Served(server, root)
