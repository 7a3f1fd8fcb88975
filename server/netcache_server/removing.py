"""DELETE and MOVE.

Rules:

1. What goes, goes in one step: a whole folder first gets a hidden name and is then cleared away.
2. A folder with content is deleted only with ``Depth: infinity``, so that one wrong request does
   not cost a tree.
3. A link is what is deleted or moved, not what it leads to; one that leads out is not touched.

Everything here blocks on the disk: it is called in threads.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from netcache_server.exchange import Exchange
from netcache_server.paths import PART_PREFIX, BadPathError, RequestPath, parse_target
from netcache_server.publisher import Publisher, current_validators, require_conditions
from netcache_server.reply import HttpProblem, Reply
from netcache_server.tree import Place


@dataclass(frozen=True, slots=True)
class Remover:
    """Answers DELETE and MOVE."""

    publisher: Publisher

    def delete(self, exchange: Exchange) -> Reply:
        """The answer to a DELETE (RFC 9110 9.3.5, RFC 4918 9.6)."""
        hidden: str | None = None
        with ExitStack() as stack:
            with self.publisher.exclusive():
                place = self._existing(exchange, stack)
                if not place.is_folder:
                    os.unlink(place.name, dir_fd=place.folder)
                elif exchange.headers.get("Depth", "").strip().lower() == "infinity":
                    hidden = PART_PREFIX + secrets.token_hex(12)
                    _rename(place, place, hidden)
                else:
                    _remove_empty(place)
            self.publisher.persist(place.folder)
            if hidden is not None:
                shutil.rmtree(hidden, dir_fd=place.folder)
        return Reply(204)

    def move(self, exchange: Exchange) -> Reply:
        """The answer to a MOVE (RFC 4918 9.9).

        A file takes the place of a file; a folder takes only a free place, since to overwrite one
        would be to delete it.
        """
        target = destination(exchange)
        overwrite = exchange.headers.get("Overwrite", "T").strip().upper() != "F"
        with ExitStack() as stack:
            with self.publisher.exclusive():
                source = self._existing(exchange, stack)
                place = stack.enter_context(
                    self.publisher.tree.locate(target.segments, follow_last=False)
                )
                _require_free(source, place, overwrite)
                _rename(source, place, place.name)
            self.publisher.persist(place.folder)
            self.publisher.persist(source.folder)
            moved = stack.enter_context(self.publisher.tree.locate(target.segments))
            validators = current_validators(moved)
        known = validators is not None and validators.etag is not None
        return Reply(204, {"ETag": validators.etag or ""} if known and validators else {})

    def _existing(self, exchange: Exchange, stack: ExitStack) -> Place:
        """What the request's path names, with its preconditions judged."""
        tree, path = self.publisher.tree, exchange.path
        led_to = stack.enter_context(tree.locate(path.segments))
        require_conditions(exchange, led_to)
        place = stack.enter_context(tree.locate(path.segments, follow_last=False))
        if place.status is None or (path.trailing_slash and not place.is_folder):
            raise HttpProblem(404)
        if place.name == ".":
            raise HttpProblem(403, "the served folder itself stays")
        if not stat.S_ISLNK(place.status.st_mode):
            place.require_known_kind()
        return place


def destination(exchange: Exchange) -> RequestPath:
    """The path of a ``Destination`` header.  Raises ``HttpProblem`` (400, 403, 502)."""
    header = exchange.headers.get("Destination")
    if not header:
        raise HttpProblem(400, "Destination is missing")
    try:
        authority = urlsplit(header).netloc.rpartition("@")[2]
    except ValueError:
        raise HttpProblem(400, "Destination: it is no URL") from None
    if authority and authority.lower() != exchange.headers.get("Host", "").lower():
        raise HttpProblem(502, "Destination: it is on another server")
    try:
        path = parse_target(header)
    except BadPathError as error:
        raise HttpProblem(400, f"Destination: {error}") from None
    if path.reserved or not path.segments:
        raise HttpProblem(403, "Destination: it is reserved")
    return path


def _require_free(source: Place, place: Place, overwrite: bool) -> None:
    if place.missing:
        raise HttpProblem(409, "Destination: its parent folder does not exist")
    if place.status is None:
        return
    if not overwrite:
        raise HttpProblem(412, "Destination: something stands there")
    if place.name == "." or place.is_folder or source.is_folder:
        raise HttpProblem(409, "Destination: a folder is not overwritten")


def _rename(source: Place, place: Place, name: str) -> None:
    try:
        os.rename(source.name, name, src_dir_fd=source.folder, dst_dir_fd=place.folder)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise HttpProblem(403, "a folder cannot move into itself") from None
        raise


def _remove_empty(place: Place) -> None:
    try:
        os.rmdir(place.name, dir_fd=place.folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise HttpProblem(409, "the folder is not empty (Depth: infinity deletes it)") from None
        raise
