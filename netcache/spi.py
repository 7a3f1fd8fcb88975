"""The port to a remote protocol: what a backend promises to the layers above it.

A backend moves bytes and metadata of resources; it knows nothing of the cache.  Everything here
is normative: the conformance suite in ``tests/conformance`` holds every backend to it.

Rules for all calls:

1. URLs are canonical (``netcache._core.urls``) and bear no credentials.
2. Every method may suspend and be cancelled at any ``await``; a cancelled exchange gives its
   connection up and leaves nothing running.
3. Errors are those of ``netcache.errors``.  ``TransientError`` means that the same call may work
   later.  ``stat``, ``list``, ``delete`` and the opening of a read are retried inside the backend
   with its own policy; a body that breaks off is not: ``receive`` raises, and the caller asks for
   the rest.
4. A backend is used from one event loop only.

The bodies of uploads are described in ``spi_bodies``; their names are here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from netcache._core.coherency import Validator, Version
from netcache._core.extent import Extent
from netcache.spi_bodies import RESUMABLE_BYTES_MIN, FileBody, FileRun, MemoryBody, UploadBody

__all__ = [
    "RESUMABLE_BYTES_MIN",
    "UNCONDITIONAL",
    "Backend",
    "BodySink",
    "FileBody",
    "FileRun",
    "FolderListing",
    "MemoryBody",
    "OriginCapabilities",
    "RangesReply",
    "ReadReply",
    "ResourceInfo",
    "UpdateData",
    "UploadBody",
    "UploadCondition",
    "UploadReply",
]

BodySink = Callable[[int, memoryview], None]
"""``sink(start, view)``: takes the bytes at ``start`` of the resource before it returns.

The view is valid during the call only.  The sink is called on the event loop's thread and may
do local file I/O.  An exception from it ends the exchange and comes out of ``receive``.
"""


class ResourceInfo(NamedTuple):
    """What is known of a resource without its bytes.

    ``name`` is the decoded last path segment, without a slash.  ``version`` is None for folders
    and for listing entries that give no size; ``digest_sha256`` where the server told it.
    """

    url: str
    name: str
    type: Literal["file", "directory"]
    size: int | None
    mtime_s: float | None
    etag: str | None
    version: Version | None = None
    digest_sha256: bytes | None = None


class FolderListing(list[ResourceInfo]):
    """The entries of a folder, where the server also names what is neither file nor folder."""

    left_out: Sequence[str] = ()
    """The names of these; they are there, so their namesakes elsewhere are not too much."""


class ReadReply(Protocol):
    """An exchange whose head has arrived and whose body has not been taken yet.

    Exactly one of ``receive`` and ``close`` ends it; ``close`` may be called after ``receive``.
    """

    not_modified: bool
    """304: what ``unless`` named is still current.  There is no body."""
    version: Version | None
    """The version that the body belongs to; ``size`` is the whole resource's.  None only when the
    server told no size (``extent.end`` is then unknown too, except in a 206 of ``bytes A-B/*``)
    or with ``not_modified``."""
    extent: Extent
    """Which bytes of the resource the body carries.  ``end`` is -1 when the length is unknown."""
    whole: bool
    """Whether the body is the whole resource (200): asked so, or the server ignored the range."""
    ranges_supported: bool | None
    """True after a good 206, False when the server ignored or denied ranges, None: unknown."""

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> int:
        """Hand the whole body to ``sink``, in order; return the number of bytes taken.

        Pieces end at multiples of ``notice_bytes`` (a power of two, at least 64 KiB) of the
        resource, except the last.  Memory is bounded by a few pieces.

        Raises ``TransientError`` when the body breaks off (what the sink has taken stays good),
        ``RemoteTimeoutError`` when no byte comes in time, ``RemoteProtocolError`` when the body is
        longer than the reply said (nothing beyond the extent ever reaches the sink).
        """

    async def close(self) -> None:
        """Give the exchange up; the connection is reused only when nothing is left on it."""


class RangesReply(Protocol):
    """An exchange for several extents whose head has arrived and whose body has not been taken.

    Exactly one of ``receive`` and ``close`` ends it; ``close`` may be called after ``receive``.
    """

    version: Version
    """The version that was asked for; all bytes belong to it."""

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> list[Extent]:
        """Hand what comes of the extents to ``sink``; return what came, ascending and joined.

        Only bytes that were asked for reach the sink, each at most once.  Extents may come in any
        order, the bytes of each in theirs; pieces are as in ``ReadReply.receive``.  The server
        may leave extents out: the caller asks for the rest.

        Raises as ``ReadReply.receive`` does, and ``NotOfferedError`` when the server begins to
        send much that was not asked for.  What the sink has taken stays good.
        """

    async def close(self) -> None:
        """Give the exchange up."""


UpdateData = bytes | memoryview | Sequence[bytes | memoryview]
"""The bytes of an update: in one piece, or in several that follow each other.

They stay as they are until the call has returned: they may be sent more than once, and their
digest is of exactly what is sent.
"""


class UploadCondition(NamedTuple):
    """What must hold at the server for an upload or deletion to be done (RFC 9110 13.1).

    ``if_match`` is an entity tag as spelled, or ``"*"``; ``unmodified_since`` an HTTP date.
    """

    if_match: str | None = None
    if_absent: bool = False
    unmodified_since: str | None = None

    @property
    def names_one_version(self) -> bool:
        """Whether it can hold for one version only: not so for "*" and for weak tags."""
        if self.if_absent:
            return False
        if self.if_match is not None:
            return self.if_match.startswith('"')
        return self.unmodified_since is not None


UNCONDITIONAL = UploadCondition()


class UploadReply(NamedTuple):
    """How an upload ended.

    ``version`` is None when the reply bore no validator that stands for exactly these bytes
    (RFC 9110 9.3.4): nothing may then be cached under it.  ``sent_bytes`` is how much of the body
    went out, in all attempts together; None: not counted.
    """

    created: bool
    version: Version | None
    mtime_kept: bool
    sent_bytes: int | None = None


class OriginCapabilities(NamedTuple):
    """What is known of an origin so far; None means not known.

    ``multi_ranges`` tells whether several ranges can be had in one exchange; ``patch`` and
    ``partial_put`` are the two ways in which a part of a resource can be changed;
    ``upload_versions`` tells whether the reply to an upload bears the validator of what it made.
    ``digests`` is about uploads, ``whole_digests`` tells whether ``stat`` gets the digests that it
    asks for.  ``resumable`` tells whether interrupted uploads can go on where they stopped;
    ``keeps_mtime`` whether what is uploaded gets the time that the upload gave it.
    """

    ranges: bool | None = None
    digests: bool | None = None
    partial_put: bool | None = None
    patch: bool | None = None
    multi_ranges: bool | None = None
    upload_versions: bool | None = None
    whole_digests: bool | None = None
    resumable: bool | None = None
    keeps_mtime: bool | None = None


class Backend(Protocol):
    """The remote side.  All URLs as rule 1 says."""

    async def open_read(
        self,
        url: str,
        extent: Extent | None = None,
        *,
        expected: Version | None = None,
        unless: Validator | None = None,
    ) -> ReadReply:
        """Ask for ``extent`` (None: all; ``end`` -1: to the end) and return when the head is there.

        ``expected`` pins the version: the request is made conditional on it where the server can
        do that, the reply is compared with it all the same, and ``StaleError`` is raised when the
        resource is another now.  ``unless`` asks for nothing when that validator is still current
        (``not_modified``).

        A reply may carry more than was asked (``whole``), never another place: a 206 whose range,
        total or validator contradicts the question raises ``RemoteProtocolError`` or
        ``StaleError``.  An extent wholly past the end gives a reply with an empty ``extent`` and
        the version's size where the server tells it (416).

        Raises ``NotFoundError``, ``AccessDeniedError``, ``StaleError``, ``TransientError``,
        ``RemoteProtocolError``, and ``RemoteError`` itself for any other refusal.
        """

    async def open_ranges(
        self, url: str, extents: Sequence[Extent], *, expected: Version
    ) -> RangesReply:
        """Ask for several extents of one version in one exchange.

        The extents are not empty and lie within the version's size; its validator joins ranges.
        A backend may ask for the first of them only (``receive`` tells what came).

        Raises what ``open_read`` raises, and ``NotOfferedError`` when several ranges cannot be
        had at once here: the caller asks for each by itself.  A server that sends everything, or
        much more than was asked for, counts as one that cannot; it is not asked again.
        """

    async def stat(
        self, url: str, *, unless: Validator | None = None, want_digest: bool = False
    ) -> ResourceInfo | None:
        """Metadata without the body.  None means that ``unless`` is still current.

        With a weak date as ``unless`` the answer may come all the same, so that the caller can
        compare the size too.
        """

    async def list(self, url: str) -> list[ResourceInfo]:
        """The entries of the folder ``url``, sorted by name.

        Names that could not be plain local names (empty, ``.``, ``..``, with a slash or NUL) are
        dropped and logged.  A ``FolderListing`` where the server names what is neither file nor
        folder.  Raises ``NotFoundError``, and ``RemoteProtocolError`` for what is not
        a listing.
        """

    async def put(
        self,
        url: str,
        body: UploadBody,
        *,
        condition: UploadCondition = UNCONDITIONAL,
        mtime_s: float | None = None,
    ) -> UploadReply:
        """Store ``body`` as the whole resource; atomic as far as the server is.

        A failed precondition raises ``ConflictError``, unless the reply to an earlier attempt was
        lost and what is there now is what was sent.  A digest that the server reports and that
        differs raises ``IntegrityError``.
        """

    async def learn(self, url: str) -> OriginCapabilities:
        """What the origin of ``url`` offers to writers; asks it once, and keeps the answer.

        Only this and ``update`` ask; a client that only reads costs no request.  Callers at the
        same time share one question.  ``patch`` and ``partial_put`` are never None in the answer:
        whatever fails means "no".  A "no" that came of the network, or of a server that is busy,
        is not kept: the next call asks again.
        """

    async def update(
        self,
        url: str,
        start: int,
        data: UpdateData,
        *,
        size: int,
        condition: UploadCondition,
    ) -> UploadReply:
        """Replace the bytes from ``start`` on by ``data``, which is not empty; all or nothing.

        ``size`` is the resource's size in the version that ``condition`` names, by a strong entity
        tag (``if_match``) or a date that joins ranges (``unmodified_since``).  Afterwards the size
        is ``max(size, start + length of data)``; what lies between the former end and ``start``
        reads as zeros.

        The reply's ``version`` is the resource's new one, with its new size.  It is told only
        when all other bytes are certainly those of the version that was named; where the server
        is not known to check conditions in the same step, and where an attempt's reply was lost,
        it is None.

        ``ConflictError``: another version is there, or none.  As after ``put``, a failed
        precondition is no conflict when an earlier attempt's reply was lost and what is there now
        has the new size and bears ``data`` at its place.  ``IntegrityError``: the server received
        other bytes.  ``NotOfferedError``: this origin changes no parts; nothing was changed.
        """

    async def delete(self, url: str, *, condition: UploadCondition = UNCONDITIONAL) -> None:
        """Delete a file, or an empty folder (trailing slash).

        Raises ``NotFoundError``, ``ConflictError`` (the condition does not hold), ``RemoteError``
        (a folder that is not empty).
        """

    async def move(
        self,
        url: str,
        to_url: str,
        *,
        condition: UploadCondition = UNCONDITIONAL,
        overwrite: bool = False,
    ) -> Literal["file", "directory"]:
        """Give the file or folder ``url`` the name ``to_url``; one step as far as the server is.

        Returns which of the two it was.  A folder goes with all that lies in it.  ``condition``
        is about ``url``.  Missing parents of ``to_url`` are made.  With ``overwrite`` a file takes
        the place of a file; a folder takes and gives way to nothing.  Whether a slash ends the
        URLs does not matter.

        Raises ``NotFoundError``, ``ConflictError`` (the condition does not hold, or something
        stands at ``to_url``), ``NotOfferedError`` (this server gives no new names), and
        ``UsageError`` for another origin, the same name, or a name inside ``url`` itself.
        """

    async def make_folder(self, url: str) -> None:
        """Make the folder ``url`` and its parents; one that exists is fine."""

    def capabilities(self, url: str) -> OriginCapabilities:
        """What is known of the origin of ``url``; never asks it."""

    async def close(self) -> None:
        """Close all connections; afterwards every call raises ``ClosedError``."""
