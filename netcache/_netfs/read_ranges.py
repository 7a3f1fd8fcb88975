"""Several short downloads of one request in one exchange, where the server gives several ranges.

Each subrequest is judged by itself afterwards: what the server left out, or what a broken body did
not bring, is asked for apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.read_sources import Piece, Source
from netcache._netfs import events
from netcache._netfs.read_collector import NOTICE_BYTES, Collector
from netcache._netfs.read_exchange import Intake, TooMuchError
from netcache.errors import NotOfferedError, RemoteProtocolError, TransientError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._netfs.inode import Inode
    from netcache._netfs.read_means import ReadMeans
    from netcache._netfs.read_sinks import ReadSink
    from netcache._netfs.read_stream import Subrequest
    from netcache.spi import RangesReply

RANGES_BYTES_MAX = 1 << 20
"""How many bytes are asked for together: longer ones lose nothing by coming apart."""
RANGES_MAX = 16
"""How many ranges are asked for together."""


def group_of(pieces: Iterable[Piece]) -> int:
    """How many pieces from the first on are to be issued together; 0 when one comes alone.

    A group begins and ends with a download, and has at least two.
    """
    count, downloads, length = 0, 0, 0
    for index, piece in enumerate(pieces):
        if piece.source is Source.DOWNLOAD:
            length += piece.length
            if length > RANGES_BYTES_MAX or downloads == RANGES_MAX:
                break
            downloads, count = downloads + 1, index + 1
        elif not index:
            break
    return count if downloads > 1 else 0


def offers_ranges(means: ReadMeans, url: str) -> bool:
    """Whether to ask for several ranges: where it pays, and is not known not to work."""
    if not means.far_away:
        return False
    known = means.backend().capabilities(url)
    return known.ranges is not False and known.multi_ranges is not False


class _Shares:
    """Hands each piece of the body to the subrequest that it is of."""

    def __init__(
        self, subs: Sequence[Subrequest], inode: Inode, sink: ReadSink, collector: Collector
    ) -> None:
        self._url = inode.resource.url
        self._open = [
            (
                sub,
                Intake(
                    sub,
                    inode,
                    sink,
                    collector,
                    eof=sub.asked_end if sub.asked_end < sub.end else -1,
                    passes_over=False,
                ),
            )
            for sub in subs
        ]

    def take(self, start: int, view: memoryview) -> None:
        """The ``BodySink``."""
        for sub, intake in self._open:
            if sub.start <= start < sub.asked_end:
                intake.take(start, view)
                return
        raise RemoteProtocolError(
            f"read of {self._url}: bytes at {start} came, which were not asked for", url=self._url
        )


async def download_ranges(
    subs: Sequence[Subrequest],
    inode: Inode,
    sink: ReadSink,
    collector: Collector,
    means: ReadMeans,
) -> bool:
    """One attempt for all of ``subs``: leaves in each what came, and why not more.

    False when the server does not offer it, and nothing was attempted.
    """
    async with means.gate:
        try:
            reply = await _open(subs, inode.resource.url, inode.version, means)
        except NotOfferedError:
            return False
        except Exception as error:
            for sub in subs:
                sub.error = error
            return True
        try:
            await reply.receive(
                _Shares(subs, inode, sink, collector).take, notice_bytes=NOTICE_BYTES
            )
        except TooMuchError:
            _leave(subs, None)
        except (TransientError, NotOfferedError) as error:
            _leave(subs, error if isinstance(error, TransientError) else None)
        except Exception as error:
            for sub in subs:
                sub.error = error if sub.position < sub.asked_end else None
        else:
            _leave(subs, None)
        finally:
            means.stats.add("DownOps", "ds")
            await reply.close()
    return True


async def _open(
    subs: Sequence[Subrequest], url: str, version: Version, means: ReadMeans
) -> RangesReply:
    for sub in subs:
        events.sreq(sub, "SUBMT")
    means.stats.add("DownOps", "DL")
    try:
        return await means.backend().open_ranges(
            url, [Extent(sub.position, sub.asked_end) for sub in subs], expected=version
        )
    except BaseException:
        means.stats.add("DownOps", "ds")
        raise


def _leave(subs: Sequence[Subrequest], error: TransientError | None) -> None:
    """What did not come is worth another attempt, apart."""
    for sub in subs:
        if sub.position < sub.asked_end:
            sub.error = error
            sub.need_retry = True
