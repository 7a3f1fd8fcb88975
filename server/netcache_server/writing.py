"""PUT of files and folders, MKCOL.

Rules:

1. Nothing is visible of an upload until all of it has arrived, was found to be what its digests
   say, and is on the disk.
2. Preconditions are judged twice: before the body, so that nobody sends one for nothing, and at
   the moment of publication, where it counts.
3. A path that ends in a slash is a folder; a file's missing folders are made with it.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

from netcache_server.conditionals import http_date
from netcache_server.digest import BadDigestError, Hasher, format_sha256
from netcache_server.exchange import Exchange
from netcache_server.options import ServerOptions
from netcache_server.partfile import PartFile
from netcache_server.publisher import Publisher, Sealed, require_conditions, require_file_target
from netcache_server.receiving import Receiver, Upload, parse_upload, require_room
from netcache_server.reply import HttpProblem, Reply
from netcache_server.threads import in_thread
from netcache_server.tree import Place


@dataclass(frozen=True, slots=True)
class Writer:
    """Answers PUT and MKCOL."""

    options: ServerOptions
    publisher: Publisher
    pool: Executor

    async def put(self, exchange: Exchange) -> Reply:
        """The answer to a PUT of a whole file, or of an empty folder."""
        upload = parse_upload(exchange, self.options)
        if exchange.path.trailing_slash:
            return await self._put_folder(exchange, upload)
        hasher = Hasher(
            set(upload.content_digests)
            | set(upload.repr_digests)
            | ({"sha256"} if upload.wants_sha256 else set())
        )
        part = await in_thread(self.pool, begin, self.publisher, exchange, upload)
        try:
            await Receiver(exchange, self.options, self.pool).receive(part, hasher)
            require_digests(hasher, upload)
            sha256 = hasher.digest("sha256")
            return await in_thread(self.pool, self._finish, exchange, upload, part, sha256)
        finally:
            # Giving up a large file in progress takes the filesystem a while.
            await in_thread(self.pool, part.close)

    def _finish(
        self, exchange: Exchange, upload: Upload, part: PartFile, sha256: bytes | None
    ) -> Reply:
        sealed = self.publisher.seal(part, upload.mtime, sha256)
        created = self.publisher.publish(
            exchange, part, lambda place: require_conditions(exchange, place)
        )
        return stored_reply(sealed, upload, sha256, created=created)

    async def _put_folder(self, exchange: Exchange, upload: Upload) -> Reply:
        if upload.length != 0 and exchange.request.body_exists:
            raise HttpProblem(400, "a folder has no content")
        return await in_thread(self.pool, self._make_folder, exchange)

    def _make_folder(self, exchange: Exchange) -> Reply:
        def check(place: Place) -> None:
            require_conditions(exchange, place)
            place.require_known_kind()
            if place.is_file:
                raise HttpProblem(409, "a file stands there")
            if place.is_folder:
                raise FileExistsError

        try:
            self.publisher.make_folder(exchange, check, parents=True)
        except FileExistsError:
            return Reply(204)
        return Reply(201)

    def make_collection(self, exchange: Exchange) -> Reply:
        """The answer to a MKCOL (RFC 4918 9.3).  Blocks."""
        if exchange.request.body_exists:
            raise HttpProblem(415, "MKCOL takes no body")

        def check(place: Place) -> None:
            require_conditions(exchange, place)
            if place.status is not None:
                raise HttpProblem(405, "something stands there already")

        self.publisher.make_folder(exchange, check, parents=False)
        return Reply(201)


def begin(publisher: Publisher, exchange: Exchange, upload: Upload) -> PartFile:
    """Judge what can be judged before the body, and open the file that will take it.  Blocks."""
    with publisher.tree.locate(exchange.path.segments) as place:
        require_conditions(exchange, place)
        require_file_target(place)
        require_room(place.folder, upload.length)
        return PartFile(place.folder)


def require_digests(hasher: Hasher, upload: Upload) -> None:
    """Compare what came with what was announced.  Raises ``HttpProblem`` 400."""
    try:
        hasher.check("Content-Digest", upload.content_digests)
        hasher.check("Repr-Digest", upload.repr_digests)
    except BadDigestError as error:
        raise HttpProblem(400, str(error)) from None


def stored_reply(sealed: Sealed, upload: Upload, sha256: bytes | None, *, created: bool) -> Reply:
    """The answer to a write that was made: the validators of the new version."""
    headers = {"ETag": sealed.etag, "Last-Modified": http_date(sealed.last_modified)}
    headers |= upload.answer_headers
    if upload.wants_sha256 and sha256 is not None:
        headers["Repr-Digest"] = format_sha256(sha256)
    return Reply(201 if created else 204, headers)
