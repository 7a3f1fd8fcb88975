"""The book of versions: what each resource was, and when, as the server itself wrote it down.

The server's process notes every change while it holds the lock under which it makes it: half a
line before the change, the bytes (a hard link, so no copy), the rest after it.  Whoever has the
ETag of what it was shown can compare every byte with the book; by the times (``monotonic_ns``, one
clock for all processes of a machine) tell what was current when; and who has made it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from netcache_server.etag import read_etag
from netcache_server.exchange import Exchange
from netcache_server.partfile import PartFile
from netcache_server.publisher import Precondition, Publisher

NOBODY = "-"
"""The author of what was stored without a word about whom it is from."""


def author_header(who: str) -> dict[str, str]:
    """What tells the server whose request it is; no blanks."""
    return {"User-Agent": who}


def note_changes(folder: Path) -> None:
    """Have this process's server note every change in the book under ``folder``."""
    really_publish, really_replace = Publisher.publish, PartFile.publish
    book = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    now = threading.local()

    def publish(
        self: Publisher,
        exchange: Exchange,
        part: PartFile,
        check: Precondition,
        segments: Sequence[str] | None = None,
    ) -> bool:
        now.author = exchange.headers.get("User-Agent", NOBODY)
        return really_publish(self, exchange, part, check, segments)

    def replace(self: PartFile, at: int, name: str, *, replaces: bool) -> None:
        etag = read_etag(self.fd, os.fstat(self.fd)).strip('"')
        # With a descriptor of the folder Python follows the link in procfs (linkat).
        os.link(f"/proc/self/fd/{self.fd}", f"{name}={etag}", dst_dir_fd=book)
        log = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(log, f"{etag} {now.author} {time.monotonic_ns()} ".encode())
            really_replace(self, at, name, replaces=replaces)
            os.write(log, f"{time.monotonic_ns()}\n".encode())
        finally:
            os.close(log)

    for holder, made in ((Publisher, publish), (PartFile, replace)):
        setattr(holder, "publish", made)  # noqa: B010 - mypy has no word for it


class Noted(NamedTuple):
    """A version: nobody was shown it before ``from_ns``; from ``sure_ns`` on everybody is.

    ``sure_ns`` is None while the server is still at it.  ``author`` has sent it, or its last part.
    """

    etag: str
    author: str
    from_ns: int
    sure_ns: int | None


class Book:
    """Reads the book; any number of processes may."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[int, list[Noted]]] = {}

    def versions(self, name: str) -> list[Noted]:
        """All versions of a resource up to now, in order."""
        position, known = self._known.get(name, (0, []))
        with (self.folder / name).open("rb") as log:
            log.seek(position)
            *whole, rest = log.read().split(b"\n")
        for line in whole:
            etag, author, begun, ended = line.split(b" ")
            known.append(Noted(etag.decode(), author.decode(), int(begun), int(ended)))
            position += len(line) + 1
        self._known[name] = (position, known)
        if rest.endswith(b" "):
            etag, author, begun, _ = rest.split(b" ")
            return [*known, Noted(etag.decode(), author.decode(), int(begun), None)]
        return list(known)

    def bytes_of(self, name: str, etag: str) -> bytes:
        """The bytes of a version."""
        return (self.folder / f"{name}={etag}").read_bytes()

    def index_of(self, name: str, etag: str) -> int:
        """The place of a version among all of its resource."""
        etags = [noted.etag for noted in self.versions(name)]
        assert etag in etags, f"{name}: the server never had a version {etag}"
        return etags.index(etag)

    def replaced_before(self, name: str, etag: str, when_ns: int) -> bool:
        """Whether the version was not the current one any more at ``when_ns``, for sure."""
        versions = self.versions(name)
        after = versions[self.index_of(name, etag) + 1 :]
        return bool(after) and after[0].sure_ns is not None and after[0].sure_ns < when_ns

    def current_between(self, name: str, begin_ns: int, end_ns: int) -> list[Noted]:
        """The versions that may have been shown to somebody who asked between two moments."""
        return [
            noted
            for noted in self.versions(name)
            if noted.from_ns <= end_ns and not self.replaced_before(name, noted.etag, begin_ns)
        ]
