"""The read engine over a backend that answers as it is told: answers, sizes, retries."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from netcache._core.extent import Extent
from netcache.errors import (
    RemoteProtocolError,
    TransientError,
)
from tests.support.read_rig import (
    Answer,
    B,
    ScriptedBackend,
    down,
    read_rig,
    whole,
)


@pytest.mark.parametrize("later", [0, 1, 3])
@pytest.mark.parametrize("cut", [B, 7 * B, 1 << 40])
async def test_answers_at_once_and_later_bring_the_same(
    tmp_path: Path, later: int, cut: int
) -> None:
    """A backend may answer without ever waiting, or late."""
    async with read_rig(tmp_path) as rig:
        rig.backend.default = Answer(later=later)
        inode = rig.inode()
        request = await rig.issue(inode, whole(rig), cut_bytes=cut)
        assert request.error is None
        assert rig.content(inode, *whole(rig)) == rig.data
        assert len(rig.backend.asked) == max(1, -(-len(rig.data) // cut))


async def test_an_error_of_the_head_fails_what_was_asked(tmp_path: Path) -> None:
    """Row 4: an error from the server is final; it was tried again below us."""
    async with read_rig(tmp_path) as rig:
        rig.backend.answers[0] = Answer(head_error=TransientError("later"))
        inode = rig.inode()
        request = await rig.issue(inode, whole(rig))
        assert isinstance(request.failure_at(0), TransientError)
        assert len(rig.backend.asked) == 1
        assert rig.count("DownOps", "df") == 1


async def test_a_body_that_breaks_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Row 2: what came stays; the rest is asked for under the same version."""
    async with read_rig(tmp_path) as rig:
        rig.backend.answers[0] = Answer(breaks_after=10 * B)
        inode = rig.inode()
        request = await rig.issue(inode, whole(rig))
        assert request.error is None
        assert rig.backend.asked == [(0, 100 * B), (10 * B, 100 * B)]
        assert rig.content(inode, *whole(rig)) == rig.data
        assert (rig.count("Retries", "rq"), rig.count("Retries", "rs")) == (1, 1)


async def test_attempts_without_progress_are_bounded(tmp_path: Path) -> None:
    """The bound that the kernel's retry lacks."""
    async with read_rig(tmp_path, attempts=4) as rig:
        rig.backend.default = Answer(breaks_after=0)
        request = await rig.issue(rig.inode(), whole(rig))
        assert isinstance(request.failure_at(0), TransientError)
        assert len(rig.backend.asked) == 4


async def test_progress_renews_the_attempts(tmp_path: Path) -> None:
    """A server that gives one block at a time is slow, not broken."""
    async with read_rig(tmp_path, 20 * B, attempts=2) as rig:
        rig.backend.default = Answer(breaks_after=B)
        inode = rig.inode()
        rig.backend.answers[19] = Answer()
        request = await rig.issue(inode, whole(rig))
        assert request.error is None
        assert rig.content(inode, *whole(rig)) == rig.data


async def test_a_server_that_takes_less_is_asked_for_less(tmp_path: Path) -> None:
    """Renegotiated sizes: the largest extent that it offers cuts the rest."""
    async with read_rig(tmp_path, 100 * B) as rig:
        rig.backend.default = Answer(offers=30 * B)
        inode = rig.inode()
        request = await rig.issue(inode, whole(rig))
        assert request.error is None
        assert request.largest == 30 * B
        assert rig.backend.asked[0] == (0, 100 * B)
        assert sorted(rig.backend.asked[1:]) == [
            (30 * B, 60 * B),
            (60 * B, 90 * B),
            (90 * B, 100 * B),
        ]
        assert rig.content(inode, *whole(rig)) == rig.data


class LimitedBackend(ScriptedBackend):
    """A backend that negotiates sizes."""

    limits: tuple[int, ...] = (8 * B,)

    def read_limit(self, url: str, extent: Extent) -> int:
        """The limits in turn, the last one for ever."""
        del url, extent
        limit, self.limits = self.limits[0], self.limits[1:] or self.limits
        return limit


async def test_a_negotiating_backend_is_asked_for_what_it_takes(tmp_path: Path) -> None:
    """It is told the largest extent, and takes what it can."""
    async with read_rig(tmp_path, 20 * B, backend=LimitedBackend()) as rig:
        inode = rig.inode()
        assert (await rig.issue(inode, whole(rig))).error is None
        assert sorted(rig.backend.asked) == [(0, 8 * B), (8 * B, 16 * B), (16 * B, 20 * B)]
        assert rig.content(inode, *whole(rig)) == rig.data


@pytest.mark.parametrize("after", [4 * B, 8 * B, 40 * B])
async def test_t27_retry_with_fewer_equal_and_more_elements(tmp_path: Path, after: int) -> None:
    """T27: no imbalance, no superfluous last element, nobody waits for ever."""
    backend = LimitedBackend()
    async with read_rig(tmp_path, 24 * B, backend=backend) as rig:
        backend.limits = (8 * B, 8 * B, 8 * B, after)
        for number in range(3):
            backend.answers[number] = Answer(breaks_after=0)
        inode = rig.inode()
        request = await asyncio.wait_for(rig.issue(inode, whole(rig)), 20)
        assert request.error is None
        assert sorted(backend.asked[3:]) == [
            (at, min(at + after, 24 * B)) for at in range(0, 24 * B, after)
        ]
        assert rig.content(inode, *whole(rig)) == rig.data


async def test_a_refused_negotiation_in_a_retry_fails_the_rest(tmp_path: Path) -> None:
    """Everything to be retried from there on is given up."""
    backend = LimitedBackend()
    async with read_rig(tmp_path, 8 * B, backend=backend) as rig:
        backend.limits = (8 * B, 0)
        backend.answers[0] = Answer(breaks_after=2 * B)
        inode = rig.inode()
        request = await rig.issue(inode, whole(rig))
        assert request.failure_at(2 * B) is not None
        assert request.failure_at(0) is None
        assert rig.content(inode, 0, 2 * B) == rig.data[: 2 * B]


async def test_t01_retry_without_size_negotiation(tmp_path: Path) -> None:
    """T1: the backend has no such hook; the same bytes are asked for again, counters + 1."""
    async with read_rig(tmp_path, 8 * B) as rig:
        assert rig.means.read_limit("") is None
        rig.backend.answers[0] = Answer(breaks_after=0)
        inode = rig.inode()
        assert (await rig.issue(inode, whole(rig))).error is None
        assert rig.backend.asked == [whole(rig)] * 2
        assert (rig.count("Retries", "rq"), rig.count("Retries", "rs")) == (1, 1)
        assert rig.count("DownOps", "DL") == 2
        assert rig.content(inode, *whole(rig)) == rig.data


async def test_t26_retry_twice_in_a_row() -> None:
    """T26: the second instance of T1, in a direct read."""
    async with read_rig(None, 8 * B, attempts=3) as rig:
        rig.backend.answers = {0: Answer(breaks_after=0), 1: Answer(breaks_after=0)}
        request, data = await rig.issue_to_memory([down(0, 8 * B)])
        assert request.error is None
        assert data == rig.data
        assert rig.backend.asked == [whole(rig)] * 3
        assert (rig.count("Retries", "rq"), rig.count("Retries", "rs")) == (2, 2)


@pytest.mark.parametrize("extra", [1, B, 3 * B])
@pytest.mark.parametrize("memory", [False, True])
async def test_t08_a_server_that_sends_too_much(tmp_path: Path, extra: int, memory: bool) -> None:
    """T8: EIO, nothing beyond the request is copied, no retry."""
    async with read_rig(tmp_path, 20 * B) as rig:
        rig.backend.default = Answer(extra=extra, piece=2 * B)
        if memory:
            request, data = await rig.issue_to_memory([down(4 * B, 8 * B), down(8 * B, 12 * B)])
            assert len(data) == 8 * B
        else:
            inode = rig.inode()
            request = await rig.issue(inode, Extent(4 * B, 12 * B), cut_bytes=4 * B)
            assert not inode.locate(12 * B, 12 * B + 1)
        assert request.error is not None
        assert isinstance(request.error, OSError)
        assert request.error.errno == errno.EIO
        assert isinstance(request.error, RemoteProtocolError)
        assert len(rig.backend.asked) == 2
        assert rig.count("Retries", "rs") == 0


async def test_a_server_that_sends_nothing(tmp_path: Path) -> None:
    """Row 10: ENODATA."""
    async with read_rig(tmp_path, 8 * B) as rig:
        rig.backend.default = Answer(offers=0)
        request = await rig.issue(rig.inode(), whole(rig))
        assert request.error is not None
        assert isinstance(request.error, OSError)
        assert request.error.errno == errno.ENODATA
        assert len(rig.backend.asked) == 1


async def test_bytes_of_another_place_are_refused(tmp_path: Path) -> None:
    """A reply that begins elsewhere is an error, and nothing of it is kept."""

    class Elsewhere(ScriptedBackend):
        async def open_read(self, url, extent=None, **options):  # type: ignore[no-untyped-def]
            return await super().open_read(url, Extent(extent.start + B, extent.end), **options)

    async with read_rig(tmp_path, 8 * B, backend=Elsewhere()) as rig:
        inode = rig.inode()
        request = await rig.issue(inode, Extent(0, 4 * B))
        assert isinstance(request.error, RemoteProtocolError)
        assert not inode.locate(B, 2 * B)
