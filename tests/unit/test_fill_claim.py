"""Claims of extents between processes: each store here stands for one."""

from __future__ import annotations

from netcache._core.extent import Extent
from netcache._core.urls import parse
from netcache._netfs.fill_claim import FillClaim
from netcache._netfs.holding import CachedHolding
from netcache._netfs.inode import Inode
from tests.support.fixtures import Opener
from tests.support.stores import KEY, create, fill_blocks, found, text


async def test_a_claim_that_comes_late_tells_what_has_been_filled_meanwhile(
    opener: Opener,
) -> None:
    """Between asking what is missing and the claim another process recorded it, and let go."""
    one, other = opener(), opener()
    block = one.block_size
    model = text(8 * block)
    theirs = create(one, model.size)
    ours = found(other)
    inode = Inode(parse("http://example.org/x"), KEY, ours.version, CachedHolding(ours))
    assert inode.missing(0, 4 * block) == [Extent(0, 4 * block)]
    fill_blocks(theirs, model, 0, 3)
    reached: list[int] = []
    claim = FillClaim(inode, Extent(0, 4 * block), 1.0)
    assert await claim.take(None, reached.append)
    assert reached == [3 * block]
    assert not theirs.try_lock_extent(3 * block, 4 * block)
    claim.give_back()
    assert theirs.try_lock_extent(3 * block, 4 * block)


async def test_a_claim_of_what_is_missing_still_is_simply_taken(opener: Opener) -> None:
    """Nothing is planned anew."""
    one = opener()
    ours = create(one, 8 * one.block_size)
    inode = Inode(parse("http://example.org/x"), KEY, ours.version, CachedHolding(ours))
    claim = FillClaim(inode, Extent(0, 4 * one.block_size), 1.0)
    assert not await claim.take(None, lambda _: None)
    claim.give_back()
